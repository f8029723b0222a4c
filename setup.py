"""Packaging. Each requirement has its reason beside it; large ones that few users need are extras."""

from pathlib import Path

from setuptools import find_packages, setup

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
    "test": [
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

if __name__ == "__main__":
    setup(
        name="hpc_adabatch",
        version="0.1.0",
        description="Data-parallel training with adaptive batch sizes on HPC clusters: Horovod, MPI, LARS, Slurm",
        long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
        long_description_content_type="text/markdown",
        license="Apache-2.0",  # its text, LICENSE, goes into the wheel by default
        classifiers=CLASSIFIERS,
        python_requires=">=3.10",
        packages=find_packages(include=["hpc_adabatch", "hpc_adabatch.*"]),
        package_data={"hpc_adabatch": ["py.typed"]},
        install_requires=REQUIREMENTS,
        extras_require=EXTRAS,
        entry_points={"console_scripts": ["adabatch = hpc_adabatch.cli:main"]},
    )
