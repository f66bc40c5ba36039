"""The text of `--help`."""

import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

from neuroformer.cli.settings import Setting, describe_type, list_settings, show

if TYPE_CHECKING:
    from neuroformer.cli.command import Command

OPTIONS = {
    "--config FILE.yaml": "Read settings from a file; may be repeated, later files and key=value win.",
    "--help": "Show this page.",
    "--debug": "Show the traceback of an error.",
}


def render_help(command: "Command") -> str:
    """Write a command's help page: usage, examples, every setting with its type, default and docstring."""
    settings = list_settings(command.config)
    usage = [command.name, "[--config FILE.yaml]...", "[key=value]..."]
    if command.positional is not None:
        takes_many = next(s for s in settings if s.key == command.positional).type is not str
        name = command.positional.upper()
        usage.insert(1, f"{name.removesuffix('S')}..." if takes_many else name)
    lines = [bold("usage: ") + " ".join(usage), "", wrap(command.summary)]
    if command.examples:
        lines += ["", bold("examples"), *(f"  {example}" for example in command.examples)]
    lines += ["", bold("settings") + "  (key  type = default)"]
    lines += [line for setting in settings if "." not in setting.key for line in _entry(setting)]
    for section in (setting for setting in settings if setting.section is not None):
        lines += ["", bold(section.key), wrap(section.doc, indent=2)]
        below = (setting for setting in settings if setting.key.rpartition(".")[0] == section.key)
        lines += [line for setting in below for line in _entry(setting)]
    lines += ["", bold("options"), *table(OPTIONS)]
    return "\n".join(lines)


def _entry(setting: Setting) -> list[str]:
    """A setting's lines; a section has its own place further down."""
    if setting.section is not None:
        return []
    kind = describe_type(setting.type)
    if setting.is_mapping:
        kind += f", written {setting.key}.KEY=VALUE"
    if setting.required:
        kind += ", required"
    elif setting.default != {}:
        kind += f" = {show(setting.default)}"
    return [f"  {bold(setting.key)}  {kind}", wrap(setting.doc, indent=6)]


def table(rows: dict[str, str]) -> list[str]:
    """Set names and what they mean in two columns."""
    width = max(map(len, rows))
    return [f"  {name:<{width}}  {meaning}" for name, meaning in rows.items()]


def wrap(text: str, indent: int = 0) -> str:
    """Wrap a paragraph to the terminal's width, at most 100 columns."""
    width = min(100, max(40, shutil.get_terminal_size((88, 24)).columns))
    return textwrap.fill(text, width, initial_indent=" " * indent, subsequent_indent=" " * indent)


def bold(text: str) -> str:
    """Print bold where a terminal shows it."""
    return f"\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text
