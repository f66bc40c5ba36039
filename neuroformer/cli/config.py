"""Fill a command's settings: defaults, then YAML files, then `key=value` words, each checked as it comes."""

import dataclasses
import difflib
import io
import re
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from neuroformer.cli.settings import Setting, describe_type, fits, list_settings, shorten, show, union_members
from neuroformer.errors import UsageError
from neuroformer.yaml_text import check_yaml


def build_config(
    config_type: type,
    files: Iterable[str | Path] = (),
    words: Iterable[str] = (),
    values: Mapping[str, Any] | None = None,
) -> Any:
    """Fill a config: its defaults, then the files in their order, then the words, then the values.

    Args:
        config_type: The dataclass; every field has a docstring below it.
        files: YAML files. The keys of a section stand below it or are dotted.
        words: Settings as typed, `key=value`. Text is taken to the letter, everything else as YAML.
        values: Settings that are Python values already.

    Returns:
        An instance of `config_type`.

    Raises:
        UsageError: An unknown key, a wrong type, a missing value or file, or whatever the dataclass's own
            `__post_init__` refuses with a `ValueError`.
    """
    filling = _Filling(config_type)
    for file in files:
        for key, value in read_yaml(Path(file)).items():
            filling.assign(str(key), value, origin=f"{file}: ")
    for word in words:
        key, _, text = word.partition("=")
        filling.assign(key, filling.parse(key, text))
    for key, value in (values or {}).items():
        filling.assign(key, value)
    return filling.finish()


class _Filling:
    """A config on its way from defaults to a checked instance."""

    def __init__(self, config_type: type) -> None:
        self.settings = {setting.key: setting for setting in list_settings(config_type)}
        self.config: DictConfig = OmegaConf.structured(config_type)

    def assign(self, key: str, value: Any, *, origin: str = "") -> None:
        """Give one key its value; `origin` is the file that it stood in, for the message."""
        setting = self._owner(key)
        if setting is None:
            raise UsageError(f"{origin}unknown key {shorten(repr(key))}{self._nearest(key)}")
        if setting.section is not None and isinstance(value, dict):
            for name, item in value.items():
                self.assign(f"{key}.{name}", item, origin=origin)
            return
        if _is_text(setting.type) and isinstance(value, bool | float):
            # YAML's yes, no and 1.10 would become True, False and 1.1.
            raise UsageError(f"{origin}{self._wrong_value(setting, key, value)}; put text in quotes")
        try:
            self.config.merge_with(_nest(key, value))
        except (OmegaConfBaseException, TypeError) as error:
            raise UsageError(origin + self._wrong_value(setting, key, value)) from error

    def parse(self, key: str, text: str) -> Any:
        """Read what was typed after `key=`."""
        setting = self._owner(key)
        hint = setting.type if setting is not None and setting.key == key else Any
        if not text and (setting is None or setting.default != ""):
            raise UsageError(
                f"{key}=: no value after the equals sign; write {key}=VALUE, without spaces around ="
            )
        if _is_text(hint):
            return None if text == "null" and type(None) in union_members(hint) else text
        try:
            check_yaml(text)
            if list[str] in union_members(hint) and text != "null":
                return yaml.load(text, Loader=yaml.BaseLoader)  # every item stays text: 007, 1e3
            parsed = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))
        except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
            raise UsageError(
                f"{key}={shorten(text)}: cannot be read ({_problem(error)}); check brackets and quotes"
            ) from error
        return typing.cast(dict[str, Any], parsed)["value"]

    def finish(self) -> Any:
        """Check that nothing is missing and build the instance."""
        try:
            unset = OmegaConf.missing_keys(self.config)
            missing = [setting for key, setting in self.settings.items() if key in unset]
            if missing:
                wanted = ", ".join(f"{setting.key}=VALUE ({setting.doc.rstrip('.')})" for setting in missing)
                raise UsageError(f"missing {wanted}")
            resolved = OmegaConf.to_container(self.config, resolve=True)
            for key, setting in self.settings.items():
                if setting.is_mapping:
                    self._check_items(key)
                self._check_value(setting, key, resolved)
            for key in sorted(self.settings, key=lambda k: -k.count(".")):  # the innermost first
                if self.settings[key].section is not None:
                    _build(OmegaConf.select(self.config, key), key)
            return OmegaConf.to_object(self.config)
        except UsageError:
            raise
        except OmegaConfBaseException as error:  # an interpolation that leads nowhere
            key = error.full_key or ", ".join(self._interpolated()) or "an interpolation ${...}"
            raise UsageError(f"{key}: {_first_line(error)}; correct it, or write the value itself") from error
        except ValueError as error:
            raise UsageError(str(error)) from error

    def _interpolated(self) -> list[str]:
        """The keys that hold a ${...}."""

        def walk(value: Any, key: str) -> list[str]:
            if isinstance(value, dict):
                return [found for name, item in value.items() for found in walk(item, f"{key}.{name}")]
            return [key[1:]] if "${" in str(value) else []

        return walk(OmegaConf.to_container(self.config), "")

    def _check_items(self, key: str) -> None:
        """Check each section of a mapping of sections as if its keys were settings."""
        for name, item in (OmegaConf.select(self.config, key) or {}).items():
            if OmegaConf.is_config(item) and dataclasses.is_dataclass(kind := OmegaConf.get_type(item)):
                values = OmegaConf.to_container(item, resolve=True)
                for setting in list_settings(kind):
                    self._check_value(setting, setting.key, values, within=f"{key}.{name}.")
                _build(item, f"{key}.{name}")

    def _check_value(self, setting: Setting, key: str, values: Any, *, within: str = "") -> None:
        """Refuse what OmegaConf lets pass: sections among numbers, and numbers that are none."""
        if setting.section is not None:
            return
        for name in key.split("."):
            if not isinstance(values, dict):
                return  # a section that is null
            values = values[name]
        if not fits(values, setting.type):
            raise UsageError(within + self._wrong_value(setting, key, values))

    def _owner(self, key: str) -> Setting | None:
        """Find the setting that a key belongs to: the one of that name, or a mapping that it is below."""
        if key in self.settings:
            return self.settings[key]
        mappings = (setting for setting in self.settings.values() if setting.is_mapping)
        return next(
            (mapping for mapping in mappings if key.startswith(f"{mapping.key}.") and all(key.split("."))),
            None,
        )

    def _wrong_value(self, setting: Setting, key: str, value: Any) -> str:
        found = shorten(repr(value) if isinstance(value, str) else show(value))
        if setting.section is not None:
            child = next(name for name in self.settings if name.startswith(f"{key}."))
            return f"{key}: found {found}, expected keys below it; for example {child}=VALUE"
        wanted = "a number" if found == "nan" else describe_type(setting.type)  # NaN is a float as well
        message = f"{key}: found {found}, expected {wanted}"
        if typing.get_origin(setting.type) is list and not isinstance(value, list):
            return f"{message}; for example {setting.key}=[{shorten(show(value))}]"
        if setting.is_mapping and key == setting.key:
            return f"{message}; for example {key}.KEY=VALUE"
        if setting.required or setting.default in (None, [], {}, ""):
            return message
        return f"{message}; for example {setting.key}={show(setting.default)}"

    def _nearest(self, key: str) -> str:
        """Suggest keys: the same name elsewhere, else the most similar key, else the most similar name."""
        if key == "config":
            return "; a file of settings is given as --config FILE.yaml"
        by_name: dict[str, list[str]] = {}
        for known in self.settings:
            by_name.setdefault(known.rpartition(".")[2], []).append(known)
        name = key.rpartition(".")[2]
        similar = difflib.get_close_matches(key, self.settings, n=1)
        if name not in by_name and not similar:
            name = next(iter(difflib.get_close_matches(name, by_name, n=1)), "")
        nearest = by_name.get(name, similar)
        return f"; did you mean {' or '.join(nearest)}?" if nearest else "; --help lists the keys"


