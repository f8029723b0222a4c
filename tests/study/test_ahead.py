"""`adabatch plan RECIPE --nodes`: what is read, and what comes of it. The sums are tried in test_plan_nodes.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hpc_adabatch.cli import main
from hpc_adabatch.command_line import parse_recipe
from hpc_adabatch.errors import InputError
from hpc_adabatch.study.ahead import plan_ahead
from hpc_adabatch.study.flags import NodesFlags

pytestmark = pytest.mark.long

RECIPE = str(Path(__file__).resolve().parents[2] / "recipes" / "quickstart.yaml")


def written(folder: Path, *, sample_s: float = 1e-4, nodes: int = 2) -> str:
    """A probe's file: passes take as long as their samples, so that a larger batch gains nothing on one node."""
    steps = [{"micro_batch": size, "forward_backward": {"median_s": sample_s * size}} for size in (16, 64, 256)]
    messages = {"fit": {"latency_s": 1e-4, "bandwidth_bytes_per_s": 1e9}}
    content = {"nodes": nodes, "device_name": "a GPU", "steps": {"steps": steps}, "messages": messages}
    (folder / "probe.json").write_text(json.dumps(content), encoding="utf-8")
    return str(folder / "probe.json")


def said(*fields: str, **flags: Any) -> str:
    recipe, _, _ = parse_recipe("plan", [RECIPE, *fields])
    console = Console(width=140, record=True, file=None)
    with console.capture() as captured:
        for part in plan_ahead(recipe, 1, NodesFlags(**flags)):
            console.print(part)
    return captured.get()


def test_a_small_noise_scale_asks_for_fewer_nodes_than_a_large_one(tmp_path: Path) -> None:
    probe = written(tmp_path, sample_s=2e-3)
    little, much = (said(nodes="1,2,4,...,16", probe=probe, noise_scale=scale) for scale in (1.0, 1e5))
    lines = {
        name: next(line for line in text.splitlines() if line.startswith("soonest"))
        for name, text in (("little", little), ("much", much))
    }
    assert " 16 samples" in lines["little"], little
    assert " 256 samples" in lines["much"], much


def test_compressed_gradients_are_half_as_many_bytes(tmp_path: Path) -> None:
    probe = written(tmp_path)
    whole, half = (said(f"--compression={kind}", nodes="1,2", probe=probe) for kind in ("none", "fp16"))
    assert "0.605 MB of gradients" in whole
    assert "0.303 MB of gradients" in half


def test_the_adaptive_batch_is_the_recipes_fraction_of_the_noise_scale(tmp_path: Path) -> None:
    probe = written(tmp_path)
    for fraction, batch in ((1.0, "60"), (0.5, "30"), (2.0, "120")):
        flags = ["--policy=noise_scale", f"--policy.fraction={fraction}"]
        text = said(*flags, nodes="1", probe=probe, noise_scale=60.0)
        (line,) = (line for line in text.splitlines() if " adaptive " in line)
        assert f" {batch} " in line, text


@pytest.mark.parametrize(("clock", "reference"), [("samples", 256), ("scale_invariant", 16)])
def test_epochs_on_adascales_clock_are_those_of_the_reference_batch(clock: str, reference: int, tmp_path: Path) -> None:
    """Noise scale 240, batch 256: 30 epochs of 1437 samples at batch B0, in steps that each make the progress of r."""
    fields = ["--policy=fixed", "--global_batch=256", "--learning_rate.scaling=adascale"]
    fields += ["--learning_rate.reference_batch=16", f"--learning_rate.clock={clock}"]
    r = (240 / reference + 1) / (240 / 256 + 1)
    text = said(*fields, nodes="1", probe=written(tmp_path), noise_scale=240.0)
    line = next(line for line in text.splitlines() if " strong " in line)
    assert line.split("|")[4].strip() == f"{30 * 1437 / reference / r:,.0f}"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"nodes": "1,two"}, "nodes: given"),
        ({"nodes": "1", "network": "ethernet"}, "network: given ethernet; allowed: p100"),
        ({"nodes": "1", "network": "measured"}, "network: given measured; allowed: a probe on 2 nodes"),
        ({"nodes": "1", "probe": "nowhere.json"}, "probe: given nowhere.json"),
        ({"nodes": "1", "noise_scale": -1.0}, "noise_scale: given -1"),
        ({"nodes": "1", "noise_scale": 3.0, "from_run": "x"}, "noise_scale: given 3"),
        ({"nodes": "1", "from_run": "nowhere"}, "from_run: given nowhere"),
    ],
)
def test_what_cannot_be_used_is_told(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        said(**flags)


@pytest.mark.parametrize("sample_s", [0.0, 5e-324, -1.0])
def test_times_that_nothing_can_take_are_refused(sample_s: float, tmp_path: Path) -> None:
    """Bug story: the rate of a pass of 5e-324 seconds divided by zero."""
    with pytest.raises(InputError, match=r"^probe: .*a number out of its range"):
        said(nodes="1", probe=written(tmp_path, sample_s=sample_s))


def test_a_probe_of_one_node_knows_no_network_between_nodes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a probe on 1 node"):
        said(nodes="1,2", network="measured", probe=written(tmp_path, nodes=1))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["plan", RECIPE, "--nodes", "1,2,4", "--network", "measured", "--probe", written(tmp_path)])
    printed = capsys.readouterr().out
    assert ended.value.code == 0
    assert "cheapest: 1 node" in printed
    assert "the noise scale is not known" in printed
