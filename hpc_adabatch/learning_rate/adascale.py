"""AdaScale: the learning rate, and the clock that ends training, are scaled by the measured gain of a larger batch.

Johnson, Agrawal, Gu & Guestrin 2020, https://arxiv.org/abs/2007.05105, sections 3 and 4: at S times the reference batch
B0 one step makes the progress of r steps at B0, 1 <= r <= S, where

    r = (variance / B0 + signal) / (variance / (S B0) + signal)

    paper        here
    S, B0        scale, reference batch
    r_t          gain: factor of the learning rate; S if the gradient is noise only, 1 if there is no noise
    tau          the scale-invariant clock: sum of r_t, here times B0, in samples of the reference batch

The paper trains until tau has reached the iterations of the run at B0, and its schedule reads tau. So does ours, unless
``LearningRate.clock`` is samples: schedule and end then go by the samples seen, and the rate alone takes the gain. Each
step of S times the reference moves the clock by 1 to S times B0, so E epochs on it take E to S E passes over the data.
With S at the noise scale r is (S + 1) / 2: about 2 E.

r is the ratio of E|g|^2 at both batches. Of a training set of N samples, drawn without replacement, that is the formula
with signal - variance / N in the place of the signal (docs/statistics.md), which is what rank 0 announces.
"""


def gain(variance: float, signal: float, *, scale: float, reference_batch: float) -> float:
    """Returns the gain r of a batch of ``scale`` times the reference batch.

    Args:
        variance: Variance of one sample's gradient, summed over parameters; a negative estimate counts as 0.
        signal: Squared length of the true gradient; a negative estimate counts as 0.
        scale: Batch / reference batch (S), more than 0.
        reference_batch: Reference batch (B0), in samples.

    Returns:
        A number between 1 and ``scale``; ``scale`` if variance and signal are both 0.
    """
    noise, signal = max(variance, 0.0) / reference_batch, max(signal, 0.0)
    if noise + signal == 0.0:
        return scale
    return (noise + signal) / (noise / scale + signal)
