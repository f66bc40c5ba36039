from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neuroformer.errors import UserError
from neuroformer.identity.units import UnitTable, asked_labels, unit_table
from neuroformer.session import Session


def table(labels: dict[str, list[str]], confidence: list[float] | None = None) -> UnitTable:
    """Units of animals by name."""
    animal = np.array([a for a, names in labels.items() for _ in names])
    n = len(animal)
    return UnitTable(
        session=animal,
        subject=animal,
        unit=np.arange(n),
        unit_id=np.arange(n).astype(str),
        columns={"label": np.array([x for names in labels.values() for x in names])},
        position=np.full((n, 3), np.nan),
        rate=np.ones(n),
        global_id=np.full(n, -1),
        confidence=np.full(n, np.nan) if confidence is None else np.array(confidence),
    )


def test_only_labels_of_two_animals_are_asked() -> None:
    found = asked_labels(table({"a": ["AVAL", "AVAR", ""], "b": ["AVAL", "AVAR", "RID"]}), "label")
    assert found.classes.tolist() == ["AVAL", "AVAR"]
    assert found.label.tolist() == ["AVAL", "AVAR", "", "AVAL", "AVAR", ""]
    assert found.dropped == ("RID",)
    assert found.animals == ("a", "b")


def test_sides_are_merged_where_there_are_two() -> None:
    names = ["AVAL", "AVAR", "AVL", "RIBL"]
    found = asked_labels(table({"a": names, "b": names}), "label", merge="[LR]$")
    assert found.classes.tolist() == ["AVA", "AVL", "RIBL"]
    assert found.merged == 2


def test_a_label_is_left_out_by_wildcard_and_by_confidence() -> None:
    units = table({"a": ["X", "Y", "Z?"], "b": ["X", "Y", "Z?"]}, [5, 5, 5, 5, 2, 5])
    assert asked_labels(units, "label", exclude=["*[?]"]).classes.tolist() == ["X", "Y"]
    with pytest.raises(UserError, match="1 of 2 labels occur in 2 or more animals"):
        asked_labels(units, "label", exclude=["Z*"], min_confidence=3)


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        ({"a": ["X", "Y"]}, {}, r"1 animal\(s\) with labels \(a\); expected 2 or more"),
        ({"a": ["X"], "b": ["Y"]}, {}, "0 of 2 labels occur in 2 or more animals"),
        ({"a": [""], "b": [""]}, {}, "these sessions have no labels at all"),
        (
            {"a": ["X"], "b": ["X"]},
            {"min_confidence": 2.0},
            "no labelled unit has a value in units/label_conf",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused(labels: dict, settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        asked_labels(table(labels), "label", **settings)


def test_a_missing_column_names_those_that_exist(animal: Callable[..., Path]) -> None:
    units = unit_table([Session(animal("a")), Session(animal("b", column="layer"))])
    assert set(units.columns) == {"region", "cell_type", "label", "layer"}
    with pytest.raises(UserError, match=r"units/depth; these sessions have cell_type, layer"):
        asked_labels(units, "depth")


def test_the_table_holds_what_the_file_says(animal: Callable[..., Path]) -> None:
    path = animal(
        "a",
        subject="m1",
        kinds=("bursty", "regular"),
        id=np.array(["u1", "u2"]),
        position=np.array([[1.0, 2.0], [3.0, 4.0]]),
        global_id=np.array([7, -1]),
    )
    units = unit_table([Session(path)])
    assert units.subject.tolist() == ["m1", "m1"]
    assert units.unit_id.tolist() == ["u1", "u2"]
    assert units.columns["cell_type"].tolist() == ["bursty", "regular"]
    np.testing.assert_array_equal(units.position, [[1, 2, np.nan], [3, 4, np.nan]])
    np.testing.assert_array_equal(units.global_id, [7, -1])
    np.testing.assert_allclose(units.rate, Session(path).event_counts / 60)
