"""The description of the format, held against the format."""

import re
from pathlib import Path

import h5py
import pytest

from neuroformer.session import SCHEMA_VERSION, Session, validate_file
from neuroformer.session.schema import INDEX_STRIDE

PAGE = Path(__file__).parents[2] / "docs" / "session-file.md"


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text(encoding="utf-8")


def test_the_smallest_file_is_sound(page, tmp_path, monkeypatch):
    (example,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    assert validate_file("smallest.h5") == []
    with Session("smallest.h5") as session:
        assert len(session.events(1.0, 10.0)) == 2
        assert len(session.behavior("speed", 2.0, 3.0)) == 10


def test_everything_that_is_written_is_described(page, session_file):
    described = set(re.findall(r"`([^`]+)`", page))
    missing = []

    def visit(path, node):
        parts = path.split("/")
        is_series = parts[0] in ("stimulus", "behavior", "traces")
        if is_series:
            names = {parts[-1]} if isinstance(node, h5py.Dataset) else set()
        elif parts[0] in ("units", "trials") or path.startswith("truth/extra"):
            names = set()  # described as NAME
        else:
            names = {path} if isinstance(node, h5py.Dataset) else set()
        missing.extend((names | set(node.attrs)) - described)

    with h5py.File(session_file) as file:
        visit("", file)
        file.visititems(visit)
    assert missing == []


def test_numbers_on_the_page_are_those_of_the_code(page):
    assert f"Schema version: **{SCHEMA_VERSION}**" in page
    assert set(re.findall(r"\[::(\d+)\]", page)) == {str(INDEX_STRIDE)}
