"""What of the gradient's noise a training needs measured, by its rule for the batch, its schedule and its step search.

rule, schedule, search     nothing; or the noise of each step; or of one step in every few
ranks, passes              as many pieces as a variance needs
optimizer                  the geometry: the gradient's own, or that of second moments (optim/second_moments.py)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch

from ..batches import AdaptiveBatches
from ..batches.micro_batch import passes_and_micro_batch
from ..errors import require
from ..learning_rate import LearningRate
from ..optim.second_moments import divisors, has_second_moments
from ..policies import Policy
from .measuring import Measuring, NotMeasuring
from .options import LoopOptions


def measuring_for(
    policy: Policy,
    learning_rate: LearningRate,
    groups: Mapping[str, Sequence[torch.nn.Parameter]],
    batches: AdaptiveBatches,
    n_ranks: int,
    options: LoopOptions,
    optimizer: torch.optim.Optimizer,
    *,
    each_step: bool,
) -> Measuring | NotMeasuring:
    """Returns the measurements that a rule, a schedule or a search needs; a stand-in where none does.

    Args:
        policy: The rule for the batch.
        learning_rate: The schedule; AdaScale measures, unless the rule brings the noise of another run.
        groups: The parameters by the name of their group; those that are frozen are left out.
        batches: The training set, and the limits of its batch.
        n_ranks: The ranks that share a batch.
        options: How often to measure, and in which geometry; and whether one rank may split its pass in two.
        optimizer: The optimizer, whose second moments may be that geometry.
        each_step: True where the search for a step size needs the variance of every step.

    Raises:
        InputError: One rank takes one pass, and may not split it; the rule's window is shorter than a batch; nothing is
            trained; or the noise cannot be measured in the optimizer's geometry.
    """
    each_step = each_step or policy.extends
    trained = {name: [p for p in group if p.requires_grad] for name, group in groups.items()}
    trained = {name: group for name, group in trained.items() if group}
    if not (policy.measures or each_step or (learning_rate.measures and not policy.brings_noise)):
        return NotMeasuring()
    pieces = max(policy.pieces, 2 if n_ranks == 1 and options.split_passes else 1)
    passes, _ = passes_and_micro_batch(batches.global_batch, n_ranks, batches.max_micro_batch)
    require(
        n_ranks > 1 or passes > 1 or pieces > 1,
        "split_passes",
        "false with one rank and one pass",
        "true; or two passes (max_micro_batch), or two ranks: a variance needs two pieces",
        "--split_passes true",
    )
    require(bool(trained), "model", "no parameter that is trained", "one at least, whose gradient can be measured")
    by_optimizer = options.noise_geometry == "optimizer"
    if by_optimizer:
        _check_geometry(policy, optimizer, each_step=each_step)
    kept = 2 if n_ranks == 1 else 1
    return Measuring(
        trained,
        window_samples=policy.window_samples(batches.plan.n_samples, batches.global_batch),
        every=1 if each_step else options.measure_every,
        budget=options.statistics_budget,
        keep=kept if policy.inner_products else 0,
        pieces=pieces,
        population=batches.population,
        divisors=partial(divisors, optimizer) if by_optimizer else None,
    )


def _check_geometry(policy: Policy, optimizer: torch.optim.Optimizer, *, each_step: bool) -> None:
    """Sees that noise may be measured on gradients that are divided by the optimizer's second moments.

    Raises:
        InputError: The optimizer has none; or the rule, or the search for a step, compares the noise with something
            else than the signal.
    """
    name, kind = type(policy).__name__, type(optimizer).__name__
    allowed = f"gradient with {kind}, which keeps no second moments"
    require(has_second_moments(optimizer), "noise_geometry", "optimizer", allowed, "--noise_geometry gradient")
    allowed = f"gradient with {name}, which needs the gradient's own length"
    fits = (policy.any_geometry or not policy.measures) and not each_step
    require(fits, "noise_geometry", "optimizer", allowed, "--noise_geometry gradient")
