"""The report as a reader gets it: one file that holds everything, whatever the run lacks."""

import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import h5py
import numpy as np
import pytest

from neuroformer.errors import UserError
from neuroformer.report import write_report
from neuroformer.report.blocks import Block, Cards, Drawing, Missing, Paragraph, Table
from neuroformer.report.collect import Run
from neuroformer.report.overview import draw_overview
from neuroformer.report.sections import SECTIONS

FakeRun = Callable[..., Path]


class Page(HTMLParser):
    """Text, ids, links and whatever a page would fetch; fails on tags that do not close."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text("utf-8")
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.text = ""
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.handle_startendtag(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "a":
            self.links.append(values["href"])
        elif tag in ("script", "link", "iframe", "object"):
            self.fetched.append(tag)
        self.fetched += [
            values[name]
            for name in ("src", "href", "xlink:href")
            if tag != "a" and name in values and not values[name].startswith(("data:", "#"))
        ]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, fake_run: FakeRun) -> Path:
    folder = tmp_path_factory.mktemp("out") / "demo"
    fake_run(folder / "clean")
    scores = {"model": 0.722, "poisson_glm": 0.694, "homogeneous_poisson": 0.0, "truth": 0.81}
    fake_run(folder / "confounded", seed=1, bits_per_spike=scores)
    return folder


@pytest.fixture(scope="module")
def page(demo: Path) -> Page:
    return Page(write_report(demo))


@pytest.fixture
def run(demo: Path, tmp_path: Path) -> Run:
    """A run of its own for each test that breaks it."""
    return Run(shutil.copytree(demo / "clean", tmp_path / "clean"), "clean")


@pytest.fixture
def empty_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made but not turned into SVG, which takes most of the time."""
    monkeypatch.setattr(
        "neuroformer.report.page.figure_svg", lambda figure, *, name: f'<svg id="{name}"></svg>'
    )


def blocks_of(run: Run, slug: str) -> list[Block]:
    return list(next(section for section in SECTIONS if section.slug == slug).blocks(run))


def test_one_file_that_fetches_nothing(page: Page, demo: Path) -> None:
    assert page.fetched == []
    assert not re.search(r"@import|url\((?!#)", page.source)
    assert (demo / "report.html").stat().st_size < 6e6
    assert {path.name for path in demo.iterdir()} == {"clean", "confounded", "report.html"}