def _build(section: Any, key: str) -> None:
    """Build one section, to name it where it refuses its values; it may have named itself, in part or in full."""
    if not OmegaConf.is_config(section):
        return  # null
    try:
        OmegaConf.to_object(section)
    except ValueError as error:
        message = str(error)
        outer, _, own = key.rpartition(".")
        if key not in message:
            where = outer if message.startswith(f"{own}.") else key
            message = f"{where}.{message}" if where else message
        raise UsageError(message) from error


def _is_text(hint: Any) -> bool:
    """Whether a value is taken to the letter: text, or a choice between texts (then `off` is no boolean)."""
    return all(
        option in (str, type(None))
        or (
            typing.get_origin(option) is Literal
            and all(isinstance(choice, str) for choice in typing.get_args(option))
        )
        for option in union_members(hint)
    )


def _nest(key: str, value: Any) -> dict[str, Any]:
    first, _, rest = key.partition(".")
    return {first: _nest(rest, value) if rest else value}


def read_yaml(path: Path) -> dict[Any, Any]:
    """Read a YAML file of settings into plain nested mappings.

    Raises:
        UsageError: The file is missing, a folder, not YAML, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        check_yaml(text)
        content = OmegaConf.load(io.StringIO(text))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file, expected a YAML file of settings; check --config") from None
    except IsADirectoryError:
        raise UsageError(f"{path}: is a folder, expected a YAML file of settings; check --config") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not valid YAML ({_problem(error)})") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path}: not a text file, expected a YAML file of settings; check --config"
        ) from error
    except OSError as error:
        if error.errno is not None:
            raise
        content = OmegaConf.create(
            []
        )  # OmegaConf refuses a file that holds a bare number or word with an OSError
    except (OmegaConfBaseException, ValueError) as error:  # a key or value that no setting has, ${ left open
        raise UsageError(f"{path}: cannot be read as settings ({_first_line(error)})") from error
    if not isinstance(content, DictConfig):
        raise UsageError(f"{path}: found no settings, expected `key: value` lines")
    return typing.cast(dict[Any, Any], OmegaConf.to_container(content))


def _problem(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {_said(error.problem)}"
    return _first_line(error)


def _said(problem: str | None) -> str:
    return "a key that is a list or a section" if problem == "found unhashable key" else str(problem)


def _first_line(error: Exception) -> str:
    text = (
        str(error)
        .strip()
        .partition("\n")[0]
        .replace("Incompatible key type 'NoneType'", "a key that is null")
    )
    return shorten(
        re.sub(r"^\w+Error raised while resolving interpolation: ", "cannot be resolved, ", text), 300
    )
