import dataclasses
import enum
import errno
import io
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroformer.cli.command import Command, run_command
from neuroformer.cli.settings import describe_type, field_docs, list_settings
from neuroformer.errors import UserError


class Split(enum.Enum):
    time = 1
    trial = 2


@dataclass(kw_only=True)
class Optimizer:
    lr: float = 1e-3
    """Peak learning rate."""
    warmup_steps: int = 100
    """Steps until the peak."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of the moments."""


@dataclass(kw_only=True)
class Base:
    seed: int = 0
    """Seed of everything random."""


@dataclass(kw_only=True)
class Config(Base):
    """What a command of this project needs."""

    out: str
    """Folder for the results."""
    files: list[str] = field(default_factory=list)
    """Session files.

    One or many.
    """
    lags_s: list[float] = field(default_factory=lambda: [0.01, 0.1])
    """Lags (s)."""
    subject: str | None = None
    """Subject to leave out."""
    patience: float | None = None
    """Patience (s)."""
    note: str = ""
    """A note to keep."""
    progress: Literal["on", "off"] = "on"
    """Progress bar."""
    split: Split = Split.time
    """How the data are split."""
    early_stop: bool = True
    """Stop when nothing gets better."""
    optimizer: Optimizer = field(default_factory=lambda: Optimizer(warmup_steps=7))
    """How the weights move."""
    trainer: dict[str, Any] = field(default_factory=dict)
    """Passed to the trainer."""

    def __post_init__(self) -> None:
        if self.patience is not None and not self.early_stop:
            raise ValueError("patience: has no effect with early_stop=false; leave one of them out")


class Run:
    """Runs the command and keeps the config it got."""

    def __init__(self, capsys, *, positional: str | None = None, action=lambda config: None) -> None:
        self.config: Any = None
        self.capsys = capsys
        self.action = action
        self.command = Command(
            name="neuroformer try",
            summary="Try the settings.",
            config=Config,
            run=self.keep,
            positional=positional,
            examples=("neuroformer try out=out/a optimizer.lr=1e-4",),
        )

    def keep(self, config: Config) -> int | None:
        self.config = config
        return self.action(config)

    def ok(self, *argv: str) -> Any:
        assert run_command(self.command, argv) == 0, self.capsys.readouterr().err
        return self.config

    def fails(self, *argv: str, code: int = 2) -> str:
        assert run_command(self.command, argv) == code
        output = self.capsys.readouterr()
        assert output.out == ""
        assert "Traceback" not in output.err
        assert output.err.count("\n") == 1, output.err  # one line
        return output.err.rstrip("\n")


@pytest.fixture
def run(capsys) -> Run:
    return Run(capsys)


# Values


def test_defaults(run):
    config = run.ok("out=a")
    assert config == Config(out="a")
    assert isinstance(config.optimizer, Optimizer)
    assert config.optimizer.warmup_steps == 7


def test_values_of_every_type(run):
    config = run.ok(
        "out=a b",
        "seed=3",
        "files=[a.h5, b=c.h5]",
        "lags_s=[1e-3, 2]",
        "subject=007",
        "patience=5",
        "note=lr=1e-3: the best, [so far] #1",
        "progress=off",
        "split=trial",
        "early_stop=true",
        "optimizer.lr=1e-4",
        "optimizer.betas=[0.8, 0.9]",
        "trainer.max_epochs=3",
        "trainer.logger.name=x",
    )
    assert config == Config(
        out="a b",
        seed=3,
        files=["a.h5", "b=c.h5"],
        lags_s=[0.001, 2.0],
        subject="007",
        patience=5.0,
        note="lr=1e-3: the best, [so far] #1",
        progress="off",
        split=Split.trial,
        optimizer=Optimizer(lr=1e-4, warmup_steps=7, betas=(0.8, 0.9)),
        trainer={"max_epochs": 3, "logger": {"name": "x"}},
    )


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1e+3", "2.5e10", ".5", "3", "-1e-3", "inf"])
def test_every_way_to_write_a_float(run, text):
    assert run.ok("out=a", f"optimizer.lr={text}").optimizer.lr == float(text)


