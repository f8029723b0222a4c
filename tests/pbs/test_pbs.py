"""The template for PBS, and launch/ under PBS. Debian has no package of it: qstat and qsub are fakes, ranks are real.

What the fakes answer follows OpenPBS's manual pages and sources: qrerun is for operators (server/req_rerun.c), SIGTERM
comes kill_delay seconds, 10 by default, before SIGKILL (resmom/requests.c, server/req_runjob.c), scripts get no words.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
TEMPLATE = ROOT / "pbs" / "gpu.pbs"
NODES = ["gpu01"] * 4 + ["gpu02"] * 4
QSTAT = """\
Job Id: 81234.server
    Job_Name = two words
    job_state = R
    queue = prod
    project = _pbs_project_default
    Account_Name = abc
    Resource_List.filesystems = home:eagle
    Resource_List.ncpus = {ncpus}
    Resource_List.place = scatter:excl
    Resource_List.select = 2:ncpus=64:mpiprocs=4:ngpus=4:system=
\tpolaris
    Resource_List.walltime = {walltime}
    run_count = {run_count}
"""
ODD = 'two words, "a" comma, $HOME $(touch owned) é \\ *'
TOLD = {"ncpus": 128, "walltime": "04:00:00", "run_count": 1}


def environment(folder: Path, nodes: Sequence[str] = NODES, **told: str | int) -> dict[str, str]:
    """What PBS gives to a job, and nothing of this machine's environment but the path."""
    (folder / "home").mkdir(exist_ok=True)
    (folder / "home" / "qstat").write_text(QSTAT.format(**(TOLD | told)), encoding="utf-8")
    (folder / "nodes").write_text("".join(f"{node}\n" for node in nodes), encoding="utf-8")
    return {
        "PATH": f"{HERE / 'fakes'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder / "home"),
        "LC_ALL": "C.UTF-8",
        "ADABATCH_HOME": str(ROOT),
        "ADABATCH_NETWORK": "slingshot",
        "PBS_JOBID": "81234.server",
        "PBS_NODEFILE": str(folder / "nodes"),
        "PBS_O_WORKDIR": str(folder),
    }


def run(script: Path, *arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    line = ["bash", str(script), *arguments]
    return subprocess.run(line, env=variables, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def asked(folder: Path) -> list[str]:
    """The words of the last qsub."""
    path = folder / "home" / "asked"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def test_what_the_template_comes_to(tmp_path: Path) -> None:
    """A job begins in the home folder; GOLDEN=write after a wanted change."""
    given = environment(tmp_path) | {"ADABATCH_WORDS": "recipes/quickstart.yaml --task.root 'two words'"}
    done = run(TEMPLATE, cwd=tmp_path / "home", **given)
    assert done.returncode == 0, done.stderr
    directives = [line for line in TEMPLATE.read_text(encoding="utf-8").splitlines() if line.startswith("#PBS")]
    first, _, *called = done.stdout.splitlines()  # the second says the command itself
    assert first.startswith(
        "job 81234, start 1 of at most 6: 8 task(s) on 2 node(s) (gpu01,gpu02); network slingshot; "
    )
    found = "\n".join([*directives, "", *called]) + "\n"
    golden = HERE / "golden" / "gpu.txt"
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(found, encoding="utf-8")
    assert found == golden.read_text(encoding="utf-8")
    assert (tmp_path / "runs" / "quickstart-81234" / "result.json").exists()


def test_directives_stand_before_commands() -> None:
    subprocess.run(["bash", "-n", str(TEMPLATE)], check=True)
    lines = TEMPLATE.read_text(encoding="utf-8").splitlines()
    first = next(index for index, line in enumerate(lines) if line and not line.startswith("#"))
    assert not [line for line in lines[first:] if line.startswith("#PBS")]


@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("mpiexec 1.7.1", "mpiexec -n 8 --ppn 4 --depth 16 --cpu-bind depth x"),  # PALS
        ("HYDRA build details:", "mpiexec -np 8 --bind-to none -f NODES x"),
        ("Intel(R) MPI Library for Linux* OS, Version 2021.18", "mpiexec -np 8 --bind-to none -f NODES x"),
        ("mpiexec (OpenRTE) 4.1.4", "mpiexec -np 8 --bind-to none --hostfile NODES"),
        ("mpiexec (Open MPI) 5.0.11", "mpiexec -np 8 --bind-to none --hostfile NODES"),
    ],
)
def test_each_mpiexec_gets_the_nodes_as_it_reads_them(version: str, line: str, tmp_path: Path) -> None:
    given = environment(tmp_path) | {"FAKE_MPI": version, "NCCL_NET": "Socket", "ADABATCH_CORES": "16"}
    given["CUDA_VISIBLE_DEVICES"] = "2,3"  # of the first node
    called = run(ROOT / "launch" / "run", "x", cwd=tmp_path, **given).stdout.splitlines()[0]
    if "Open" in version:  # over ssh, variables go along where they are named
        line, called = f"{line} ", called.replace("\\", "")
        assert {"-x NCCL_NET", "-x PATH", "-x ADABATCH_STOP_FILE"} <= set(called.replace(" -x", "\n-x").split("\n"))
        assert called.endswith(" x")
        assert not {"-x HOME", "-x CUDA_VISIBLE_DEVICES"} & set(called.replace(" -x", "\n-x").split("\n"))
        assert called.startswith(line.replace("NODES", str(tmp_path / "nodes")))
    else:
        assert called == line.replace("NODES", str(tmp_path / "nodes"))


