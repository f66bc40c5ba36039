"""What can come of a case, and which words of a refusal are no words for a user."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["refused", "unchanged", "valid", "unclear"]

LONGEST = 2_000  # characters of a line that a user will still read
# What Python says to programmers.
INTERNAL = re.compile(
    r"Traceback|object at 0x|<class |NoneType|'\w+' object|has no attribute|not subscriptable|unhashable|not iterable"
    r"|positional argument|keyword argument|__init__|ufunc|could not be broadcast|invalid literal|list index"
    r"|maximum recursion|codec can't|KeyError|IndexError|unsupported operand|not supported between"
)
# A fault that shows only when memory runs out kills the process on a machine that promises more than it has.
ALLOCATION = re.compile(
    r"Unable to allocate|can't allocate|not enough memory|Cannot allocate|bad_alloc", re.IGNORECASE
)


@dataclass(frozen=True)
class Outcome:
    """What came of a case.

    Attributes:
        status: `refused` with a clear word; `unchanged`: the content is what it was; `valid`: it is different and keeps
            every rule; `unclear`: anything else, a find.
        what: the refusal or the find.
        mutation: what was done to the input.
    """

    status: Status
    what: str = ""
    mutation: str = field(default="", compare=False)


def unclear(what: str) -> Outcome:
    """A find."""
    return Outcome("unclear", what)


def refused(message: str, names: Iterable[str] = ()) -> Outcome:
    """A refusal, unclear when its words are not for a user.

    Args:
        message: what the user reads; several lines where several faults are named.
        names: of which the message must have at least one, as the file or the setting; none for any message.
    """
    wanted = tuple(names)
    if not message.strip():
        return unclear("refused without a word")
    if wanted and not any(name in message for name in wanted):
        return unclear(f"does not name what is at fault: {message[:300]}")
    if found := ALLOCATION.search(message):
        return unclear(f"memory was asked for first ({found.group()}): {message[:300]}")
    for line in message.splitlines():
        if len(line) > LONGEST:
            return unclear(f"a line of {len(line)} characters: {line[:200]} …")
        if found := INTERNAL.search(line):
            return unclear(f"speaks to programmers ({found.group()}): {line[:300]}")
    return Outcome("refused", message)
