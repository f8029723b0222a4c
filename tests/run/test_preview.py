"""The plan printed before a run is the run's."""

from __future__ import annotations

import json
from itertools import accumulate, groupby
from operator import itemgetter
from pathlib import Path

import pytest

from hpc_adabatch.cluster import SingleProcess
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.policies import POLICIES, Policy
from hpc_adabatch.replay import Replay
from hpc_adabatch.run.forecast import forecasts, phases
from hpc_adabatch.run.growth import growth
from hpc_adabatch.run.preview import preview
from hpc_adabatch.run.recipe_run import RecipeRun
from hpc_adabatch.training.journal import read

pytestmark = pytest.mark.long

RECIPE = str(Path(__file__).resolve().parents[2] / "recipes" / "quickstart.yaml")
JOURNALS = Path(__file__).resolve().parents[1] / "journals"
SHORT = [
    "--epochs=5",
    "--policy.interval=1.5",
    "--global_batch=64",
    "--max_global_batch=300",
    "--learning_rate.decay=poly",
]


def test_plan_and_run_agree_step_by_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, _, resolved = parse_recipe("train", [RECIPE, *SHORT])
    planned = list(phases(recipe, recipe.task.load(), 1))
    assert RecipeRun(recipe, resolved, tmp_path / "run", resume=False, cluster=SingleProcess()).train() == 0
    records = read(tmp_path / "run" / "journal.jsonl")
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert [(phase.epoch, phase.global_batch) for phase in planned] == growth(records)
    assert sum(phase.updates for phase in planned) == result["steps"]
    assert [batch for _, batch in result["batches"]] == [64, 128, 256, 300]
    rests = [(record["epoch"], record["global_batch"]) for record in records if record["kind"] == "rest"]
    assert rests == [(epoch, size) for phase in planned for epoch, sizes in phase.ends.items() for size in sizes]
    assert rests
    assert (tmp_path / "run" / "training.png").read_bytes().startswith(b"\x89PNG")
    assert "times fewer" in capsys.readouterr().out


RULES = {
    "fixed": ["--policy=fixed", "--global_batch=500"],
    "adabatch": ["--policy.interval=0.7", "--policy.warmup_epochs=0"],
    "adabatch's warm-up": ["--policy.interval=2", "--policy.warmup_epochs=2", "--policy.baseline_batch=50"],
    "schedule": ["--policy=schedule", "--policy.text=0:100 0.5ep:250 2ep:150"],
    "smith": ["--policy=smith", "--policy.milestones=[0.5,2]"],
    "seesaw": ["--policy=seesaw", "--policy.milestones=[1,1.5,2]", "--optimizer=lamb"],
    "replay": ["--policy=replay", f"--policy.journal={JOURNALS / 'simigrad.jsonl'}", "--global_batch=200"],
}
WARM = ["--learning_rate.warmup=fixed", "--learning_rate.warmup_epochs=1.3"]
SCALED = ["--learning_rate.scaling=sqrt", "--learning_rate.weight_decay=per_epoch"]
STEPS = ["--learning_rate.decay=step", "--learning_rate.milestones=[1.2,2.1]"]
CASES = [
    *(
        (rule, [*(WARM if rule != "adabatch's warm-up" else []), "--learning_rate.decay=cosine"])  # one of the two
        for rule in RULES
    ),
    *((rule, [*WARM, *SCALED, *STEPS]) for rule in ("fixed", "schedule", "replay")),
    ("schedule", ["--learning_rate.preset=legw", "--learning_rate.warmup_epochs=2", "--learning_rate.decay=poly"]),
]


