"""What README.md tells a reader to type, and where it points."""

import importlib
import re
import shlex
from glob import glob
from pathlib import Path

import pytest

from neuroformer.cli import finetune, pretrain
from neuroformer.cli.command import Command, parse_arguments
from neuroformer.cli.main import SUBCOMMANDS, main
from simulate.__main__ import COMMAND as SIMULATE

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def lines_to_type() -> list[list[str]]:
    """The words of every command in a `sh` block, without its comment."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    text = "\n".join(blocks).replace("\\\n", " ")
    return [words for line in text.splitlines() if (words := shlex.split(line, comments=True))]


LINES = lines_to_type()


def command_of(words: list[str]) -> tuple[Command, list[str]]:
    """The command that a line calls, and its arguments."""
    match words:
        case ["neuroformer", name, *arguments] if name in SUBCOMMANDS:
            return importlib.import_module(f"neuroformer.cli.{name}").COMMAND, arguments
        case ["python", "pretrain.py", *arguments]:
            return pretrain.COMMAND, arguments
        case ["python", "finetune.py", *arguments]:
            return finetune.COMMAND, arguments
        case ["python", "-m", "simulate", *arguments]:
            return SIMULATE, arguments
    raise AssertionError(f"README.md: {shlex.join(words)} is no command of this project")


@pytest.mark.parametrize("words", LINES, ids=shlex.join)
def test_a_command_can_be_typed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    if words[0] == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert words[1] in targets
        return
    command, arguments = command_of(words)
    # The settings of a run that is still to be made are not there to be read; those that ship must be.
    files = [(i, Path(arguments[i + 1])) for i, word in enumerate(arguments) if word == "--config"]
    made_later = [i for i, path in files if path.parts[0] == "out"]
    for i in reversed(made_later):
        del arguments[i : i + 2]
    if made_later:
        arguments.append("out=somewhere")
    assert isinstance(parse_arguments(command, arguments), command.config)


def test_the_readme_shows_every_step() -> None:
    typed = {words[1] if words[0] in ("neuroformer", "python") else words[0] for words in LINES}
    steps = {
        "convert",
        "validate",
        "info",
        "pretrain.py",
        "evaluate",
        "connectivity",
        "report",
        "finetune.py",
    }
    assert steps <= typed


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)[^)]*\)", README))))
def test_a_link_leads_somewhere(target: str) -> None:
    if not target.startswith("https://"):
        assert (ROOT / target).exists(), f"README.md links to {target}"


def test_extras_that_are_named_exist() -> None:
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    section = setup.partition("[options.extras_require]")[2].partition("\n[")[0]
    extras = set(re.findall(r"^(\w+) *=", section, flags=re.MULTILINE))
    sentence = README.partition("(extras: ")[2].partition(").")[0]
    named = set(re.findall(r"`(\w+)`", sentence))
    assert named
    assert named <= extras


def test_recordings_are_converted_as_shown(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pynwb")
    (tmp_path / "data").symlink_to(real_data)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    wanted = [
        words[1:]
        for words in LINES
        if words[0] == "neuroformer" and words[1] in ("convert", "validate", "info")
    ]
    assert wanted
    for words in wanted:
        # The shell puts the names of the files in place of a wildcard.
        spelled = [name for word in words for name in (sorted(glob(word)) if "*" in word else [word])]  # noqa: PTH207
        assert main(spelled) == 0, capsys.readouterr().err
    assert len(list(Path("sessions").rglob("*.h5"))) == len(
        [path for path in real_data.rglob("*") if path.suffix in (".npz", ".nwb")]
    )
    assert main(["validate", *map(str, Path("sessions").rglob("*.h5"))]) == 0
