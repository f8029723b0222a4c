"""Starting the real program through its real launchers; and no test fails because the machine was slow."""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

from hpc_adabatch import errors

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: small networks gain nothing from more
# Hundreds of Pythons are started; none shall compile the package, or rewrite the tests' asserts, that another one has.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
errors.name_flags()  # as the command does, of which most tests are; the others have in_a_script

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "tests" / "launch" / "programs"
WARM = ROOT / "tests" / "launch" / "warm"
N_WARM = 4  # ranks with a hash seed of their own; as many as most tests launch
LAUNCHERS: dict[str, Callable[[int], list[str]]] = {
    "horovodrun --mpi": lambda n: ["horovodrun", "-np", str(n), "-H", f"localhost:{n}", "--mpi"],
    "horovodrun --gloo": lambda n: ["horovodrun", "-np", str(n), "-H", f"localhost:{n}", "--gloo"],
    "mpirun": lambda n: ["mpirun", "-np", str(n), "--oversubscribe"],
    "mpirun, torch": lambda n: ["env", "ADABATCH_ENGINE=torch", "mpirun", "-np", str(n), "--oversubscribe"],
    "torchrun": lambda n: ["torchrun", "--nproc-per-node", str(n), "--no-python"],
    "torchrun, once more": lambda n: ["torchrun", "--max-restarts=1", "--nproc-per-node", str(n), "--no-python"],
    "plain": lambda _: [],
}
Launch = Callable[..., "subprocess.CompletedProcess[str]"]


def environment() -> dict[str, str]:
    """Of a launched program: root may start ranks, more of them than cores, one thread each."""
    return os.environ | {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_mpi_yield_when_idle": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.hookimpl(tryfirst=True)  # before -m chooses by marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks the pure tests, and puts tests that wait first where several processes run them.

    Slurm (waits)    |test_cluster|test_links  |test_jobs, what goes on |
    launches         |test_jobs, others |test_study|test_bad_input|...  |   each process takes the next that is free
    long, then pure  |...test_exact_mean|...      |. . . . . . . |   one by one: all processes end together
    """
    layers = ("slurm", "launch", "long", "pure")
    for item in items:
        if not any(map(item.get_closest_marker, layers)):
            item.add_marker("pure")
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: next(i for i, layer in enumerate(layers) if item.get_closest_marker(layer)))


def pytest_runtest_teardown() -> None:
    """Lets this process compute with denormal numbers again, where a command of the test has joined ranks in it."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_flush_denormal(False)


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Gives a process a whole file of launches, Slurm or reports, whose tests share fixtures; of all others a test."""
    from xdist.scheduler import LoadScopeScheduling

    class FilesThatShare(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            if path == "tests/slurm/test_jobs.py" and "goes_on" in nodeid:  # these have a cluster of their own
                path += " goes_on"
            return path if path.startswith(("tests/slurm/", "tests/launch/", "tests/study/report/")) else nodeid

    config.option.loadscopereorder = False  # longest first, which is not the one with most tests
    return FilesThatShare(config, log)


@pytest.fixture
def in_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors name keywords, as in every process that is not the command ``adabatch``."""
    monkeypatch.setattr(errors, "_names_flags", False)


@pytest.fixture
def small_files() -> Callable[[int], AbstractContextManager[None]]:
    """small_files(n_bytes): a block in which no file can grow beyond that, as on a full disk; needs no rights."""

    @contextmanager
    def limit(n_bytes: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture(scope="session", autouse=True)
def _session_folder_of_open_mpi(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Of this process's own: an mpirun that begins as another ends may miss the folder that they would share."""
    os.environ.update({"OMPI_MCA_orte_tmpdir_base": str(tmp_path_factory.mktemp("ompi"))})


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], list[object]]:
    """warm(ranks): how to start Python as a fork of one that has imported everything (launch/warm/python.py).

    All processes that run tests share those; they end when pytest does.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    owner, base = os.getppid() if worker else os.getpid(), tmp_path_factory.getbasetemp()
    folder = (base.parent if worker else base) / "ranks"
    folder.mkdir(exist_ok=True)

    def python(ranks: int) -> list[object]:
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            new = [
                subprocess.Popen(
                    [sys.executable, WARM / "python.py", path, str(owner)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=environment(),
                )
                for path in (folder / str(number) for number in range(min(ranks, N_WARM)))
                if not path.exists()
            ]
            for server in new:
                assert server.stdout
                assert server.stdout.readline() == "ready\n", "a warm Python did not start; it has said why"
        return [sys.executable, "-I", "-S", WARM / "rank.py", folder, N_WARM]

    return python


@pytest.fixture(scope="session")
def launch(warm: Callable[[int], list[object]]) -> Launch:
    """launch(program and its arguments, ranks=2, launcher="mpirun", code=0): what it printed.

    Ranks are forks of a Python that has imported everything; with fresh=True each is a new one.
    """

    def run(
        *program: object,
        ranks: int = 2,
        launcher: str = "mpirun",
        code: int | None = 0,
        timeout_s: float = 120,
        fresh: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        python = [sys.executable] if fresh else warm(ranks)
        line = [*LAUNCHERS[launcher](ranks), *map(str, python), *map(str, program)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=timeout_s, env=environment(), cwd=ROOT)
        assert code is None or done.returncode == code, f"{' '.join(line)}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """start(program and its arguments, ranks=2): the launcher's process, ended with the test at the latest.

    Its ranks are new Pythons, the launcher's own children: tests send them signals.
    """
    started: list[subprocess.Popen[str]] = []

    def begin(*program: object, ranks: int = 2, launcher: str = "mpirun") -> subprocess.Popen[str]:
        line = [*LAUNCHERS[launcher](ranks), sys.executable, *map(str, program)]
        quiet = subprocess.DEVNULL
        started.append(subprocess.Popen(line, stdout=quiet, stderr=quiet, text=True, env=environment(), cwd=ROOT))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=30)


@pytest.fixture(scope="session")
def adabatch(launch: Launch) -> Launch:
    """adabatch("train", RECIPE, ..., ranks=2): the command, launched."""
    return lambda *arguments, **how: launch("-m", "hpc_adabatch", *arguments, **how)


@pytest.fixture(scope="session")
def programs() -> Path:
    return PROGRAMS
