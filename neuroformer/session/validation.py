"""Check a session file."""

from pathlib import Path

from neuroformer.errors import UserError
from neuroformer.session.layout import READ_ERRORS, Layout, unreadable
from neuroformer.session.rules import check
from neuroformer.session.rules.derived import check_derived
from neuroformer.session.types import Fault
from neuroformer.session.versions import foreign, open_file


def validate_file(path: str | Path) -> list[Fault]:
    """All faults of a session file; none when it is sound.

    The file is read block by block, so memory does not grow with the recording.

    Args:
        path: the file. That it is missing, a folder or no session file at all is a fault like any other.

    Returns:
        The faults, each with its path inside the file and a cure.
    """
    try:
        file = open_file(Path(path))
    except UserError as error:
        message, _, cure = str(error).removeprefix(f"{path}: ").rpartition("; ")
        return [Fault("/", message, cure)]
    with file:
        if fault := foreign(file):
            return [fault]
        try:
            layout = Layout.from_file(file)
            return check(layout) or check_derived(layout)
        except READ_ERRORS as error:  # damage that only shows on the way through
            return [unreadable("/", error)]
