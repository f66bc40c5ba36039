"""YAML files made wrong: keys, values, text and the traps of the language itself."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import yaml

VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    3.7,
    -0.5,
    1e308,
    10**30,
    2**63,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    " ",
    "nan",
    "text",
    "1e400",
    "0x10",
    "010",
    "x" * 5_000,
    "é\u202e\x07",
    "${oc.env:HOME}",
    "${oc.env:NO_SUCH_NAME}",
    "${oc.decode:'[1,2]'}",
    "${oc.create:{a: 1}}",
    "${absent.key}",
    "${out}",
    "${",
    "${a.${b}}",
    "${no_such_resolver:1}",
    "???",
    [],
    [1, 2],
    ["a", None],
    [[1], [2]],
    [float("nan")],
    {},
    {"a": 1},
    {1: 2},
    {None: None},
    {"a.b": 1},
    {"": 1},
    "{file}",
    "{file.__class__}",
    "{0}",
    "{",
    "(",
    "(?P<a>a*)*b",
    "../../outside",
    "*",
    "/dev/zero",
    "unit_[",
    "no such key",
)


def _bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 12)]
    return "\n".join(lines) + "\n"


TRAPS: tuple[str, ...] = (
    _bomb(),
    "bomb: &b\n  c: *b\n",
    "x: !!python/object/apply:os.mkdir [executed]\n",
    "x: !!python/object/new:os.system ['touch executed']\n",
    "x: !!python/name:os.system\n",
    "x: !!python/tuple [1, 2]\n",
    "x: !custom 3\n",
    "x: !!binary aGVsbG8=\n",
    "x: !!set {a, b}\n",
    "x: !!timestamp 2001-12-14t21:59:43.10-05:00\n",
    "x: 2001-99-99\n",
    "\tx: 1\n",
    "x: 1\n---\ny: 2\n",
    "x: [" * 3_000 + "\n",
    "? [a, b]\n: 1\n",
    "? {a: 1}\n: 1\n",
    "<<: *absent\n",
    "<<: [1, 2]\n",
    "x: *absent\n",
    "x: 'open\n",
    "x: |9\n  a\n",
    "x: \x00\n",
    "x: \x85\u2028\ufeff\n",
    "%YAML 9.9\n---\nx: 1\n",
    "- a\n- b\n",
    "3\n",
    "x: " + "9" * 6_000 + "\n",
    "x: 1:30:00\n",
    "'': 1\n",
    "? \n: 1\n",
    "1.5: 2\ntrue: 3\n",
    "a.b.c: 1\n",
    "a..b: 1\n",
    ".a: 1\n",
    "a[0]: 1\n",
)


def mutate(text: str, rng: np.random.Generator) -> tuple[bytes, str]:
    """A file made wrong, and what was done."""
    done = []
    if rng.random() < 0.75:
        content = yaml.safe_load(text) or {}
        for _ in range(int(rng.choice([1, 1, 2, 3]))):
            done.append(change(content, rng))
        text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
    data = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.35 or not done:
        data, what = _spoil(data, rng)
        done.append(what)
    return data, ", ".join(done)


def places(content: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in nested mappings and lists."""
    items = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    for key, value in items:
        yield (*above, key)
        yield from places(value, (*above, key))


def change(content: Any, rng: np.random.Generator) -> str:
    """Change one place in nested mappings and lists."""
    found = list(places(content))
    if not found:
        content["x"] = 1
        return "x added"
    place = found[int(rng.integers(len(found)))]
    owner = content
    for key in place[:-1]:
        owner = owner[key]
    key, where = place[-1], ".".join(map(str, place))
    match int(rng.integers(8)):
        case 0:
            del owner[key]
            return f"{where} dropped"
        case 1 if isinstance(owner, dict):
            others = [p[-1] for p in found]
            name = [f"{key}x", str(key).upper(), others[int(rng.integers(len(others)))]][int(rng.integers(3))]
            owner[name] = owner.pop(key)
            return f"{where} renamed {name}"
        case 2:
            other: Any = content
            for part in found[int(rng.integers(len(found)))]:
                other = other[part]
            owner[key] = copy.deepcopy(other)
            return f"{where} from elsewhere"
        case 3 if isinstance(owner[key], int | float) and not isinstance(owner[key], bool):
            factor = [-1, 0, 1e30, 1e-30, 1.5, 1000][int(rng.integers(6))]
            owner[key] = owner[key] * factor
            return f"{where} times {factor}"
        case 4:
            owner[key] = [owner[key]] if rng.random() < 0.5 else {"a": owner[key]}
            return f"{where} nested"
        case 5:
            owner[key] = str(owner[key])
            return f"{where} as text"
    value = copy.deepcopy(VALUES[int(rng.integers(len(VALUES)))])
    owner[key] = value
    return f"{where} = {str(value)[:40]!r}"


def _spoil(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    lines = data.splitlines(keepends=True) or [b"\n"]
    at = int(rng.integers(len(lines)))
    match int(rng.integers(8)):
        case 0 | 1 | 2:
            trap = TRAPS[int(rng.integers(len(TRAPS)))]
            lines.insert(at if rng.random() < 0.5 else 0, trap.encode())
            return b"".join(lines), f"trap {trap[:40]!r} at line {at}"
        case 3:
            lines.insert(at, lines[at])
            return b"".join(lines), f"line {at} twice"
        case 4:
            return data[: int(rng.integers(len(data) + 1))], "cut"
        case 5:
            lines[at] = b"\t" + lines[at] if rng.random() < 0.5 else b"   " + lines[at]
            return b"".join(lines), f"line {at} moved"
        case 6:
            put = (b"\xff\xfe", b"\x00", b"\xc3\x28", b"\x80", b"\xef\xbb\xbf")[int(rng.integers(5))]
            place = int(rng.integers(len(data) + 1))
            return data[:place] + put + data[place:], f"{put.hex()} at {place}"
    place = int(rng.integers(max(len(data), 1)))
    letter = b":[]{}&*!|>'\"%@#,-? \n"[int(rng.integers(20))]
    return data[:place] + bytes([letter]) + data[place + 1 :], f"{chr(letter)!r} at {place}"