def test_ids_are_unique_and_links_lead_somewhere(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    shown = len(SECTIONS) - 2  # these runs have nothing to do with behaviour and language models
    assert len(page.links) == 1 + 2 * (1 + shown)


def test_says_the_main_numbers(page: Page) -> None:
    for number in ("0.486", "0.474", "0.509", "95.5\u202f%", "+0.012 (0.009 to 0.015)", "0.722", "0.983"):
        assert number in page.text, number
    assert "beats the Poisson GLM by 0.012 bits per spike" in page.text
    assert page.text.index("All runs") < page.text.index("clean") < page.text.index("confounded")


def test_says_what_was_run(page: Page) -> None:
    for words in (
        "neuroformer pretrain",
        "0.1.0",
        "1 min 14 s",
        "cpu",
        "model.width",
        "Settings of evaluate",
    ):
        assert words in page.text, words
    assert "1 recording in training" in page.text


def test_every_figure_has_a_caption_and_text_that_can_be_searched(page: Page) -> None:
    assert page.source.count("<svg") == page.source.count("<figcaption") == 11
    for label in (
        "bits per spike",
        "source unit",
        "target unit",
        "time in the recording (s)",
        "training step",
    ):
        assert f">{label}<" in page.source, label


@pytest.mark.parametrize(
    ("lost", "slug", "says"),
    [
        ("evaluate", "summary", "neuroformer evaluate run={run}"),
        ("evaluate", "likelihood", "neuroformer evaluate run={run}"),
        ("evaluate/per_unit.csv", "likelihood", "neuroformer evaluate run={run} overwrite=true"),
        ("evaluate/raster.npz", "raster", "neuroformer evaluate run={run} overwrite=true"),
        ("connectivity", "wiring", "neuroformer connectivity run={run}"),
        ("log.csv", "learning", "out={run}"),
        ("metrics.json", "settings", "resume={run}/checkpoints/last.ckpt"),
    ],
)
def test_says_what_is_missing_and_how_to_make_it(run: Run, lost: str, slug: str, says: str) -> None:
    path = run.path / lost
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    commands = [block.command for block in blocks_of(run, slug) if isinstance(block, Missing)]
    assert len(commands) == 1
    assert commands[0].endswith(says.format(run=run.path))


@pytest.mark.usefixtures("empty_figures")
@pytest.mark.parametrize(
    "broken",
    [
        "metrics.json",
        "config.yaml",
        "evaluate/metrics.json",
        "evaluate/raster.npz",
        "evaluate/per_unit.csv",
        "connectivity/metrics.json",
        "connectivity/connectivity.h5",
    ],
)
def test_a_broken_file_is_named_and_the_rest_still_shown(run: Run, broken: str) -> None:
    path = run.path / broken
    path.write_bytes(b"\x89\xff\x00[" + path.read_bytes()[:200])
    page = Page(write_report(run.path))
    assert str(path) in page.text
    assert page.text.count("What was run") == 2
    assert "<figure>" in page.source


@pytest.mark.usefixtures("empty_figures")
def test_names_from_files_are_text_and_never_markup(fake_run: FakeRun, tmp_path: Path) -> None:
    evil = "<script>alert('x')</script>&amp;"
    folder = fake_run(tmp_path / "<b>run", sessions=[evil.replace("/", "|"), "b"])
    (folder / "config.yaml").write_text(f"note: \"{evil}\"\n'<i>key': 1\n")
    with h5py.File(folder / "connectivity" / "connectivity.h5", "r+") as file:
        next(iter(file.values()))["coupling"].attrs["description"] = evil
    page = Page(write_report(folder, title=evil))
    assert page.fetched == []
    assert "<b>" not in page.source.replace("<figcaption><b>", "")
    assert "<i>" not in page.source
    assert page.text.count(evil) >= 4


def test_no_truth_no_claim(fake_run: FakeRun, tmp_path: Path) -> None:
    folder = fake_run(tmp_path / "ca1", has_truth=False, sessions=["m1", "m2", "m3"], n_units=170)
    run = Run(folder, "ca1")
    summary = blocks_of(run, "summary")
    assert [card.label for block in summary if isinstance(block, Cards) for card in block.cards] == [
        "bits per spike",
        "bits/spike over the GLM",
    ]
    (table,) = [block for block in summary if isinstance(block, Table)]
    assert "of the attainable" not in table.columns
    (matrices,) = [block for block in blocks_of(run, "wiring") if isinstance(block, Drawing)]
    assert "true wiring is not known" in matrices.caption
    assert "150 best connected" in matrices.caption
    assert "2 further sessions" in matrices.caption
    (sessions,) = [block for block in blocks_of(run, "likelihood") if isinstance(block, Table)]
    assert [row[0] for row in sessions.rows] == ["m1", "m2", "m3"]


@pytest.mark.parametrize(
    ("model", "glm", "says"),
    [
        (0.5, 0.4, "beats the Poisson GLM by 0.100"),
        (0.4, 0.5, "Poisson GLM is better by 0.100"),
        (0.4, 0.399, "within the uncertainty"),
        (-0.2, 0.1, "worse than constant firing rates do, by 0.200"),
        (0.01, 0.0, "does not tell from zero"),
    ],
)
def test_words_claim_what_the_intervals_allow(
    fake_run: FakeRun, tmp_path: Path, model: float, glm: float, says: str
) -> None:
    scores = {"model": model, "poisson_glm": glm, "homogeneous_poisson": 0.0}
    run = Run(fake_run(tmp_path / "run", bits_per_spike=scores, n_units=12), "run")
    (verdict,) = [block.text for block in blocks_of(run, "summary") if isinstance(block, Paragraph)]
    assert says in verdict


def test_a_recording_with_hardly_anything_in_it(fake_run: FakeRun, tmp_path: Path) -> None:
    """Two units, no events, no intervals, flat estimates, one line of log."""
    folder = fake_run(tmp_path / "bare", n_units=2)
    raster = dict(np.load(folder / "evaluate" / "raster.npz"))
    raster["counts"] = np.zeros((7, 2), np.int16)
    np.savez(
        folder / "evaluate" / "raster.npz", **raster | {"time": np.arange(7.0), "intensity": np.zeros((7, 2))}
    )
    metrics = folder / "evaluate" / "metrics.json"
    metrics.write_text(re.sub(r"\[[-\d., e]+\]", "[null, null]", metrics.read_text()))
    (folder / "evaluate" / "per_unit.csv").write_text(
        "session_id,unit,n_events,model,poisson_glm\na,0,0,,\na,1,3,.1,.1\n"
    )
    (folder / "log.csv").write_text("step,train_nll,val_bits_per_spike\n10,nan,0.2\n")
    with h5py.File(folder / "connectivity" / "connectivity.h5", "r+") as file:
        for estimator in ("coupling", "poisson_glm"):
            file[f"circuit-0/{estimator}/matrix"][:] = 0
        file["circuit-0/truth/weights"][:] = [[0, 1], [0, 0]]
    page = Page(write_report(folder))
    assert "too little held-out time for intervals" in page.text
    assert "best 0.200 at step 10" in page.text


def test_overview_leaves_out_wiring_that_nobody_knows(demo: Path, fake_run: FakeRun, tmp_path: Path) -> None:
    unknown = fake_run(tmp_path / "worm", has_truth=False, n_units=8)
    figure = draw_overview([Run(demo / "clean", "clean"), Run(unknown, "worm")])
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    assert titles == [
        "clean: held-out prediction",
        "wiring put in",
        "read out (AP 0.983)",
        "worm: held-out prediction",
    ]


@pytest.mark.usefixtures("empty_figures")
def test_replaces_a_report_and_nothing_else(run: Run) -> None:
    path = write_report(run.path)
    assert write_report(run.path) == path
    session = run.path / "session.h5"
    session.write_bytes(b"an hour of recording")
    with pytest.raises(UserError, match=r"session\.h5: exists and is no report.*out=FILE\.html"):
        write_report(run.path, session)
    assert session.read_bytes() == b"an hour of recording"
