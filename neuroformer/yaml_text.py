"""YAML that people write, told apart from YAML that is meant to break what reads it."""

from dataclasses import dataclass, field
from typing import Any

import yaml

DEEPEST = 40
MOST_NODES = 100_000


@dataclass
class _Level:
    """A mapping or list that is being read.

    Attributes:
        anchor: its name for aliases.
        is_mapping: whether every other node is a key.
        n_nodes: nodes in it so far, aliases written out.
        n_children: nodes right below it.
        keys: plain keys of a mapping.
    """

    anchor: str | None = None
    is_mapping: bool = False
    n_nodes: int = 1
    n_children: int = 0
    keys: set[str] = field(default_factory=set)


def check_yaml(text: str) -> None:
    """Refuse what no settings need: keys given twice, aliases that unfold to a flood, nesting without end.

    The text is looked through event by event, so that nothing of it is built before.

    Raises:
        yaml.YAMLError: with the place, as for text that is no YAML.

    Example:
        >>> check_yaml("{steps: 1, lr: 0.1}")
        >>> check_yaml("{steps: 1, steps: 2}")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        yaml.constructor.ConstructorError: found duplicate key steps...
    """
    levels = [_Level()]
    sizes: dict[str, int] = {}
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            levels.append(_Level(anchor=event.anchor, is_mapping=isinstance(event, yaml.MappingStartEvent)))
            if len(levels) > DEEPEST:
                raise _problem(f"more than {DEEPEST} levels", event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            level = levels.pop()
            if level.anchor is not None:
                sizes[level.anchor] = level.n_nodes
            _count(levels[-1], level.n_nodes, event)
        elif isinstance(event, yaml.ScalarEvent):
            level = levels[-1]
            if level.is_mapping and level.n_children % 2 == 0:
                if event.value in level.keys and event.value != "<<":
                    raise _problem(f"found duplicate key {event.value[:80]}", event)
                level.keys.add(event.value)
            if event.anchor is not None:
                sizes[event.anchor] = 1
            _count(level, 1, event)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise _problem(f"*{event.anchor[:80]} stands for what is not there, or for itself", event)
            _count(levels[-1], sizes[event.anchor], event)


def _count(level: _Level, n_nodes: int, event: Any) -> None:
    level.n_nodes += n_nodes
    level.n_children += 1
    if level.n_nodes > MOST_NODES:
        raise _problem(f"more than {MOST_NODES:,} values, with every alias written out", event)


def _problem(text: str, event: Any) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, text, event.start_mark)
