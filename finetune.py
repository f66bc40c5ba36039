"""Fit a pretrained model to a new animal: ``python finetune.py --help``."""

import dataclasses
import sys

from neuroformer.cli.command import run_command
from neuroformer.cli.finetune import COMMAND

if __name__ == "__main__":
    sys.exit(run_command(dataclasses.replace(COMMAND, name="finetune.py")))
