"""From blocks to one HTML file that needs nothing beside it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from itertools import count
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from neuroformer import __version__
from neuroformer.errors import UserError
from neuroformer.files import atomic_path
from neuroformer.plotting import figure_svg
from neuroformer.report import comparison
from neuroformer.report.blocks import Block, Drawing, Missing
from neuroformer.report.collect import FEWSHOT, Run, find_runs, is_fewshot
from neuroformer.report.sections import SECTIONS

# Tells a report, which may be replaced, from any other file, which may not.
_MARK = "neuroformer report"


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A section of a run, filled."""

    slug: str
    title: str
    blocks: list[Block]


@dataclass(frozen=True, kw_only=True)
class _Chapter:
    """A run, filled."""

    slug: str
    run: Run
    parts: list[_Part]


def write_report(folder: Path, out: Path | None = None, *, title: str = "") -> Path:
    """Write one self-contained HTML file about the run in `folder` and the runs one level below it.

    Args:
        folder: A run folder, or a folder of runs.
        out: The file to write; by default `report.html` in `folder`. A report that is there is replaced.
        title: Heading of the report; by default the folder's name.

    Returns:
        The file written.

    Raises:
        UserError: There is no run, `out` is a file but no report, or the disk is full. What a run lacks is no
            error: the report says so.
    """
    runs = find_runs(folder)
    out = folder / "report.html" if out is None else out
    _refuse_to_replace(out)
    chapters = [_fill(run, f"run{position}") for position, run in enumerate(runs, start=1)]
    page = _environment().from_string(_resource("page.html.j2"))
    text = page.render(
        mark=_MARK,
        style=Markup(_resource("style.css")),
        title=title or folder.resolve().name,
        folder=folder,
        version=__version__,
        made=f"{datetime.now():%d %B %Y, %H:%M}",
        overview=_readable(comparison.blocks(runs)) if len(runs) > 1 else [],
        chapters=chapters,
    )
    with atomic_path(out) as temporary:
        temporary.write_text(text.strip() + "\n", encoding="utf-8")
    return out


def _fill(run: Run, slug: str) -> _Chapter:
    # A learning curve with a folder of its own lacks no training: the run that it belongs to has that.
    wanted = ("behavior", "settings") if is_fewshot(run.path) else None
    parts = [
        _Part(slug=f"{slug}-{section.slug}", title=section.title, blocks=_readable(section.blocks(run)))
        for section in SECTIONS
        if wanted is None or section.slug in wanted
    ]
    return _Chapter(slug=slug, run=run, parts=[part for part in parts if _worth_showing(part, run)])


def _worth_showing(part: _Part, run: Run) -> bool:
    """Not without blocks; and where behaviour was the question, not for saying that nobody asked another one."""
    answered = (run.path / FEWSHOT / "metrics.json").exists()
    optional = answered and part.slug.endswith(("-likelihood", "-raster", "-wiring"))
    return any(not (optional and isinstance(block, Missing)) for block in part.blocks)


def _readable(blocks: Iterable[Block]) -> list[Block]:
    """The blocks up to the first file that cannot be read, and then what is wrong with it: the rest is still of use."""
    filled: list[Block] = []
    try:
        for block in blocks:
            filled.append(block)
    except UserError as error:
        filled.append(Missing(f"{error}."))
    return filled


def _refuse_to_replace(out: Path) -> None:
    if out.is_file() and out.stat().st_size:
        with out.open("rb") as file:
            head = file.read(500)
        if _MARK.encode() not in head:
            raise UserError(
                f"{out}: exists and is no report of this program; name another file with out=FILE.html"
            )


def _environment() -> Environment:
    """Jinja that escapes whatever a section hands over; a figure is the only thing that stands as it is."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    number = count(1)

    def svg(drawing: Drawing) -> Markup:
        # Matplotlib escapes the text that it draws.
        return Markup(figure_svg(drawing.figure, name=f"figure{next(number)}"))

    environment.filters["svg"] = svg
    return environment


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
