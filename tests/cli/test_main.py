import importlib
import importlib.util
import subprocess
import sys

import pytest

from neuroformer import __version__
from neuroformer.cli.command import run_command
from neuroformer.cli.main import SUBCOMMANDS, main
from neuroformer.cli.settings import list_settings

HERE_NOW = [name for name in SUBCOMMANDS if importlib.util.find_spec(f"neuroformer.cli.{name}") is not None]


@pytest.mark.parametrize("argument", ["--help", "-h", "help"])
def test_the_overview_lists_every_subcommand(capsys, argument):
    assert main([argument]) == 0
    text = capsys.readouterr().out
    for name, summary in SUBCOMMANDS.items():
        assert name in text
        assert summary in text
    assert max(map(len, text.splitlines())) <= 100


def test_no_subcommand_is_wrong_usage(capsys):
    assert main([]) == 2
    assert "usage: neuroformer SUBCOMMAND" in capsys.readouterr().err


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"neuroformer {__version__}\n"


def test_an_unknown_subcommand_names_the_nearest(capsys):
    assert main(["evalute", "run=x"]) == 2
    assert capsys.readouterr().err == "error: unknown subcommand 'evalute'; did you mean evaluate?\n"
    assert main(["zzz"]) == 2
    assert "expected one of convert, validate," in capsys.readouterr().err


def test_the_overview_does_not_wait_for_torch():
    program = (
        "import sys\n"
        "from neuroformer.cli.main import main\n"
        "main(['--help'])\n"
        "assert not {'torch', 'lightning', 'matplotlib'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_the_package_can_be_run_as_a_module():
    done = subprocess.run([sys.executable, "-m", "neuroformer", "nonsense"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown subcommand 'nonsense'")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", HERE_NOW)
def test_every_subcommand_is_as_announced(capsys, name):
    command = importlib.import_module(f"neuroformer.cli.{name}").COMMAND
    assert command.name == f"neuroformer {name}"
    assert command.summary == SUBCOMMANDS[name]
    keys = {setting.key for setting in list_settings(command.config)}  # also: every field has its docstring
    assert command.positional is None or command.positional in keys
    assert run_command(command, ["--help"]) == 0
    assert all(example in capsys.readouterr().out for example in command.examples[:1])


@pytest.mark.parametrize("name", HERE_NOW)
def test_every_subcommand_refuses_an_unknown_key(capsys, name):
    assert main([name, "no_such_key_at_all=1"]) == 2
    assert "error: unknown key 'no_such_key_at_all'" in capsys.readouterr().err
