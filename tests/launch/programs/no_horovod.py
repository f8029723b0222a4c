"""adabatch where Horovod does not load: on all ranks, or on one. no_horovod.py all|RANK ARGUMENTS..."""

import sys

from hpc_adabatch.cli import main
from hpc_adabatch.environment import launch

where, *arguments = sys.argv[1:]
found = launch()
if where == "all" or (found is not None and found.rank == int(where)):
    sys.modules["horovod.torch"] = None  # type: ignore[assignment]
main(arguments)
