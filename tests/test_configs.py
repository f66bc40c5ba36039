"""Every shipped configuration is read by the command that it is for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from neuroformer.cli import backbones, demo, forecast, pretrain
from neuroformer.cli.command import Command, parse_arguments
from neuroformer.cli.config import read_yaml
from neuroformer.importers import load_mapping
from simulate.__main__ import COMMAND as SIMULATE

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "configs").rglob("*.yaml"))


def read_by(command: Command) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        return parse_arguments(command, ["--config", str(path), "out=somewhere"])

    return read


def reader(path: Path) -> Callable[[Path], object]:
    """Who reads a file: by its folder; at the top by its name, and there the rest are for pretraining."""
    folder, name = path.parent.relative_to(ROOT / "configs").as_posix(), path.stem
    folders = {
        "convert": load_mapping,
        "simulate": read_by(SIMULATE),
        "demo": read_by(pretrain.COMMAND),
        "nlp4neuro": read_by(backbones.COMMAND),
    }
    if folder in folders:
        return folders[folder]
    assert folder == ".", f"configs/{folder}: no command is known to read these files"
    if name.endswith("_forecast"):
        return read_by(forecast.COMMAND)
    return read_by(demo.COMMAND if name.startswith("demo") else pretrain.COMMAND)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT / "configs").as_posix())
def test_a_configuration_is_read_by_its_command(path: Path) -> None:
    assert reader(path)(path) is not None


def test_nothing_else_lies_among_the_configurations() -> None:
    others = [path for path in (ROOT / "configs").rglob("*") if path.is_file() and path not in FILES]
    assert FILES
    assert others == []


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.stem.startswith("demo")], ids=lambda p: p.stem
)
def test_the_demo_names_configurations_that_exist(path: Path) -> None:
    for key in ("clean", "confounded", "pretrain", "animals", "behavior"):
        assert (ROOT / read_yaml(path)[key]) in FILES
