"""What sections are made of, and how numbers are written in them."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from matplotlib.figure import Figure

from neuroformer.report.collect import Run


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str
    kind: ClassVar[str] = "paragraph"


@dataclass(frozen=True)
class Missing:
    """What the run folder lacks, and the command that makes it."""

    text: str
    command: str = ""
    kind: ClassVar[str] = "missing"


@dataclass(frozen=True)
class Card:
    """One number to be seen first."""

    value: str
    label: str
    detail: str = ""


@dataclass(frozen=True)
class Cards:
    """A row of headline numbers."""

    cards: Sequence[Card]
    kind: ClassVar[str] = "cards"


@dataclass(frozen=True)
class Table:
    """Rows of text; the first column names the row, the others are set as numbers unless `prose`.

    `summary` folds the table behind a line that opens it. `emphasis` is the row to be set in bold.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    summary: str = ""
    prose: bool = False
    emphasis: int | None = None
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Drawing:
    """A figure, with a caption that says what it shows and how to read it."""

    figure: Figure
    title: str
    caption: str
    kind: ClassVar[str] = "drawing"


Block = Paragraph | Missing | Cards | Table | Drawing


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the report: the one interface of the files in `neuroformer.report.sections`.

    Attributes:
        slug: short name, used in links.
        title: heading.
        blocks: reads a run and yields what to show; what is not there yields a `Missing`, never an error. A section
            that yields nothing is left out: the run has nothing to do with it.
    """

    slug: str
    title: str
    blocks: Callable[[Run], Iterable[Block]]


def number(value: object, digits: int = 3) -> str:
    """A number with `digits` decimals and a true minus sign; a dash for what is absent or not finite.

    >>> number(0.48612), number(-0.5, 1), number(None)
    ('0.486', '−0.5', '–')
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    text = f"{value:,.{digits}f}"
    # A rounded zero has no sign.
    return text.lstrip("-") if not float(text.replace(",", "")) else text.replace("-", "−")


def signed(value: float, digits: int = 3) -> str:
    """A difference, with its sign.

    >>> signed(0.012), signed(-0.012), signed(0.0)
    ('+0.012', '−0.012', '0.000')
    """
    text = number(value, digits)
    return f"+{text}" if value > 0 and float(text.replace(",", "")) else text


def interval(bounds: object, digits: int = 3) -> str:
    """An interval as `low to high`; empty when there is none, or nothing but a point."""
    match bounds:
        case [int() | float() as low, int() | float() as high] if low != high:
            return f"{number(low, digits)} to {number(high, digits)}"
        case _:
            return ""


def percent(value: float) -> str:
    """A fraction in per cent.

    >>> percent(0.9548)
    '95.5\u202f%'
    """
    return f"{number(100 * value, 1)}\N{NARROW NO-BREAK SPACE}%"


def duration(seconds: float) -> str:
    """A stretch of time in words.

    >>> duration(0.42), duration(75.4), duration(7260)
    ('0.4 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def plural(count: int, word: str) -> str:
    """A count with its noun.

    >>> plural(1, "unit"), plural(1200, "unit")
    ('1 unit', '1,200 units')
    """
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
