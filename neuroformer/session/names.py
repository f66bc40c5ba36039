"""Which names a session, a series or a column may have."""

LONGEST = 80  # characters of a value in a message


def shortly(value: object) -> str:
    """A value as Python writes it, in one line and without the end of a long one.

    Example:
        >>> shortly("CA1"), len(shortly("x" * 1_000))
        ("'CA1'", 82)
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def bad_text(text: str) -> str | None:
    """Why `text` cannot be stored in HDF5; None when it can."""
    if "\0" in text:
        return "holds a NUL character"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "is not valid Unicode"
    return None


def bad_name(name: object) -> str | None:
    """Why `name` cannot name a group of a file (ids do elsewhere); None when it can."""
    if not isinstance(name, str):
        return f"is a {type(name).__name__}, expected text"
    if not name.strip():
        return "is empty, expected a name"
    if name != name.strip():
        return "begins or ends with a space"
    if "/" in name:
        return "holds '/', which separates groups in HDF5"
    if name in (".", ".."):
        return "stands for a folder, expected a name"
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        return "holds a control character"
    return bad_text(name)
