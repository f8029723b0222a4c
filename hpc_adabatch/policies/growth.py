"""Growing a batch by factors, cut by a maximum, with the learning rate taking the rest.

What a rule keeps going is learning rate / batch^power: 1 for SGD, whose noise goes with a / r, and 1/2 for Adam and its
kin, whose normalised updates go with a / sqrt(r). Where growth is cut from beta to c, the learning rate gets another
(c / beta)^power, and the quantity goes on as if nothing had been cut.
"""


def grow(
    batch: int, learning_rate: float, *, factor: float, lr_factor: float, maximum: int, power: float = 1.0
) -> tuple[int, float]:
    """Returns batch and learning-rate factor after one change; the batch is rounded down, as AdaBatch's authors do.

    Args:
        batch: Global batch before the change, in samples.
        learning_rate: Learning-rate factor before the change.
        factor: Growth of the batch.
        lr_factor: Change of the learning rate if the batch can grow in full.
        maximum: Largest batch, in samples.
        power: Power of the batch in the quantity that is kept going; 1 for SGD, 1/2 for Adam.
    """
    wanted = batch * factor
    whole = int(wanted + 1e-9)  # 1 / 0.1 and the like are not whole in binary
    grown = min(whole, maximum)
    rest = (grown / wanted) ** power if whole > maximum else 1.0
    return grown, learning_rate * lr_factor * rest
