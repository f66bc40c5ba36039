"""Ids of a session from its file's name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from neuroformer.errors import UserError
from neuroformer.importers.mapping import Naming
from neuroformer.session.names import shortly

FORBIDDEN = re.compile(r"[/\\\x00-\x1f\x7f]+")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who was recorded, in the words of `SessionData`."""

    session_id: str
    subject_id: str
    species: str
    description: str


def identify(path: Path, naming: Naming, known: Mapping[str, str] | None = None) -> Identity:
    r"""Who was recorded.

    Args:
        path: The recording's file.
        naming: Templates; one that is empty takes the file's own word, then a default.
        known: What the file itself says, by the same names.

    Example:
        >>> naming = Naming(file_name=r"(?P<mouse>M\d)_d(?P<day>\d)", session_id="{mouse}-{day}")
        >>> identify(Path("M7_d3.npz"), naming).session_id
        'M7-3'

    Raises:
        UserError: The file's name does not match, or a template uses a name that is not there.
    """
    words = {"file": path.stem, "folder": path.resolve().parent.name}
    if naming.file_name:
        words |= _groups(path.stem, naming.file_name)

    def text(name: str) -> str:
        template = getattr(naming, name)
        return _fill(name, template, words) if template else (known or {}).get(name, "").strip()

    session_id = tidy_name(text("session_id") or path.stem)
    return Identity(
        session_id=session_id,
        subject_id=tidy_name(text("subject_id") or session_id),
        species=text("species"),
        description=text("description"),
    )


def _groups(stem: str, pattern: str) -> dict[str, str]:
    try:
        match = re.search(pattern, stem)
    except re.error as error:
        raise UserError(
            f"session.file_name: {shortly(pattern)} is no regular expression ({error})"
        ) from error
    if match is None:
        raise UserError(
            f"session.file_name: the name {stem!r} does not match {shortly(pattern)}; rename the file or correct it"
        )
    return {name: text or "" for name, text in match.groupdict().items()}


def _fill(name: str, template: str, words: Mapping[str, str]) -> str:
    try:
        return template.format_map(words)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        known = ", ".join("{" + word + "}" for word in words)
        raise UserError(
            f"session.{name}: cannot fill {template!r} ({error}); expected names among {known}"
        ) from error


def tidy_name(text: str) -> str:
    """`text` as a name in a file: what stands for folders or cannot be printed becomes an underscore."""
    return FORBIDDEN.sub("_", text).strip(" .") or "unnamed"