def test_null_and_empty_values(run):
    assert run.ok("out=a", "patience=3", "patience=null").patience is None
    assert run.ok("out=a", "subject=null").subject is None
    assert run.ok("out=null").out == "null"
    assert run.ok("out=a", "note=").note == ""
    assert (
        run.fails("out=")
        == "error: out=: no value after the equals sign; write out=VALUE, without spaces around ="
    )
    assert "no value after" in run.fails("out=a", "seed=")


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_text_is_taken_to_the_letter(text):
    if "${" in text or text == "???":
        return  # a reference to another setting, and OmegaConf's mark of a missing one
    seen = []
    command = Command(name="x", summary="", config=Config, run=lambda config: seen.append(config.out))
    assert run_command(command, [f"out={text}"]) == 0
    assert seen == [text]


def test_a_setting_may_refer_to_another(run):
    assert run.ok("out=runs/${seed}", "seed=4").out == "runs/4"
    assert "nothing" in run.fails("out=${nothing}")


def test_words_without_equals_sign_go_to_the_positional_field(capsys):
    run = Run(capsys, positional="files")
    assert run.ok("a.h5", "out=x", "./b=c.h5", "dir/d=e.h5").files == ["a.h5", "./b=c.h5", "dir/d=e.h5"]
    run = Run(capsys, positional="out")
    assert run.ok("runs/1e3").out == "runs/1e3"
    assert "found 2 words (a b), expected one (out)" in run.fails("a", "b")


# Files


def test_files_and_words_in_their_order(run, tmp_path):
    first, second = tmp_path / "1.yaml", tmp_path / "2.yaml"
    first.write_text("out: a\nseed: 1\noptimizer:\n  lr: 1e-4\ntrainer:\n  accelerator: cpu\n")
    second.write_text("seed: 2\noptimizer.warmup_steps: 9\n")
    config = run.ok("seed=3", "--config", str(first), f"--config={second}", "trainer.devices=1")
    assert (config.out, config.seed) == ("a", 3)
    assert (config.optimizer.lr, config.optimizer.warmup_steps) == (1e-4, 9)
    assert config.trainer == {"accelerator": "cpu", "devices": 1}
    assert run.ok("--config", str(first), "--config", str(second)).seed == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("out: a\nsed: 1\n", "unknown key 'sed'; did you mean seed?"),
        ("out: a\noptimizer:\n  lr: fast\n", "optimizer.lr: found 'fast', expected float"),
        ("optimizer: 3\n", "optimizer: found 3, expected keys below it"),
        ("out: [a\nseed: 1\n", "not valid YAML (line 2, column"),
        ("out: a\n  seed: 1\n", "not valid YAML (line 2, column"),
        ("out: a\nout: b\n", "not valid YAML (line 2, column 1: found duplicate key out)"),
        ("- a\n- b\n", "found no settings, expected `key: value` lines"),
        ("42\n", "found no settings"),
        ("just a sentence\n", "unknown key 'just a sentence'"),
        ("", "missing out=VALUE"),
    ],
)
def test_faults_in_a_file_name_it(run, tmp_path, content, message):
    file = tmp_path / "a.yaml"
    file.write_text(content)
    error = run.fails("--config", str(file))
    assert message in error
    assert str(file) in error or not content


def test_not_a_settings_file(run, tmp_path):
    assert "no such file, expected a YAML file" in run.fails("--config", str(tmp_path / "none.yaml"))
    assert "is a folder, expected a YAML file" in run.fails("--config", str(tmp_path))
    foreign = tmp_path / "a.h5"
    foreign.write_bytes(b"\x89HDF\r\n\x1a\n\xff\x00")
    assert "a.h5" in run.fails("--config", str(foreign))
    assert run.fails("--config") == "error: --config: expected the name of a YAML file after it"


# Faults as a newcomer makes them


@pytest.mark.parametrize(
    ("argument", "nearest"),
    [
        ("sed=1", "seed"),
        ("lr=1", "optimizer.lr"),
        ("optimiser.lr=1", "optimizer.lr"),
        ("warmup_step=1", "optimizer.warmup_steps"),
        ("optimizer.wamup_steps=1", "optimizer.warmup_steps"),
        ("early-stop=false", "early_stop"),
        ("seed.x=1", "seed"),
        ("files[0]=a", "files"),
    ],
)
def test_an_unknown_key_names_the_nearest(run, argument, nearest):
    key = argument.partition("=")[0]
    assert run.fails("out=a", argument) == f"error: unknown key {key!r}; did you mean {nearest}?"


