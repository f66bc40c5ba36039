"""Checks of a section of settings, with messages that name the setting."""

import math
from collections.abc import Callable
from typing import Any

from neuroformer.errors import UserError


def require(
    config: Any, names: str, holds: Callable[[float], bool], expected: str, *, section: str = ""
) -> None:
    """Refuse a number that is not finite or for which `holds` is false.

    Args:
        config: The section.
        names: Its settings to check, with spaces between.
        holds: What a number must satisfy.
        expected: The same in words.
        section: Prefix of the names as typed, "calcium.".

    Raises:
        UserError: Names the first setting that fails, what it is and what was expected.
    """
    for name in names.split():
        value = getattr(config, name)
        if not (math.isfinite(value) and holds(value)):
            raise UserError(f"{section}{name}={value}: expected {expected}")


def above_zero(config: Any, names: str, *, section: str = "") -> None:
    """Refuse what is not above 0; see `require`."""
    require(config, names, lambda value: value > 0, "a number above 0", section=section)


def not_negative(config: Any, names: str, *, section: str = "") -> None:
    """Refuse what is below 0; see `require`."""
    require(config, names, lambda value: value >= 0, "0 or a number above it", section=section)
