"""`python -m neuroformer` is the command `neuroformer`."""

import sys

from neuroformer.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