def test_an_unknown_key_near_nothing(run):
    assert run.fails("out=a", "zzzz=1") == "error: unknown key 'zzzz'; --help lists the keys"
    assert "given as --config FILE.yaml" in run.fails("out=a", "config=a.yaml")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("seed=abc", "seed: found 'abc', expected int; for example seed=0"),
        ("seed=2.5", "seed: found 2.5, expected int; for example seed=0"),
        ("seed=true", "seed: found true, expected int; for example seed=0"),
        ("seed=null", "seed: found null, expected int; for example seed=0"),
        ("optimizer.lr=fast", "optimizer.lr: found 'fast', expected float; for example optimizer.lr=0.001"),
        ("patience=None", "patience: found 'None', expected float or null"),
        (
            "early_stop=maybe",
            "early_stop: found 'maybe', expected true or false; for example early_stop=true",
        ),
        ("progress=loud", "progress: found 'loud', expected on or off; for example progress=on"),
        ("split=random", "split: found 'random', expected time or trial; for example split=time"),
        ("files=a.h5", "files: found 'a.h5', expected list of text; for example files=[a.h5]"),
        ("lags_s=0.5", "lags_s: found 0.5, expected list of float; for example lags_s=[0.5]"),
        ("lags_s=[1, x]", "lags_s: found [1, x], expected list of float; for example lags_s=[0.01, 0.1]"),
        (
            "optimizer.betas=[1]",
            "optimizer.betas: found [1], expected [float, float]; for example optimizer.betas=[0.9, 0.95]",
        ),
        ("optimizer=3", "optimizer: found 3, expected keys below it; for example optimizer.lr=VALUE"),
        ("trainer=3", "trainer: found 3, expected any keys; for example trainer.KEY=VALUE"),
        ("trainer.=3", "unknown key 'trainer.'; did you mean trainer?"),
    ],
)
def test_a_wrong_value_names_key_value_and_type(run, argument, message):
    assert run.fails("out=a", argument) == f"error: {message}"


def test_a_value_that_is_not_yaml(run):
    assert "lags_s=[1, 2: cannot be read (line " in run.fails("out=a", "lags_s=[1, 2")


def test_a_missing_value_says_what_it_is_for(run):
    assert run.fails() == "error: missing out=VALUE (Folder for the results)"


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (["--seed=3"], "seed=3"),
        (["--seed", "3"], "seed=3"),
        (["--early-stop"], "early_stop=VALUE"),
        (["-s", "--seed"], "s=VALUE"),
        (["--seed", "out=a"], "seed=VALUE"),
    ],
)
def test_dashes_are_not_the_way(run, arguments, cure):
    assert run.fails(*arguments) == (
        f"error: unknown option {arguments[0]!r}; settings are written key=value, without dashes: {cure}"
    )


def test_words_where_none_are_expected(run):
    message = "settings are written key=value, without spaces"
    assert run.fails("seed", "=", "3") == f"error: unexpected 'seed'; {message}: seed=VALUE"
    assert message in run.fails("a.h5")


def test_checks_of_the_settings_among_each_other(run):
    assert run.fails("out=a", "patience=3", "early_stop=false").startswith("error: patience: has no effect")


# What happens in the command


def test_the_exit_code_is_the_commands(capsys):
    assert run_command(Run(capsys, action=lambda config: 3).command, ["out=a"]) == 3


def raising(error: BaseException):
    def action(config):
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("a.h5: broken; write it anew"), "error: a.h5: broken; write it anew"),
        (KeyboardInterrupt(), "interrupted: stopped before the end; every file that was finished is whole"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a/b"),
            "error: a/b: no space left on the disk; free some space or write to another folder",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "error: no space left on the disk; free some space or write to another folder",
        ),
        (
            PermissionError(errno.EACCES, "x", "a/b"),
            "error: a/b: permission denied; check who owns it, or use another path",
        ),
        (IsADirectoryError(errno.EISDIR, "x", "a/b"), "error: a/b: is a folder, expected a file"),
        (
            NotADirectoryError(errno.ENOTDIR, "x", "a/b"),
            "error: a/b: a part of this path is a file, expected a folder",
        ),
        (FileNotFoundError(errno.ENOENT, "x", "a/b"), "error: a/b: no such file or folder; check the path"),
        (OSError(errno.EIO, "Input/output error", "a/b"), "error: a/b: Input/output error"),
        (OSError("odd"), "error: odd"),
        (
            MemoryError("Unable to allocate 3 TiB"),
            "error: not enough memory (Unable to allocate 3 TiB); read less at once or use a machine with more, and "
            "where the size is absurd, check the input for a damaged number",
        ),
    ],
)
def test_faults_of_the_surroundings_are_one_line(capsys, error, message):
    assert Run(capsys, action=raising(error)).fails("out=a", code=1) == message


