"""AdaScale: the learning rate grows by what the larger batch is worth, and the schedule's clock runs by the same.

Johnson, Agrawal, Gu & Guestrin 2020, https://arxiv.org/abs/2007.05105, sections 3 and 4: at S times the reference batch
B0 one step makes the progress of r steps at B0, 1 <= r <= S, where

    r = (variance / B0 + signal) / (variance / (S B0) + signal)

    paper        here
    S, B0        scale, reference batch
    r_t          gain: factor of the learning rate; S where all is noise, 1 where there is none
    tau          the clock: sum of r_t, in steps of B0 samples; schedules read it instead of the samples seen

Not here: measuring variance and signal (gradients/), the schedule (rule.py).
"""


def gain(variance: float, signal: float, *, scale: float, reference_batch: float) -> float:
    """r of a batch ``scale`` times the reference.

    Args:
        variance: of one sample's gradient, summed over parameters; may be estimated as negative, then taken as 0.
        signal: squared length of the true gradient; may be estimated as negative, then taken as 0.
        scale: S, more than 0.
        reference_batch: B0, samples.

    Returns:
        Between 1 and ``scale``; ``scale`` where both are 0 (as of a signal that is lost in the noise).
    """
    noise, signal = max(variance, 0.0) / reference_batch, max(signal, 0.0)
    if noise + signal == 0.0:
        return scale
    return (noise + signal) / (noise / scale + signal)
