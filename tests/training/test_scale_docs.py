"""What docs/scale.md tells a reader to type."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from neuroformer.cli.command import parse_arguments
from neuroformer.cli.pretrain import COMMAND

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/scale.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|bash)\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [
    words[words.index("pretrain") + 1 :]
    for _, block in BLOCKS
    for line in block.replace("\\\n", " ").splitlines()
    if "pretrain" in (words := shlex.split(line, comments=True))
]


def test_every_block_is_a_script_that_a_shell_can_read() -> None:
    assert len(BLOCKS) == len(COMMANDS) == 3
    for _, block in BLOCKS:
        done = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", COMMANDS, ids=shlex.join)
def test_a_command_can_be_typed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert isinstance(parse_arguments(COMMAND, words), COMMAND.config)
