"""``python -m hpc_adabatch`` is ``adabatch``."""

from .cli import main

if __name__ == "__main__":
    main()
