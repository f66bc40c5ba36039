"""A command and how it is run: arguments in, exit code out, faults in one line."""

import errno
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from neuroformer.cli.config import build_config
from neuroformer.cli.help import render_help
from neuroformer.cli.settings import list_settings, shorten
from neuroformer.errors import UsageError, UserError

# What counts as key=value. A file whose name has an equals sign is written ./a=b.h5.
SETTING = re.compile(r"[A-Za-z_][\w.\[\]-]*=")


@dataclass(frozen=True, kw_only=True)
class Command:
    """What a command is called, what it needs, and what it does."""

    name: str
    """As typed: "neuroformer evaluate", "python -m simulate", "pretrain.py"."""
    summary: str
    """What it does, in one line."""
    config: type
    """Dataclass of its settings; every field has a docstring below it. Nested dataclasses are sections."""
    run: Callable[[Any], int | None]
    """Gets the filled config; returns an exit code, or None for 0."""
    positional: str | None = None
    """The field (`str` or `list[str]`) that takes words without an equals sign, as in `validate FILE...`."""
    examples: tuple[str, ...] = ()
    """Whole command lines, shown by `--help`."""


def run_command(command: Command, argv: Sequence[str] | None = None) -> int:
    """Read the arguments, run the command, and print what went wrong, if anything, in one line.

    Args:
        command: The command.
        argv: The arguments after its name; those of the process by default.

    Returns:
        The exit code: 0 or what the command says, 1 for a fault in the input or an interruption, 2 for wrong
        usage. Other exceptions are bugs and pass through, as everything does under `--debug`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)

    def action() -> int:
        if not {"--help", "-h"}.isdisjoint(arguments):
            print(render_help(command))
            return 0
        return command.run(parse_arguments(command, arguments)) or 0

    return guard(action, debug="--debug" in arguments)


def guard(action: Callable[[], int], *, debug: bool = False) -> int:
    """Run `action`; print a user's fault in one line to standard error and return the exit code for it."""
    try:
        code = action()
        sys.stdout.flush()
    except (UserError, OSError, KeyboardInterrupt, MemoryError) as error:
        if debug:
            raise
        if isinstance(error, BrokenPipeError):
            # The reader (`| head`) has gone. Python's own flush at exit must not trip over it again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        print(_explain(error), file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return code


def _explain(error: BaseException) -> str:
    match error:
        case KeyboardInterrupt():
            return "interrupted: stopped before the end; every file that was finished is whole"
        case UserError():
            return f"error: {error}"
        case MemoryError():
            return (
                f"error: not enough memory ({error or 'no size given'}); read less at once or use a machine with more, "
                "and where the size is absurd, check the input for a damaged number"
            )
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            problem = "no space left on the disk; free some space or write to another folder"
        case PermissionError():
            problem = "permission denied; check who owns it, or use another path"
        case IsADirectoryError():
            problem = "is a folder, expected a file"
        case NotADirectoryError():
            problem = "a part of this path is a file, expected a folder"
        case FileNotFoundError():
            problem = "no such file or folder; check the path"
        case OSError(strerror=str(text)):
            problem = text
        case _:
            problem = str(error)
    file = getattr(error, "filename", None)
    return f"error: {file}: {problem}" if file is not None else f"error: {problem}"


def parse_arguments(command: Command, argv: Sequence[str]) -> Any:
    """Turn a command's arguments into its filled config.

    Raises:
        UsageError: An argument that is none of `--config FILE`, `key=value` and, where the command takes
            them, words without an equals sign; and all that `build_config` refuses.
    """
    files: list[str] = []
    words: list[str] = []
    bare: list[str] = []
    rest = iter(argv)
    for argument in rest:
        if argument == "--debug":
            continue
        if argument == "--config" or argument.startswith("--config="):
            file = argument.partition("=")[2] or next(rest, None)
            if file is None:
                raise UsageError("--config: expected the name of a YAML file after it")
            files.append(file)
        elif argument.startswith("-"):
            raise UsageError(_without_dashes(argument, next(rest, None)))
        elif SETTING.match(argument):
            words.append(argument)
        elif command.positional is not None:
            bare.append(argument)
        else:
            raise UsageError(_not_a_setting(command, argument))
    return build_config(command.config, files, words, _positional(command, bare))


def _positional(command: Command, bare: list[str]) -> dict[str, Any]:
    if not bare:
        return {}
    assert command.positional is not None
    hint = next(
        setting.type for setting in list_settings(command.config) if setting.key == command.positional
    )
    if hint is not str:
        return {command.positional: bare}
    if len(bare) > 1:
        raise UsageError(f"found {len(bare)} words ({' '.join(bare)}), expected one ({command.positional})")
    return {command.positional: bare[0]}


def _without_dashes(argument: str, following: str | None) -> str:
    key, equals, value = argument.lstrip("-").partition("=")
    if not equals and following is not None and not following.startswith("-") and "=" not in following:
        value = following
    setting = f"{key.replace('-', '_')}={value or 'VALUE'}"
    return f"unknown option {shorten(argument)!r}; settings are written key=value, without dashes: {shorten(setting)}"


def _not_a_setting(command: Command, argument: str) -> str:
    keys = [setting.key for setting in list_settings(command.config)]
    example = argument if argument in keys else next(iter(keys), "key")
    return (
        f"unexpected {shorten(argument)!r}; settings are written key=value, without spaces: {example}=VALUE"
    )
