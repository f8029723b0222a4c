"""Repeats the experiments of the papers, each by one command.

    python benchmarks/reproduce adabatch           --images DIR       AdaBatch             1712.02029
    python benchmarks/reproduce lars               --images DIR       LARS                 1708.03888
    python benchmarks/reproduce lars-plain         --images DIR       LARS
    python benchmarks/reproduce legw-rows          --images DIR       LEGW                 1901.08256
    python benchmarks/reproduce legw-rows-plain    --images DIR       LEGW
    python benchmarks/reproduce legw-text          --text TRAIN,TEST  LEGW
    python benchmarks/reproduce big-batch          --images DIR       Big Batch SGD        1610.05792
    python benchmarks/reproduce big-batch-plain    --images DIR       Big Batch SGD
    python benchmarks/reproduce big-batch-digits                      Big Batch SGD
    python benchmarks/reproduce all                --images DIR --text TRAIN,TEST

DIR holds train/CLASS/FILE and test/CLASS/FILE: CIFAR-10 (https://www.cs.toronto.edu/~kriz/cifar.html) saved as images.
TRAIN and TEST are plain text. The default setting, quick, takes two cores, 2 ranks and minutes a run; ``--setting
full`` has the paper's size on GPUs, from the same recipe files.

Runs are trained one after another, seed by seed. Finished runs are kept in OUT, so a command can be stopped at any
time, and the next start continues with the missing ones; failed runs are repeated with --retry only. Each experiment
writes a page and a picture into the folder --write.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from adabatch import AdaBatch  # noqa: E402 (after the path is set)
from big_batch import BigBatchDigits, BigBatchImages, BigBatchPlain  # noqa: E402
from cells import ROOT, Cell  # noqa: E402
from images import few_images  # noqa: E402
from lars import Lars, LarsPlain  # noqa: E402
from legw import LegwRows, LegwRowsPlain, LegwText  # noqa: E402
from outcome import Outcome, outcome  # noqa: E402
from page import Line, write_page  # noqa: E402
from study import Row, Study  # noqa: E402

ALL: tuple[Study, ...] = (
    *(AdaBatch(), Lars(), LarsPlain(), LegwRows(), LegwRowsPlain(), LegwText()),
    *(BigBatchImages(), BigBatchPlain(), BigBatchDigits()),
)
STUDIES = {study.name: study for study in ALL}


def read_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=[*STUDIES, "all"])
    parser.add_argument("--setting", default="quick", choices=["quick", "full"])
    parser.add_argument("--images", type=Path, help="folder that holds train/ and test/")
    parser.add_argument("--text", help="two files: TRAIN,TEST")
    parser.add_argument(
        "--seeds", help="seeds of the rows, as 0,1,2; the first also tunes; those of the experiment when not given"
    )
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--only", action="append", help="a row to run; may be given again; the page shows all rows")
    parser.add_argument("--out", type=Path, default=Path("runs/reproduce"), help="folder of the runs")
    parser.add_argument("--write", type=Path, default=Path("docs/results"), help="folder of the pages")
    parser.add_argument("--limit_s", type=float, help="seconds after which a run has failed; 1200 when quick")
    parser.add_argument("--retry", action="store_true", help="repeat failed runs")
    flags = parser.parse_args()
    flags.studies = list(STUDIES.values()) if flags.study == "all" else [STUDIES[flags.study]]
    known = [row.name for study in flags.studies for row in study.rows(flags.setting)]
    for name in flags.only or ():
        if name not in known:
            parser.error(f"--only: given {name!r}; allowed: {', '.join(map(repr, dict.fromkeys(known)))}")
    needed = {study.needs for study in flags.studies}
    if "images" in needed and (flags.images is None or not (flags.images / "train").is_dir()):
        parser.error(f"--images: given {flags.images}; wanted: a folder that holds train/ and test/")
    texts = [Path(part) for part in (flags.text or "").split(",")]
    if "text" in needed and (len(texts) != 2 or not all(path.is_file() for path in texts)):
        parser.error(f"--text: given {flags.text}; wanted: two files, TRAIN,TEST")
    flags.texts, flags.out = texts, flags.out.resolve()
    flags.seeds = [int(seed) for seed in flags.seeds.split(",")] if flags.seeds else []
    flags.limit_s = flags.limit_s or (1200 if flags.setting == "quick" else 86400)
    return flags


def data_flags(study: Study, flags: argparse.Namespace) -> str:
    """Returns the flags that tell the runs where their data are."""
    if study.needs == "nothing":
        return ""
    if study.needs == "text":
        train, test = (path.resolve() for path in flags.texts)
        return f"--task.train {train} --task.test {test}"
    if flags.setting == "full":
        return f"--task.root {flags.images.resolve()}"
    folder = flags.out / "images"
    few_images(flags.images, folder)
    return f"--task.root {folder}"


class Runs:
    """The runs of a study on this machine.

    Args:
        study: the experiment.
        flags: the flags of the command line.
    """

    def __init__(self, study: Study, flags: argparse.Namespace) -> None:
        self.study, self.flags = study, flags
        flags.out.mkdir(parents=True, exist_ok=True)
        self._common = f"{data_flags(study, flags)} {study.settings[flags.setting]}"
        self.lines = [Line(row, self._grid(row)) for row in study.rows(flags.setting)]
        self.settle()

    def _grid(self, row: Row) -> dict[str, Cell]:
        grid = row.grid or {"": ""}
        return {label: self._cell(row, label, further) for label, further in grid.items()}

    def _cell(self, row: Row, label: str, further: str) -> Cell:
        name = "-".join(f"{row.name} {label}".replace(",", "").replace("=", "").split())
        return Cell(
            name=name,
            seed=self.flags.seeds[0],
            flags=tuple(f"{self._common} {row.flags} {further}".split()),
            recipe=ROOT / "recipes" / self.study.recipe,
            ranks=self.flags.ranks,
            folder=self.flags.out / f"{self.study.name}-{self.flags.setting}",
        )

    def settle(self) -> None:
        """Makes each tuned row the best of its grid, once all of the grid is known."""
        for line in self.lines:
            trials = line.grid
            if all(cell.result() or cell.failure() for cell in trials.values()) or len(trials) == 1:
                done = {label: run for label, cell in trials.items() if (run := self.read(cell)) is not None}
                sign = {label: 1 if run.larger_is_better else -1 for label, run in done.items()}
                best = max(done, key=lambda label: sign[label] * done[label].best) if done else next(iter(trials))
                line.chosen = best
                line.cells = [trials[best].with_seed(seed) for seed in self.flags.seeds]

    def read(self, cell: Cell) -> Outcome | None:
        """Returns the numbers of a run, or None while it is not complete."""
        result = cell.result()
        return outcome(result, cell.records(), classes=self.study.classes) if result is not None else None

    def found(self) -> dict[str, list[Outcome]]:
        """Returns the runs of each row that is complete."""
        read = {line.row.name: [self.read(cell) for cell in line.cells] for line in self.lines}
        return {name: [run for run in runs if run] for name, runs in read.items() if runs and all(runs)}

    def missing(self) -> Iterator[Cell]:
        """Yields the runs to train, seed by seed; the first seed also runs the grids."""
        wanted = self.flags.only or [line.row.name for line in self.lines]
        for number, _ in enumerate(self.flags.seeds):
            for line in self.lines:
                if line.row.name in wanted:
                    if number == 0 and len(line.grid) > 1:
                        yield from line.grid.values()
                        self.settle()
                    if line.cells:
                        yield line.cells[number]

    def run(self) -> None:
        """Trains all runs that are missing.

        Raises:
            KeyboardInterrupt: a run was told to stop.
        """
        for cell in self.missing():
            if cell.result() is not None or (cell.failure() is not None and not self.flags.retry):
                continue
            print(f"{self.study.name}: {cell.run.name} ...", end=" ", flush=True)
            cell.train(self.flags.limit_s)
            done = self.read(cell)
            text = f"{done.metric} {done.best:.4f} in {done.wall_s:.0f} s" if done else str(cell.failure())
            print(text, flush=True)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leaves through the launch, which ends the ranks
    given = read_flags()
    stopped = False
    for study in given.studies:
        flags = argparse.Namespace(**vars(given) | {"seeds": given.seeds or list(study.seeds)})
        runs = Runs(study, flags)
        try:
            runs.run()
        except KeyboardInterrupt:
            stopped = True
            print("stopped; the same command goes on from here")
        write_page(study, runs.lines, runs.found(), runs.read, flags)
        if stopped:
            break
    sys.exit(130 if stopped else 0)


if __name__ == "__main__":
    main()