def test_other_launchers_in_a_job_of_pbs(tmp_path: Path) -> None:
    for name in ("horovodrun", "mpirun"):
        shutil.copy(HERE / "fakes" / "mpiexec", tmp_path / name)
    given = environment(tmp_path, [*NODES, "gpu02"])
    given |= {"PATH": f"{tmp_path}:{given['PATH']}", "FAKE_MPI": "mpirun (Open MPI) 4.1.4"}
    launch = ROOT / "launch" / "run"
    line = run(launch, "x", cwd=tmp_path, **given | {"ADABATCH_LAUNCHER": "horovodrun"}).stdout.splitlines()[0]
    assert line == "horovodrun -np 9 -H gpu01:4\\,gpu02:5 x"
    line = run(launch, "x", cwd=tmp_path, **given | {"ADABATCH_LAUNCHER": "mpirun"}).stdout.splitlines()[0]
    assert line.startswith(f"mpirun -np 9 --bind-to none --hostfile {tmp_path / 'nodes'} -x ADABATCH_")
    line = run(launch, "-n", "2", "x", cwd=tmp_path, **given | {"ADABATCH_LAUNCHER": "local"}).stdout.splitlines()[0]
    assert line == "mpirun -np 2 --bind-to none --oversubscribe x"


def test_a_job_that_was_stopped_submits_its_successor_a_few_times_only(tmp_path: Path) -> None:
    given = environment(tmp_path, run_count=3) | {"FAKE_CODE": "75", "ADABATCH_RESTARTS": "2"}
    given |= {"ADABATCH_WORDS": f"r.yaml --x '{ODD}' --y ''", "ADABATCH_LAUNCHER": "mpiexec"}
    done = run(TEMPLATE, cwd=tmp_path / "home", **given)
    assert done.returncode == 75
    assert "start 5 of at most 6" in done.stdout
    assert "goes on as job 81240" in done.stdout
    where, *flags = asked(tmp_path)
    pairs = dict(zip(flags[0:4:2], flags[1:4:2], strict=True))
    assert (where, pairs["-W"], flags[-1]) == (f"in {tmp_path}", "depend=afterany:81234.server", str(TEMPLATE))
    assert flags[4:-1] == [
        *("-l", "select=2:ncpus=64:mpiprocs=4:ngpus=4:system=polaris", "-l", "place=scatter:excl"),
        *("-l", "walltime=04:00:00", "-l", "filesystems=home:eagle", "-N", "two words", "-q", "prod", "-A", "abc"),
    ]
    handed = dict(word.split("=", 1) for word in (tmp_path / "home" / "handed").read_text().rstrip("\0").split("\0"))
    assert handed["ADABATCH_RESTARTS"] == "5"
    assert not {"ADABATCH_STOP_FILE", "ADABATCH_SCRIPT", "ADABATCH_RANKS"} & handed.keys()

    (tmp_path / "home" / "asked").unlink()
    again = run(TEMPLATE, cwd=tmp_path / "home", **environment(tmp_path) | {"FAKE_CODE": "75"} | handed)
    command = shlex.split(again.stdout.splitlines()[1])
    words = ["r.yaml", "--precision", "bfloat16", "--x", ODD, "--y", "", "--out", "runs/r-81234"]
    assert command == ["adabatch", "train", *words, "--resume", "auto"]
    assert "stopped 6 times" in again.stderr
    for code in ("70", "74", "1"):  # would end in the same way
        assert run(TEMPLATE, cwd=tmp_path, **given | {"FAKE_CODE": code}).returncode == int(code)
    assert asked(tmp_path) == []

    refused = run(TEMPLATE, cwd=tmp_path, **given | {"FAKE_REFUSES": "Queue is not enabled"})
    assert "to go on: submit the same command again with --out runs/r-81234" in refused.stderr
    task = run(TEMPLATE, cwd=tmp_path, **given | {"PBS_ARRAY_INDEX": "3"})
    assert "to go on: submit the same command again" in task.stderr