def test_a_bug_is_not_dressed_up(capsys):
    with pytest.raises(ZeroDivisionError):
        run_command(Run(capsys, action=raising(ZeroDivisionError())).command, ["out=a"])


def test_debug_shows_the_traceback(capsys):
    run = Run(capsys, action=raising(UserError("x")))
    with pytest.raises(UserError, match="x"):
        run_command(run.command, ["out=a", "--debug"])


def test_a_reader_that_leaves_early():
    program = (
        "import sys\n"
        "from neuroformer.cli.main import main\n"
        "sys.stdin.readline()\n"  # until then the reader has gone
        "sys.exit(main(['--help']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        process.stdout.close()
        process.stdin.write(b"go\n")
        process.stdin.flush()
        assert process.stderr.read() == b""
    assert process.returncode == 1


# Help and docstrings


def test_help_shows_every_setting(run, capsys):
    assert run_command(run.command, ["--help"]) == 0
    text = capsys.readouterr().out
    for setting in list_settings(Config):
        assert setting.key in text
        assert setting.doc.split()[0] in text
    for part in (
        "usage: neuroformer try [--config FILE.yaml]... [key=value]...",
        "neuroformer try out=out/a optimizer.lr=1e-4",
        "  out  text, required\n      Folder for the results.",
        "  files  list of text = []\n      Session files. One or many.",
        "  patience  float or null = null",
        "  progress  on or off = on",
        "  split  time or trial = time",
        "  optimizer.warmup_steps  int = 7",
        "  trainer  any keys, written trainer.KEY=VALUE",
    ):
        assert part in text


@pytest.mark.parametrize("columns", ["40", "80", "100", "200"])
def test_help_fits_the_terminal(run, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    run_command(run.command, ["-h"])
    lines = capsys.readouterr().out.splitlines()
    wrapped = [line for line in lines if line.startswith("      ")]
    assert wrapped
    assert max(map(len, wrapped)) <= min(100, int(columns))


def test_help_is_bold_in_a_terminal_only(run, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for no_color in (False, True):
        terminal = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", terminal)
            patch.delenv("NO_COLOR", raising=False)
            if no_color:
                patch.setenv("NO_COLOR", "1")
            run_command(run.command, ["--help"])
        assert ("\x1b[1m" in terminal.getvalue()) is not no_color


def test_the_usage_names_the_positional_field(capsys):
    run_command(Run(capsys, positional="files").command, ["--help"])
    assert "usage: neuroformer try FILE... [--config" in capsys.readouterr().out
    run_command(Run(capsys, positional="out").command, ["--help"])
    assert "usage: neuroformer try OUT [--config" in capsys.readouterr().out


def test_field_docs_are_read_from_the_source():
    assert field_docs(Config)["files"] == "Session files. One or many."
    assert field_docs(Config)["seed"] == "Seed of everything random."  # inherited
    assert set(field_docs(Config)) == {field.name for field in dataclasses.fields(Config)}


def test_a_field_without_docstring_is_a_bug():
    @dataclass
    class Silent:
        known: int = 0
        """Known."""
        silent: int = 0

    with pytest.raises(AssertionError, match=r"Silent\.silent has no docstring below it"):
        run_command(Command(name="x", summary="", config=Silent, run=lambda config: None), [])


def test_types_in_words():
    assert describe_type(dict[str, float]) == "any keys, each float"
    assert describe_type(Any) == "anything"
    assert describe_type(Optimizer | None) == "section or null"
    assert describe_type(Literal["a", 1, None]) == "a or 1 or null"


def test_an_optional_section(capsys):
    @dataclass
    class Optional:
        optimizer: Optimizer | None = None
        """How the weights move, if they do."""

    seen = []
    command = Command(name="x", summary="", config=Optional, run=lambda config: seen.append(config.optimizer))
    for argv in ([], ["optimizer.lr=1"], ["optimizer={lr: 2}"], ["optimizer.lr=1", "optimizer=null"]):
        assert run_command(command, argv) == 0, capsys.readouterr().err
    assert seen == [None, Optimizer(lr=1.0), Optimizer(lr=2.0), None]


def test_the_process_arguments_are_the_default(run, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["neuroformer", "out=from-argv"])
    assert run_command(run.command) == 0
    assert run.config.out == "from-argv"


def test_no_environment_variable_is_needed(run, monkeypatch):
    for name in ("HOME", "COLUMNS", "TERM", "LANG"):
        monkeypatch.delenv(name, raising=False)
    assert run.ok("out=a").out == "a"
    assert os.environ.get("HOME") is None
