"""Read a mapping file, and say what is wrong with it."""

import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from neuroformer.errors import UserError
from neuroformer.importers.mapping import ArrayMapping
from neuroformer.yaml_text import check_yaml


def load_mapping(path: str | Path) -> ArrayMapping:
    """Read a mapping file into a checked `ArrayMapping`.

    Args:
        path: A YAML file with the keys of `ArrayMapping`.

    Raises:
        UserError: The file is missing or no YAML, a key is unknown, or a value has the wrong type.
    """
    path = Path(path)
    content = _read_yaml(path)
    _check_keys(content, ArrayMapping, "", path)
    try:
        merged = OmegaConf.merge(OmegaConf.structured(ArrayMapping), OmegaConf.create(content))
        return typing.cast(ArrayMapping, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        reason = str(error).strip().partition("\n")[0]
        if "interpolation" in reason:
            reason = "a value written as ${...} cannot be resolved; write the value itself"
        elif any(word in reason for word in ("subclass", "NoneType", "type hint")):
            reason = "what stands there is not of the kind that is expected"
        raise UserError(
            f"{path}: {error.full_key or 'mapping'}: {reason[:300]}; see docs/convert.md"
        ) from error
    except TypeError as error:  # lists where sections are expected, or the reverse
        raise UserError(
            f"{path}: a list stands for a section, or the reverse; see docs/convert.md"
        ) from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def _read_yaml(path: Path) -> dict[Any, Any]:
    if path.is_dir():
        raise UserError(f"{path}: is a folder, expected a mapping file; name a YAML file in it")
    try:
        text = path.read_text(encoding="utf-8")
        check_yaml(text)
        content = yaml.safe_load(text)
    except FileNotFoundError:
        raise UserError(f"{path}: no such mapping file; ready ones stand in configs/convert/") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not a text file, expected a mapping file in YAML; check mapping="
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise UserError(f"{path}: not valid YAML{place} ({_said(error)})") from error
    except ValueError as error:  # a number with thousands of digits
        raise UserError(f"{path}: cannot be read ({str(error)[:200]}); correct the value") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no `key: value` lines, expected a mapping file; see docs/convert.md")
    return content


def _said(error: yaml.YAMLError) -> str:
    problem = str(getattr(error, "problem", error))
    return "a key that is a list or a section" if problem == "found unhashable key" else problem


def _check_keys(content: Any, hint: Any, above: str, path: Path) -> None:
    """Refuse unknown keys at any depth, naming the nearest known one."""
    section = _section(hint)
    if hint is str and isinstance(content, bool | float | list | dict):
        # YAML's yes, no and 1.10 would become True, False and 1.1.
        raise UserError(
            f"{path}: {above.rstrip('.')}: found {str(content)[:80]}, expected text; put it in quotes"
        )
    if typing.get_origin(hint) is list and isinstance(content, list):
        inner = typing.get_args(hint)[0]
        for item in content:
            if _section(inner) is None and isinstance(item, list | dict):
                kind = "list" if isinstance(item, list) else "section"
                raise UserError(
                    f"{path}: {above.rstrip('.')}: a {kind} stands in the list, expected plain values"
                )
            _check_keys(item, inner, above, path)
        return
    if section is None or not isinstance(content, Mapping):
        return
    if typing.get_origin(section) is dict:
        inner = typing.get_args(section)[1]
        for name, value in content.items():
            _check_keys(value, inner, f"{above}{name}.", path)
        return
    known = [item.name for item in fields(section)]
    hints = typing.get_type_hints(section)
    for name, value in content.items():
        if name not in known:
            nearest = difflib.get_close_matches(str(name), known, n=1)
            hint_text = f"did you mean {nearest[0]}?" if nearest else f"expected one of {', '.join(known)}"
            raise UserError(f"{path}: unknown key '{above}{str(name)[:80]}'; {hint_text}")
        _check_keys(value, hints[name], f"{above}{name}.", path)


def _section(hint: Any) -> Any:
    """The dataclass or `dict[str, ...]` in a type hint that may also allow None."""
    is_union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    options = typing.get_args(hint) if is_union else (hint,)
    return next((o for o in options if is_dataclass(o) or typing.get_origin(o) is dict), None)