def test_a_run_that_asks_for_other_nodes_gets_a_successor_on_them(tmp_path: Path) -> None:
    """Chunks of select are nodes, all alike; elsewhere the run stays on those that it has."""
    given = environment(tmp_path) | {"FAKE_CODE": "75", "FAKE_NODES": "16", "ADABATCH_RESTARTS": "2"}
    given |= {"ADABATCH_WORDS": "r.yaml --nodes_follow 1:16", "ADABATCH_LAUNCHER": "mpiexec"}
    done = run(TEMPLATE, cwd=tmp_path / "home", **given)
    assert done.returncode == 0, done.stderr
    assert "goes on as job 81240" in done.stdout
    assert {"ADABATCH_JOB_NODES=2", "ADABATCH_MOVES_LEFT=10"} <= set(done.stdout.splitlines())
    assert "select=16:ncpus=64:mpiprocs=4:ngpus=4:system=polaris" in asked(tmp_path)
    handed = dict(word.split("=", 1) for word in (tmp_path / "home" / "handed").read_text().rstrip("\0").split("\0"))
    assert (handed["ADABATCH_RESTARTS"], handed["ADABATCH_MOVES"]) == ("2", "1")
    assert not {"ADABATCH_JOB_NODES", "ADABATCH_MOVES_LEFT", "ADABATCH_STOP_FILE"} & handed.keys()

    (tmp_path / "home" / "asked").unlink()
    one_chunk_a_rank = {"PBS_NODEFILE": str(tmp_path / "nodes")}
    (tmp_path / "nodes").write_text("gpu01\n" * 8, encoding="utf-8")
    done = run(TEMPLATE, cwd=tmp_path / "home", **(given | one_chunk_a_rank))
    assert done.returncode == 75
    assert "that is refused; the run stays on its 1 node(s)" in done.stderr
    assert "select=2:ncpus=64:mpiprocs=4:ngpus=4:system=polaris" in asked(tmp_path)  # stopped, as any run


def test_before_the_end_of_its_time_a_job_is_told(tmp_path: Path) -> None:
    given = environment(tmp_path, walltime="00:00:02") | {"FAKE_WAITS": "yes", "ADABATCH_WORDS": "r.yaml"}
    done = run(TEMPLATE, cwd=tmp_path, **given)
    assert done.returncode == 75
    assert "goes on as job 81240" in done.stdout
    assert not list(tmp_path.glob(".adabatch-stop*"))


def test_a_job_that_is_ended_from_outside_is_told_and_has_no_successor(tmp_path: Path) -> None:
    given = environment(tmp_path) | {"FAKE_WAITS": "yes", "ADABATCH_WORDS": "r.yaml"}
    process = subprocess.Popen(["bash", str(TEMPLATE)], env=given, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while not process.stdout.readline().startswith("mpiexec"):
        assert process.poll() is None
    process.terminate()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "PBS has ended it, or takes it back by itself" in said
    assert asked(tmp_path) == []


def test_ranks_do_not_outlive_a_job_that_is_killed(tmp_path: Path) -> None:
    """PBS kills the processes of the script's session, and the ranks are in another."""
    mpiexec = tmp_path / "mpiexec"
    mpiexec.write_text('#!/bin/bash\n[ "$1" = --version ] || { echo $$; exec sleep 300; }\n', encoding="utf-8")
    mpiexec.chmod(0o755)
    given = environment(tmp_path)
    given["PATH"] = f"{tmp_path}:{given['PATH']}"
    line = ["bash", str(ROOT / "launch" / "run"), "x"]
    process = subprocess.Popen(line, env=given, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    rank = Path("/proc") / process.stdout.readline().strip()
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while rank.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.launch
def test_the_template_trains_and_its_successor_goes_on(tmp_path: Path) -> None:
    """Two ranks by this machine's mpiexec. Of two epochs the run was at its end before it had seen the stop file."""
    given = environment(tmp_path, [socket.gethostname()] * 2, ncpus=2) | {
        "ADABATCH_FLAGS": "",
        "ADABATCH_NETWORK": "sockets",
    }
    fakes = tmp_path / "fakes"
    shutil.copytree(HERE / "fakes", fakes)
    (fakes / "mpiexec").unlink()
    given["PATH"] = given["PATH"].replace(str(HERE / "fakes"), str(fakes))
    given |= {
        "ADABATCH_WORDS": f"{ROOT / 'recipes' / 'quickstart.yaml'} --epochs 6 --journal_every 1",
        "MPIRUN_FLAGS": "",
    }
    given["OMPI_MCA_rmaps_base_oversubscribe"] = "1"  # a machine with a single core
    process = subprocess.Popen(["bash", str(TEMPLATE)], env=given, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    journal = tmp_path / "runs" / "quickstart-81234" / "journal.jsonl"
    while not journal.exists() or journal.read_text(encoding="utf-8").count("\n") < 10:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGUSR2)  # as the clock would tell it
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 75, said
    handed = dict(word.split("=", 1) for word in (tmp_path / "home" / "handed").read_text().rstrip("\0").split("\0"))
    done = run(TEMPLATE, cwd=tmp_path, **given | handed | {"PBS_JOBID": "81240.server"})
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((journal.parent / "result.json").read_text(encoding="utf-8"))
    assert (result["world_size"], result["steps"]) == (2, 6 * 90)
