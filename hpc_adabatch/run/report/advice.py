"""What a person should look at in a run, and what to type: warnings from its journal, each with its remedy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...numerals import brief
from ...terminal import count, number
from .account import Account, State
from .curves import asked, noise
from .time_spent import step_parts, time_spent

WIDE = 10.0  # upper end / lower end: the interval holds batches more than three doublings apart
OFTEN = 0.5  # of the measurements, or of the time
AT_MAXIMUM = 0.25  # of the samples
WORSE = 0.02  # of the best metric
MUCH = 0.2  # of a time, for what is not training


@dataclass(frozen=True)
class Advice:
    """A warning, and what to do about it."""

    title: str
    """The matter, in a few words."""
    text: str
    """The evidence, and what to type."""


def advice(run: Account) -> list[Advice]:
    """Returns what there is to look at, the gravest first."""
    found = [
        _diverged(run),
        _skipped(run),
        _lost(run),
        _too_noisy(run),
        _at_maximum(run),
        _above_the_noise(run),
        _worse_than_best(run),
        *_bound(run),
        _much_beside_training(run),
    ]
    return [one for one in found if one is not None]


def _diverged(run: Account) -> Advice | None:
    if run.state != State.DIVERGED:
        return None
    remedy = "Lower the learning rate, warm up longer (--learning_rate.warmup_epochs) or clip (--clip_norm 1)."
    rate = run.of_kind("statistics")[-1:] or [run.start]
    return Advice(
        "Diverged", f"Losses or gradients were not finite at learning rate {_g(rate[0]['learning_rate'])}. {remedy}"
    )


def _skipped(run: Account) -> Advice | None:
    skipped = len(run.of_kind("skipped"))
    if not skipped or run.state == State.DIVERGED:
        return None
    part = f"{count(skipped)} of {count(run.result['steps'])} updates were skipped: a loss or gradient was not finite."
    return Advice(
        "Skipped updates", f"{part} A few are usual with float16; else lower the learning rate or --clip_norm 1."
    )


def _lost(run: Account) -> Advice | None:
    gaps = len(run.of_kind("gap"))
    text = f"The disk has lost lines of the journal at {count(gaps)} place(s); curves and tables lack them."
    return Advice("Lost records", text) if gaps else None


def _too_noisy(run: Account) -> Advice | None:
    measured = noise(run)
    settled = slice(len(measured) // 2, None)  # the first half is on little evidence by nature
    low, high = measured.values["low"][settled], measured.values["high"][settled]
    if len(low) < 3:
        return None
    wide = ~(high <= WIDE * low)  # nan is an interval without upper end
    if wide.mean() < OFTEN:
        return None
    open_ended = f", {count(int(np.isnan(high).sum()))} have no upper end" if np.isnan(high).any() else ""
    text = (
        f"Of the last {count(len(low))} intervals of the noise scale {count(int(wide.sum()))} span a factor of "
        f"{WIDE:g} or more{open_ended}, so the rule waits or guesses. Measure more often (--statistics_budget 0.05 or "
        "a smaller --measure_every) or average longer (--policy.window)."
    )
    return Advice("Too noisy to decide", text)


def _at_maximum(run: Account) -> Advice | None:
    maximum, batches = run.start.get("max_global_batch"), run.result["batches"]
    if maximum is None or len(batches) < 2 or batches[-1][1] < maximum:
        return None
    total = run.result["epochs"]
    since = next(epoch for epoch, size in batches[::-1] if size >= maximum)
    if not total or (total - since) / total < AT_MAXIMUM:
        return None
    wanted = asked(run).values["asked"]
    last = wanted[-1] if len(wanted) and not np.isnan(wanted[-1]) else None
    more = f" The rule asked for {number(last)} in the end." if last is not None and last > maximum else ""
    text = (
        f"From epoch {brief(since)} of {brief(total)} on the batch was held at the maximum, {count(maximum)}.{more} "
        f"If memory and accuracy allow more: --max_global_batch {2 * maximum}."
    )
    return Advice("At the maximum", text)


def _above_the_noise(run: Account) -> Advice | None:
    """Finds a batch above the whole interval at the end of a run: samples beyond it bring little."""
    measured, batch = noise(run), run.result["final_global_batch"]
    high = measured.values["high"][-1:]
    if not len(high) or not high[0] < batch / 2 or len(measured) < 3:
        return None
    text = (
        f"The last batch, {count(batch)}, is {batch / high[0]:.1f} times the upper end of the noise scale's interval "
        f"({number(high[0])}): a smaller one would learn as much per update, from fewer samples."
    )
    return Advice("Larger than the noise asks for", text)


def _worse_than_best(run: Account) -> Advice | None:
    best, last = run.best, run.result["metric"]["value"]
    if best is None or last is None or abs(last - best["metric"]) <= WORSE * abs(best["metric"]):
        return None
    name = run.start["metric"]
    text = (
        f"Test {name} was {best['metric']:.4f} after epoch {best['epoch'] + 1} and {last:.4f} at the end: the run may "
        f"overfit, or the rate may be too high for the last batches. --until {name}={best['metric']:.4g} stops there."
    )
    return Advice("Worse than its best", text)


def _bound(run: Account) -> list[Advice]:
    parts = {part.name: part.seconds for part in step_parts(run)}
    total = sum(parts.values())
    remedies = {
        "waiting for samples": (
            "Bound by input",
            "More processes that read (--workers), a faster file system or smaller images help; more GPUs do not.",
        ),
        "exposed communication": (
            "Bound by communication",
            "A larger batch or more passes per step (--global_batch), --compression fp16 or fewer nodes help.",
        ),
        "waiting for slower ranks": (
            "Bound by the slowest rank",
            "adabatch doctor tells of binding and of nodes that differ.",
        ),
    }
    return [
        Advice(title, f"A step spends {parts[name] / total:.0%} of its time {_doing(name)}. {remedy}")
        for name, (title, remedy) in remedies.items()
        if total > 0 and parts[name] >= MUCH * total
    ]


def _doing(name: str) -> str:
    return f"on {name}" if name == "exposed communication" else name


def _much_beside_training(run: Account) -> Advice | None:
    parts = {part.name: part.seconds for part in time_spent(run)}
    total, evaluation = sum(parts.values()), parts.get("evaluation", 0.0)
    if total < 60 or evaluation < MUCH * total:
        return None
    text = f"Evaluation took {evaluation / total:.0%} of the time. A larger --evaluation_batch may speed it up."
    return Advice("Much evaluation", text)


def _g(value: float | None) -> str:
    return "that is no number" if value is None else f"{value:.4g}"
