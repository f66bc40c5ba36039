"""The settings of a command as data: the keys of a documented dataclass, with type, default and docstring."""

import ast
import dataclasses
import enum
import functools
import inspect
import math
import textwrap
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

REQUIRED = "???"  # OmegaConf's mark of a value that must be given


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One key of a command, or a section of keys."""

    key: str
    """Dotted name, `trainer.max_epochs`."""
    type: Any
    """Its annotation."""
    default: Any
    """Its value when nobody gives one; `???` where one must be given."""
    doc: str
    """Its docstring, in one paragraph."""
    section: type | None = None
    """The dataclass of the keys below it, if this is a section."""

    @property
    def required(self) -> bool:
        """Whether a value must be given."""
        return isinstance(self.default, str) and self.default == REQUIRED

    @property
    def is_mapping(self) -> bool:
        """Whether it takes any keys below it (`dict[str, ...]`)."""
        return any(typing.get_origin(option) is dict for option in union_members(self.type))


def list_settings(config_type: type) -> list[Setting]:
    """List every key of a config dataclass, each section before its keys, in the order of the source."""
    return list(_walk(config_type, None, ""))


def _walk(config_type: type, values: Any, prefix: str) -> Iterator[Setting]:
    hints = typing.get_type_hints(config_type)
    docs = field_docs(config_type)
    for field in dataclasses.fields(config_type):
        assert field.name in docs, f"{config_type.__name__}.{field.name} has no docstring below it"
        hint, key = hints[field.name], prefix + field.name
        default = _default(field) if values is None else getattr(values, field.name)
        section = next(filter(_is_dataclass_type, union_members(hint)), None)
        yield Setting(key=key, type=hint, default=default, doc=docs[field.name], section=section)
        if section is not None:
            yield from _walk(section, default if isinstance(default, section) else None, f"{key}.")


def _is_dataclass_type(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return REQUIRED


def field_docs(config_type: type) -> dict[str, str]:
    """Read the docstring right below each field of a dataclass, from the source.

    Args:
        config_type: A dataclass; fields that it inherits are found as well.

    Returns:
        Field name → docstring in one paragraph; a field without one is left out.
    """
    docs: dict[str, str] = {}
    for cls in reversed(config_type.__mro__):
        if dataclasses.is_dataclass(cls):
            docs |= _class_docs(cls)
    return docs


@functools.cache
def _class_docs(cls: type) -> dict[str, str]:
    definition = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(definition, ast.ClassDef)
    docs = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                docs[name] = " ".join(text.split())
    return docs


def union_members(hint: Any) -> tuple[Any, ...]:
    """Split `A | B` into A and B; any other annotation stands alone."""
    is_union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return typing.get_args(hint) if is_union else (hint,)


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value, sections as mappings, is what an annotation says; NaN is no number.

    Example:
        >>> fits([0.5, 1.0], list[float]), fits([0.5, {"a": 1}], list[float]), fits(math.nan, float)
        (True, False, False)
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if len(union_members(hint)) > 1:
        return any(fits(value, option) for option in union_members(hint))
    if origin is list:
        return isinstance(value, list) and all(fits(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(item, arguments[1]) for item in value.values())
    if _is_dataclass_type(hint):
        hints = typing.get_type_hints(hint)
        return isinstance(value, dict) and all(fits(value.get(name), hints[name]) for name in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    if hint in (int, str, bool):
        return type(value) is hint
    return value is None if hint is type(None) else True


def shorten(text: str, most: int = 100) -> str:
    """The begin of a long text, for messages."""
    return text if len(text) <= most else f"{text[:most]} …"


def describe_type(hint: Any) -> str:
    """Say an annotation in a reader's words.

    Example:
        >>> describe_type(float | None), describe_type(list[str]), describe_type(Literal["adam", "sgd"])
        ('float or null', 'list of text', 'adam or sgd')
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if len(union_members(hint)) > 1:
        return " or ".join(describe_type(option) for option in union_members(hint))
    if origin is Literal:
        return " or ".join(show(choice) for choice in arguments)
    if origin is list:
        return f"list of {describe_type(arguments[0])}"
    if origin is tuple:
        return "[" + ", ".join(describe_type(argument) for argument in arguments) + "]"
    if origin is dict:
        return "any keys" if arguments[1] is Any else f"any keys, each {describe_type(arguments[1])}"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return " or ".join(hint.__members__)
    if _is_dataclass_type(hint):
        return "section"
    words = {str: "text", bool: "true or false", type(None): "null", Any: "anything"}
    return words[hint] if hint in words else str(getattr(hint, "__name__", hint))


def show(value: Any) -> str:
    """Write a value as it is typed after `key=`.

    Example:
        >>> show(None), show(True), show(["a", 0.001])
        ('null', 'true', '[a, 0.001]')
    """
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case enum.Enum():
            return value.name
        case list() | tuple():
            return "[" + ", ".join(show(item) for item in value) + "]"
        case dict():
            return "{" + ", ".join(f"{key}: {show(item)}" for key, item in value.items()) + "}"
        case "":
            return '""'
    return str(value)
