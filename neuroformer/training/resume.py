"""Beginning a run, or going on with one: what must be so, and what is cleared away."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from neuroformer.data import Vocabulary
from neuroformer.errors import UserError
from neuroformer.files import RunFolder, remove_leftovers
from neuroformer.settings.training import PretrainConfig
from neuroformer.training.checkpoint import read_checkpoint


def find_resume(config: PretrainConfig) -> Path | None:
    """The checkpoint to go on from; None to begin.

    Raises:
        UserError: an unfinished run is in the way.
    """
    last = Path(config.out) / "checkpoints" / "last.ckpt"
    if config.resume == "auto":
        return last if last.is_file() else None
    if config.resume is not None:
        return Path(config.resume)
    if last.is_file() and not config.overwrite and not (Path(config.out) / "metrics.json").exists():
        step = read_checkpoint(last).get("global_step", "?")
        raise UserError(
            f"{config.out}: holds a run that was interrupted after step {step}; add resume=auto to go on with it, or "
            "overwrite=true to begin again"
        )
    return None


def is_finished(config: PretrainConfig) -> bool:
    """Whether there is nothing to go on with: resume=auto of a run that has its metrics.json."""
    return config.resume == "auto" and (Path(config.out) / "metrics.json").is_file()


def check_resume(config: PretrainConfig, checkpoint: Path, vocabulary: Vocabulary, *, steps: int) -> None:
    """Refuse to go on from a checkpoint of another model or of other sessions.

    Args:
        config: settings of the run.
        checkpoint: to go on from.
        vocabulary: the run's sessions.
        steps: of the whole run.

    Raises:
        UserError: what differs; or the checkpoint cannot be read, or holds too little to go on from.
    """
    content = read_checkpoint(checkpoint)
    about = content["neuroformer"]
    cure = "resume= continues the same run; give it the run's own config.yaml, or use finetune.py"
    version = about.get("version", "(unknown)")
    if "guard" not in about or "callbacks" not in content or "loops" not in content:
        raise UserError(
            f"{checkpoint}: written by neuroformer {version} and holds too little to go on from (no state of the "
            "training); it can be evaluated and fine-tuned (finetune.py run=...), or be continued by that version"
        )
    if about["settings"]["model"] != dataclasses.asdict(config.model):
        raise UserError(
            f"{checkpoint}: its model has other settings than model.* now (written by neuroformer {version}); {cure}"
        )
    found, expected = (
        [(s["session_id"], s["n_units"]) for s in state["sessions"]]
        for state in (about["vocabulary"], vocabulary.state())
    )
    if found != expected or about["vocabulary"]["bin_s"] != vocabulary.bin_s:
        raise UserError(f"{checkpoint}: was trained on other sessions or another data.bin_s; {cure}")
    if about["vocabulary"].get("variables", []) != vocabulary.state()["variables"]:
        raise UserError(f"{checkpoint}: was trained with other data.variables or data.labels; {cure}")
    if content["global_step"] > steps:
        raise UserError(
            f"{checkpoint}: is {content['global_step']} steps into its run, more than optim.steps={steps}; {cure}"
        )


def open_folder(
    run: Path, *, overwrite: bool, command: str, config: Any, begins: bool, first: bool
) -> RunFolder:
    """The run's folder, made ready to train in.

    Args:
        run: where.
        overwrite: begin again where a finished run is.
        command: for metrics.json.
        config: settings of the run.
        begins: the run does not go on from a checkpoint.
        first: this is the only process of the run, or the first; the others write nothing.

    Raises:
        UserError: there is a finished run.
    """
    if not first:
        RunFolder.check(run, overwrite=overwrite)
        return RunFolder(path=run, command=command)
    if overwrite and begins:
        # Before the mark of a finished run goes: else, killed in between, the old run would pass for an unfinished new.
        clear(run, begins=True)
    folder = RunFolder.create(run, overwrite=overwrite, command=command, config=config)
    clear(folder.path, begins=begins)
    if overwrite:
        drop_results(folder.path)
    return folder


def clear(run: Path, *, begins: bool) -> None:
    """Remove what would pass for this run's: halves of files whose writer was killed, and results of a run before.

    Args:
        run: folder of the run.
        begins: the run does not go on from a checkpoint.
    """
    for folder in (run, run / "checkpoints"):
        remove_leftovers(folder)
    if begins:  # or resume=auto would go on from the run before, if this one ends before its first checkpoint
        for name in ("last", "best"):
            (run / "checkpoints" / f"{name}.ckpt").unlink(missing_ok=True)


def drop_results(run: Path) -> None:
    """Remove what other commands computed from the model that is replaced; it would pass for the new one's."""
    for stage in ("evaluate", "connectivity", "baselines", "decode", "latents", "fewshot", "identity*"):
        for folder in run.glob(stage):
            shutil.rmtree(folder, ignore_errors=True)
