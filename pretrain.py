"""Pretrain one generative model on the events of one or many sessions: ``python pretrain.py --help``."""

import dataclasses
import sys

from neuroformer.cli.command import run_command
from neuroformer.cli.pretrain import COMMAND

if __name__ == "__main__":
    sys.exit(run_command(dataclasses.replace(COMMAND, name="pretrain.py")))