@pytest.mark.parametrize(("rule", "rates"), CASES, ids=lambda value: value if isinstance(value, str) else len(value))
def test_batches_rates_and_updates_are_those_of_the_run(
    rule: str, rates: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every rule that needs no measurement, through warm-up and decay, by what each step of a real run wrote."""
    flags = ["--epochs=3", "--global_batch=100", "--max_global_batch=600", "--journal_every=1", "--task.augment=false"]
    recipe, _, resolved = parse_recipe("train", [RECIPE, "--model=narrow_cnn", *flags, *RULES[rule], *rates])
    assert recipe.policy.foreseeable
    monkeypatch.setattr("hpc_adabatch.run.life.write_picture", lambda *_: None)
    assert RecipeRun(recipe, resolved, tmp_path / "run", resume=False, cluster=SingleProcess()).train() == 0
    found, decided, decay = [], 0, 0.0
    for record in read(tmp_path / "run" / "journal.jsonl"):
        if record["kind"] in ("start", "decision"):
            decided, decay = record["global_batch"], record.get("weight_decay", recipe.optimizer.weight_decay)
        elif record["kind"] == "statistics":
            begins = record["cursor"] - record["global_batch"]
            found.append((decided, begins / 1437, record["learning_rate"], decay))
    planned = list(phases(recipe, recipe.task.load(), 1))
    for phase, (batch, steps) in zip(planned, groupby(found, key=itemgetter(0)), strict=True):
        epochs, learning_rates, decays = zip(*(step[1:] for step in steps), strict=True)
        assert (phase.global_batch, phase.epoch, phase.updates) == (batch, epochs[0], len(epochs))
        assert (phase.first_rate, phase.last_rate) == pytest.approx((learning_rates[0], learning_rates[-1]))
        assert phase.weight_decay == pytest.approx(decays[0])


def test_every_rule_that_needs_no_measurement_is_tried() -> None:
    kinds = {**POLICIES, "replay": Replay}
    tried = {flag.partition("=")[2] for flags in RULES.values() for flag in flags if flag.startswith("--policy=")}
    assert {"adabatch", *tried} == {name for name, kind in kinds.items() if kind.foreseeable is Policy.foreseeable}


@pytest.mark.parametrize(("kept", "shown"), [("per_step", False), ("per_epoch", True)])
def test_the_plan_shows_weight_decay_that_follows_the_batch(
    kept: str, shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    decay = ["--optimizer.weight_decay=0.003", f"--learning_rate.weight_decay={kept}"]
    recipe, _, _ = parse_recipe("plan", [RECIPE, *SHORT, *decay])
    preview(recipe, 4, measure=False)
    printed = capsys.readouterr().out
    assert ("decay" in printed) == shown
    assert "micro-batch" in printed  # 80 columns cut no heading
    assert ("0.01406" in printed) == shown  # 0.003 * 300 / 64, with the scaling none


def test_the_plan_is_printed_with_hours_when_measured(capsys: pytest.CaptureFixture[str]) -> None:
    recipe, _, _ = parse_recipe("plan", [RECIPE, *SHORT])
    preview(recipe, 4, measure=True)
    printed = capsys.readouterr().out
    assert "updates over 5 epochs of 1437 samples" in printed
    assert "by the scatter of those made here" in printed
    assert "1 x 75" in printed  # 300 over 4 ranks


ADASCALE = [
    *("--epochs=1", "--model=narrow_cnn", "--journal_every=1", "--measure_every=3", "--max_global_batch=256"),
    *("--learning_rate.scaling=adascale", "--learning_rate.decay=cosine", "--learning_rate.reference_batch=16"),
]
GROWS = ["--policy=noise_scale", "--policy.window=300", "--policy.dwell=1"]
FIXED = ["--policy=fixed", "--global_batch=256"]


@pytest.fixture(scope="module", params=[GROWS, FIXED, [*GROWS, "--learning_rate.clock=samples"]])
def adascale(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """The flags of a run with AdaScale, and its folder."""
    flags, folder = [RECIPE, *ADASCALE, *request.param], tmp_path_factory.mktemp("runs") / "run"
    recipe, _, resolved = parse_recipe("train", flags)
    assert RecipeRun(recipe, resolved, folder, resume=False, cluster=SingleProcess()).train() == 0
    return flags, folder


def test_a_plan_with_the_noise_of_a_run_is_that_run(
    adascale: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug story: AdaScale was foretold with gain 1 on the wrong clock. Batches, rates and updates are the run's."""
    flags, folder = adascale
    records = read(folder / "journal.jsonl")
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    steps = [record["learning_rate"] for record in records if record["kind"] == "statistics"]
    replay = ["--policy=replay", f"--policy.journal={folder / 'journal.jsonl'}"]
    recipe, _, _ = parse_recipe("plan", [*(flag for flag in flags if "policy" not in flag), *replay])
    [planned] = forecasts(recipe, recipe.task.load(), 1, None).values()
    assert [(phase.epoch, phase.global_batch) for phase in planned] == growth(records)
    assert sum(phase.updates for phase in planned) == result["steps"] == len(steps)
    assert sum(phase.samples for phase in planned) == result["samples_seen"]
    ends = list(accumulate(phase.updates for phase in planned))
    assert [phase.first_rate for phase in planned] == [steps[end] for end in (0, *ends[:-1])]
    assert [phase.last_rate for phase in planned] == [steps[end - 1] for end in ends]
    assert len({*steps}) > len(planned)
    recipe, _, _ = parse_recipe("plan", flags)
    preview(recipe, 1, measure=False, from_run=str(folder))
    assert f"{result['steps']} updates over {result['epochs']:.6g} epochs" in capsys.readouterr().out
    if recipe.policy.foreseeable:
        assert forecasts(recipe, recipe.task.load(), 1, records) == {"": planned}
        bounds = forecasts(recipe, recipe.task.load(), 1, None).values()
        most, least = (sum(phase.updates for phase in rows) for rows in bounds)
        assert least < result["steps"] < most


@pytest.mark.parametrize("clock", ["samples", "scale_invariant"])
def test_adascale_at_the_reference_batch_is_foretold_as_a_run_without_it(clock: str) -> None:
    flags = [RECIPE, "--policy=fixed", "--epochs=2", "--learning_rate.decay=cosine"]
    plain, _, _ = parse_recipe("plan", flags)
    scaled, _, _ = parse_recipe("plan", [*flags, "--learning_rate.scaling=adascale", f"--learning_rate.clock={clock}"])
    data = plain.task.load()
    assert forecasts(scaled, data, 1, None) == forecasts(plain, data, 1, None) == {"": list(phases(plain, data, 1))}


def test_without_a_run_the_plan_says_what_it_cannot_know(capsys: pytest.CaptureFixture[str]) -> None:
    recipe, _, _ = parse_recipe("plan", [RECIPE, *ADASCALE, *FIXED])
    preview(recipe, 1, measure=False)
    printed = capsys.readouterr().out
    assert "gain 1\n" in printed
    assert "96 updates over 16 epochs of 1437 samples" in printed
    assert "6 updates over 1 epochs of 1437 samples; 90 with the batch fixed at 16" in printed
    recipe, _, _ = parse_recipe("plan", [RECIPE, *ADASCALE, *GROWS])
    preview(recipe, 1, measure=False)
    assert "in at most 16 passes" in " ".join(capsys.readouterr().out.split())


def test_a_run_that_brings_nothing_is_refused_in_one_line(tmp_path: Path) -> None:
    recipe, _, _ = parse_recipe("plan", [RECIPE, *ADASCALE, *FIXED])
    with pytest.raises(InputError, match=r"^from_run: given .* \(FileNotFoundError\); allowed: the folder of a run"):
        preview(recipe, 1, measure=False, from_run=str(tmp_path))
    (tmp_path / "journal.jsonl").write_text('{"kind": "start", "cursor": 0}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"^from_run: given a run without noise"):
        preview(recipe, 1, measure=False, from_run=str(tmp_path))
    plain, _, _ = parse_recipe("plan", [RECIPE])
    with pytest.raises(InputError, match=r"^from_run: given .* allowed: nothing, as neither"):
        preview(plain, 1, measure=False, from_run=str(tmp_path))


def test_a_plan_says_that_a_micro_batch_is_not_known_yet(capsys: pytest.CaptureFixture[str]) -> None:
    recipe, _, _ = parse_recipe("plan", [RECIPE, *SHORT, "--max_micro_batch=auto"])
    preview(recipe, 2, measure=False)
    out = " ".join(capsys.readouterr().out.split())
    assert "max_micro_batch auto is found when the run begins; the plan is for passes of at most 64" in out
    assert "3 x 50" in out  # the share of 300 on two ranks
