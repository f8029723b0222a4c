"""Packaging. Each requirement has its reason beside it; large ones that few users need are extras."""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent

REQUIREMENTS = [
    "torch>=2.1",  # tensors, autograd, optimizers; 2.1 is the first with post-accumulate gradient hooks
    "torchvision>=0.16",  # CIFAR, image folders, the model zoo
    "numpy>=1.24",  # permutations, journals
    "scipy>=1.10",  # Student's t for the interval of the noise scale, non-negative least squares for step times
    "jsonargparse[signatures]>=4.40",  # command line and YAML recipes from typed classes
    "rich>=13",  # progress bar and tables in a terminal
    "matplotlib>=3.7",  # the picture of a run
    "scikit-learn>=1.3",  # carries the handwritten digits of the quickstart: real data, no download
]
REPORT = "bokeh>=3.9"  # draws the pages of adabatch report --html, 1.3 MB of script each; the first without pandas
PARQUET = "pyarrow>=14"  # writes the .parquet files of adabatch export
TENSORBOARD = "tensorboard>=2.14"  # its events, by train --tensorboard true and adabatch export
WANDB = "wandb>=0.26"  # offline runs, 84 MB; MLflow has 316, and its local store does not get to a server by itself
SITE = [
    "sphinx>=8.1",  # builds the documentation, and its reference from docstrings; 8.1 is the last for Python 3.10
    "myst-parser>=4.0",  # reads its pages, which are Markdown with formulas
    "furo>=2024.8.6",  # its looks: light, dark and on a phone, without anything from elsewhere
]
# Without an extra torch.distributed sums over ranks, and pip compiles nothing. Horovod's last release does not compile
# against torch >= 2.1: ./launch/install builds a wheel of it, or PIP_FIND_LINKS names a folder with one.
EXTRAS = {
    "horovod": [
        "horovod>=0.28.1",  # sums gradients over ranks: NCCL on GPUs, MPI or Gloo on CPUs
        "mpi4py>=3.1.5",  # owns MPI's start and end, tells decisions in microseconds, ends all ranks when one fails
    ],
    "mpi": [
        "mpi4py>=3.1.5",  # the same beside torch.distributed, which then needs no MASTER_ADDR under mpirun
    ],
    "report": [
        REPORT,
    ],
    "export": [
        PARQUET,
    ],
    "tensorboard": [
        TENSORBOARD,
    ],
    "wandb": [
        WANDB,
    ],
    "docs": [
        *SITE,
    ],
    "test": [
        *SITE,  # the documentation is built, and its links are followed
        REPORT,  # pages are tested on what the library makes of them
        PARQUET,  # and so are tables
        TENSORBOARD,  # and events
        WANDB,  # and offline runs
        "pytest>=7.4",  # the test runner
        "pytest-xdist>=3.7",  # tests that compute run beside tests that wait for Slurm (launch/test)
        "hypothesis>=6.90",  # property tests of the batch plan
        "ruff>=0.6",  # style
        "mypy>=1.10",  # types
        "types-PyYAML",  # types of yaml for mypy
    ],
    "benchmark": [
        "timm>=1.0",  # LARS and LAMB beside ours (benchmarks/optimizers.py)
        "pytorch_optimizer>=3",  # LARS and LAMB of another hand, likewise (benchmarks/optimizers.py)
    ],
}
CLASSIFIERS = [
    "Development Status :: 4 - Beta",
    "Environment :: Console",
    "Environment :: GPU :: NVIDIA CUDA",
    "Intended Audience :: Science/Research",
    "Operating System :: POSIX :: Linux",
    "Programming Language :: Python :: 3 :: Only",
    "Programming Language :: Python :: 3.10",
    "Programming Language :: Python :: 3.11",
    "Topic :: Scientific/Engineering :: Artificial Intelligence",
    "Topic :: System :: Distributed Computing",
    "Typing :: Typed",
]

SHIPPED = (  # beside the modules; launch/install, quickstart and test are of use in a checkout alone
    *("recipes/*.yaml", "slurm/*.sbatch", "pbs/*.pbs"),
    *("launch/job", "launch/run", "launch/network", "launch/queue/*"),
)
DESCRIPTION = "docs/pip.md"


def read(name: str) -> str:
    """Returns the text of a file of the checkout."""
    return (ROOT / name).read_text(encoding="utf-8")


def shipped() -> list[str]:
    """Returns the paths of the files that lie in the wheel beside the modules, as they are in the checkout."""
    return sorted(path.relative_to(ROOT).as_posix() for pattern in SHIPPED for path in ROOT.glob(pattern))


class BuildWithShipped(build_py):
    """Copies what is shipped into the package's folder share/; an editable installation reads it where it lies."""

    def run(self) -> None:
        super().run()
        for source, target in self._copies().items():
            self.mkpath(str(Path(target).parent))
            self.copy_file(str(ROOT / source), target)  # with its mode: launch/job is a program

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), *self._copies().values()]

    def get_source_files(self) -> list[str]:  # what an sdist has besides
        return [*super().get_source_files(), *shipped(), DESCRIPTION]

    def _copies(self) -> dict[str, str]:
        share = Path(self.build_lib) / "hpc_adabatch" / "share"
        return {} if self.editable_mode else {source: str(share / source) for source in shipped()}


if __name__ == "__main__":
    setup(
        name="hpc_adabatch",
        version=re.search(r'^__version__ = "(.+)"$', read("hpc_adabatch/__init__.py"), re.MULTILINE)[1],
        description="Data-parallel training with adaptive batch sizes on HPC clusters: Horovod, MPI, LARS, Slurm",
        long_description=read(DESCRIPTION),
        long_description_content_type="text/markdown",
        license="Apache-2.0",  # its text, LICENSE, goes into the wheel by default
        classifiers=CLASSIFIERS,
        python_requires=">=3.10",
        packages=find_packages(include=["hpc_adabatch", "hpc_adabatch.*"]),
        package_data={"hpc_adabatch": ["py.typed", "run/report/page.css", "run/report/page.js"]},
        cmdclass={"build_py": BuildWithShipped},
        install_requires=REQUIREMENTS,
        extras_require=EXTRAS,
        entry_points={"console_scripts": ["adabatch = hpc_adabatch.cli:main"]},
    )
