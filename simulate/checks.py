"""Checks of settings, with messages that name them."""

import math
from collections.abc import Callable
from typing import Any

from neuroformer.errors import UserError


def require(
    config: Any, names: str, holds: Callable[[float], bool], expected: str, *, section: str = ""
) -> None:
    """Refuse a setting that is not finite or for which `holds` is false.

    Args:
        config: A section of the settings.
        names: The settings to check, with spaces between them.
        holds: What must be true of each.
        expected: The same in words.
        section: What stands before the name, as in "wiring.".

    Raises:
        UserError: The setting, its value and what was expected.
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


def fraction(config: Any, names: str, *, section: str = "") -> None:
    """Refuse what is not from 0 to 1; see `require`."""
    require(config, names, lambda value: 0 <= value <= 1, "a fraction from 0 to 1", section=section)
