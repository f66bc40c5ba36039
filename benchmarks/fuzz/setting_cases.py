"""Settings of every command from files and words that are wrong, up to the moment before the command begins."""

import contextlib
import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.fuzz.outcomes import Outcome, refused, unclear
from benchmarks.fuzz.settings_oracle import wrong
from benchmarks.fuzz.yaml_mutations import VALUES, mutate
from neuroformer.cli.command import Command, guard, parse_arguments
from neuroformer.cli.main import SUBCOMMANDS
from neuroformer.cli.settings import list_settings

CONFIGS = Path(__file__).parents[2] / "configs"
# Whose settings the files in a folder are; at the top by their names, and there the rest are for pretraining.
FOLDERS = {"simulate": "simulate", "demo": "pretrain", "nlp4neuro": "backbones"}
EXECUTED = "executed"  # what the traps among the values make when they run


class SettingCases:
    """Shipped configurations and every command's settings."""

    name = "settings"

    def __init__(self, folder: Path) -> None:
        """Read what is shipped."""
        self.commands: dict[str, Command] = {
            name: importlib.import_module(f"neuroformer.cli.{name}").COMMAND for name in SUBCOMMANDS
        }
        self.commands["simulate"] = importlib.import_module("simulate.__main__").COMMAND
        self.keys = {name: list_settings(command.config) for name, command in self.commands.items()}
        self.files = [
            (_command_of(path), path.read_text(encoding="utf-8"))
            for path in sorted(CONFIGS.rglob("*.yaml"))
            if path.parent.name != "convert"
        ]

    def __call__(self, rng: np.random.Generator, folder: Path) -> Outcome:
        """One case."""
        arguments: list[str] = []
        done: list[str] = []
        if rng.random() < 0.6:
            name, text = self.files[int(rng.integers(len(self.files)))]
            data, what = mutate(text, rng)
            (folder / "config.yaml").write_bytes(data)
            arguments, done = ["--config", str(folder / "config.yaml")], [what]
        else:
            name = sorted(self.commands)[int(rng.integers(len(self.commands)))]
        words = [self._word(name, rng) for _ in range(int(rng.integers(0 if done else 1, 4)))]
        if rng.random() < 0.7:
            words += [f"{s.key}=x" for s in self.keys[name] if s.required and "." not in s.key]
        found = judge(self.commands[name], [*words, *arguments], folder)
        return Outcome(found.status, found.what, f"{name} {'; '.join(done)} {' '.join(map(repr, words))}")

    def _word(self, name: str, rng: np.random.Generator) -> str:
        key = self.keys[name][int(rng.integers(len(self.keys[name])))].key
        if rng.random() < 0.1:
            key = (key[:-1], f"{key}.x", f".{key}", key.upper(), f"{key}[0]", f"--{key}")[
                int(rng.integers(6))
            ]
        value: Any = VALUES[int(rng.integers(len(VALUES)))]
        text = value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True)
        return f"{key}={text.removesuffix(chr(10)).removesuffix('...').strip()}"


def _command_of(path: Path) -> str:
    folder = path.parent.relative_to(CONFIGS).as_posix()
    if folder in FOLDERS:
        return FOLDERS[folder]
    return (
        "forecast"
        if path.stem.endswith("_forecast")
        else "demo"
        if path.stem.startswith("demo")
        else "pretrain"
    )


def judge(command: Command, arguments: list[str], folder: Path) -> Outcome:
    """Whether the arguments are refused in one line, or give settings of the declared types."""
    filled: list[Any] = []

    def action() -> int:
        filled.append(parse_arguments(command, arguments))
        return 0

    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.chdir(folder):
        code = guard(action)
    message = errors.getvalue()
    if (folder / EXECUTED).exists():
        return unclear("code in the file was executed")
    if code:
        if message.count("\n") != 1:
            return unclear(f"{message.count(chr(10))} lines: {message[:300]}")
        keys = [setting.key for setting in list_settings(command.config)]
        words = [word.partition("=")[0].lstrip("-") for word in arguments]
        return refused(message.strip(), [*keys, *filter(None, words), "config.yaml"])
    if found := wrong(filled[0]):
        return unclear(f"accepted, but {found[:3]}")
    return Outcome("valid")
