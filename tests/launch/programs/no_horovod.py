"""adabatch where Horovod does not load. no_horovod.py ARGUMENTS..."""

import sys

from hpc_adabatch.cli import main

sys.modules["horovod.torch"] = None  # type: ignore[assignment]
main(sys.argv[1:])
