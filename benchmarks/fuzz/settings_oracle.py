"""Whether settings are of the types that their dataclasses declare, told apart without the code that fills them."""

import dataclasses
import math
import types
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any, Literal, Union


def wrong(config: Any) -> list[str]:
    """Settings of another type than declared, NaN, or refused by their own checks."""
    found = list(_wrong_fields(config, type(config).__name__))
    try:
        dataclasses.replace(config)
    except (ValueError, TypeError) as error:
        found.append(f"its own check says: {error}")
    return found


def _wrong_fields(config: Any, where: str) -> Iterator[str]:
    hints = typing.get_type_hints(type(config))
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        yield from _wrong_value(value, hints[item.name], f"{where}.{item.name}")


def _wrong_value(value: Any, hint: Any, where: str) -> Iterator[str]:
    if not _fits(value, hint):
        yield f"{where} is {value!r:.80}, declared {hint}"
    elif dataclasses.is_dataclass(value):
        yield from _wrong_fields(value, where)
    elif isinstance(value, float) and math.isnan(value):
        yield f"{where} is {value}"
    elif isinstance(value, list | tuple):
        for k, entry in enumerate(value):
            if isinstance(entry, float) and math.isnan(entry):
                yield f"{where}[{k}] is {entry}"
            elif dataclasses.is_dataclass(entry):
                yield from _wrong_fields(entry, f"{where}[{k}]")
    elif isinstance(value, dict):
        for name, entry in value.items():
            if dataclasses.is_dataclass(entry):
                yield from _wrong_fields(entry, f"{where}.{name}")


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(value, option) for option in arguments)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if origin is list:
        return isinstance(value, list) and all(_fits(entry, arguments[0]) for entry in value)
    if origin is tuple:
        return isinstance(value, list | tuple)
    if origin is dict:
        return isinstance(value, dict) and all(
            _fits(name, arguments[0]) and _fits(entry, arguments[1]) for name, entry in value.items()
        )
    if hint in (int, float):
        return type(value) is hint
    if isinstance(hint, type) and issubclass(hint, Enum | bool | str | types.NoneType):
        return isinstance(value, hint)
    return isinstance(value, hint) if isinstance(hint, type) else True
