"""The console command `neuroformer SUBCOMMAND ...`."""

import difflib
import importlib
import sys
from collections.abc import Sequence

from neuroformer import __version__
from neuroformer.cli.command import guard, run_command
from neuroformer.cli.help import bold, table
from neuroformer.errors import UsageError

# The summaries stand here too, so that the overview needs no import of torch; a test holds them equal.
SUBCOMMANDS = {
    "convert": "Convert recordings (NWB, arrays, calcium traces) to session files.",
    "validate": "Check session files and name every fault with its cure.",
    "info": "Show what a session file holds.",
    "pretrain": "Train a model on the events of one or many sessions.",
    "finetune": "Fit a pretrained model to a new animal.",
    "fewshot": "Decode a new animal from few labels, beside what a lab does with the same labels.",
    "evaluate": "Score a trained model on held-out time beside its baselines.",
    "decode": "Decode behaviour, beside baselines with the same labels, and score it.",
    "backbones": "Decode behaviour through language models as backbones, with their controls.",
    "salience": "Tell which units fitted backbones decode from, and test it by deleting them.",
    "latents": "Export and plot what a model makes of each bin.",
    "generate": "Generate activity from a trained model, as session files.",
    "calibrate": "Compare generated with recorded activity, each statistic beside its floor.",
    "ablation": "Train a model without each of its parts, and say what each is worth.",
    "forecast": "Forecast traces or counts of every unit, and score it by horizon beside baselines.",
    "levels": "Compare codes of calcium amplitudes by held-out likelihood.",
    "connectivity": "Estimate who drives whom, and score it where the wiring is known.",
    "identity": "Export unit embeddings; tell cell type, region or name across animals.",
    "report": "Write one self-contained report.html from a run folder.",
    "demo": "Simulate circuits and animals, train, evaluate and report, in a few minutes.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `neuroformer` with its arguments and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return guard(lambda: _dispatch(arguments), debug="--debug" in arguments)


def _dispatch(arguments: list[str]) -> int:
    match arguments:
        case ["--help" | "-h" | "help", *_]:
            print(overview())
            return 0
        case ["--version", *_]:
            print(f"neuroformer {__version__}")
            return 0
        case [name, *rest] if name in SUBCOMMANDS:
            module = importlib.import_module(f"neuroformer.cli.{name}")
            return run_command(module.COMMAND, rest)
        case [name, *_]:
            nearest = difflib.get_close_matches(name, SUBCOMMANDS, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"expected one of {', '.join(SUBCOMMANDS)}"
            raise UsageError(f"unknown subcommand {name!r}; {hint}")
    print(overview(), file=sys.stderr)
    return 2


def overview() -> str:
    """Write the help page of `neuroformer` itself."""
    return "\n".join(
        [
            bold("usage: ") + "neuroformer SUBCOMMAND [--config FILE.yaml]... [key=value]...",
            "",
            "Generative modelling of multi-animal neural recordings.",
            "",
            bold("subcommands"),
            *table(SUBCOMMANDS),
            "",
            "neuroformer SUBCOMMAND --help lists its settings; neuroformer --version tells the version.",
            "Circuits with known wiring are simulated by python -m simulate.",
        ]
    )
