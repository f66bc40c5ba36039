import json

import numpy as np
import pytest

from neuroformer.data import SessionEntry, Vocabulary
from neuroformer.errors import UserError


def make_entry(name: str, n_units: int, *, calcium: bool = False) -> SessionEntry:
    levels = {
        "level_edges": np.array([1.0, 2.5]),
        "level_amplitudes": np.array([0.5, 2.0, 3.0]),
        "level_counts": np.array([10, 20, 30]),
    }
    return SessionEntry(
        session_id=name,
        n_units=n_units,
        train_counts=np.arange(n_units) * 7,
        train_bins=1000,
        unit_ids=tuple(f"{name}-{k}" for k in range(n_units)),
        **(levels if calcium else {}),
    )


@pytest.fixture
def vocabulary() -> Vocabulary:
    vocabulary = Vocabulary(bin_s=0.005)
    vocabulary.add(make_entry("mouse", 4))
    vocabulary.add(make_entry("fish", 3, calcium=True))
    return vocabulary


def test_survives_json(vocabulary: Vocabulary) -> None:
    back = Vocabulary.from_state(json.loads(json.dumps(vocabulary.state())))
    assert back.state() == vocabulary.state()
    assert back.bin_s == 0.005
    assert back.n_rows == 7
    for name in ("mouse", "fish"):
        a, b = vocabulary[name], back[name]
        np.testing.assert_array_equal(a.train_counts, b.train_counts)
        np.testing.assert_array_equal(a.level_edges, b.level_edges)
        np.testing.assert_array_equal(a.train_rate, b.train_rate)
        assert (a.unit_ids, a.n_levels) == (b.unit_ids, b.n_levels)
        assert (back.index(name), back.offset(name)) == (vocabulary.index(name), vocabulary.offset(name))


def test_units_of_a_session_have_rows_of_their_own(vocabulary: Vocabulary) -> None:
    assert [(e.session_id, vocabulary.index(e.session_id)) for e in vocabulary] == [("mouse", 0), ("fish", 1)]
    assert (vocabulary.offset("mouse"), vocabulary.offset("fish"), vocabulary.n_rows) == (0, 4, 7)
    assert len(vocabulary) == 2


def test_growth_moves_no_row(vocabulary: Vocabulary) -> None:
    before = {
        e.session_id: (vocabulary.index(e.session_id), vocabulary.offset(e.session_id)) for e in vocabulary
    }
    state = vocabulary.state()
    vocabulary.add(make_entry("ape", 50))
    assert {name: (vocabulary.index(name), vocabulary.offset(name)) for name in before} == before
    assert (vocabulary.index("ape"), vocabulary.offset("ape"), vocabulary.n_rows) == (2, 7, 57)
    assert vocabulary.state()["sessions"][:2] == state["sessions"]


def test_silent_unit_has_a_rate_above_zero() -> None:
    np.testing.assert_allclose(make_entry("a", 3).train_rate, [0.5e-3, 7e-3, 14e-3])


def test_levels_are_the_most_of_any_session(vocabulary: Vocabulary) -> None:
    assert vocabulary.n_levels == 3
    assert (vocabulary["mouse"].n_levels, vocabulary["fish"].n_levels) == (1, 3)
    assert Vocabulary(bin_s=1.0).n_levels == 1


def test_a_session_cannot_be_added_twice(vocabulary: Vocabulary) -> None:
    with pytest.raises(UserError, match="session 'fish' is in the vocabulary already"):
        vocabulary.add(make_entry("fish", 5))
    assert vocabulary.n_rows == 7


def test_unknown_session_is_refused_with_the_known_and_the_cure(vocabulary: Vocabulary) -> None:
    assert "rat" not in vocabulary
    for look_up in (vocabulary.__getitem__, vocabulary.index, vocabulary.offset):
        with pytest.raises(UserError, match=r"'rat' is not in .*knows mouse, fish\).*finetune\.py"):
            look_up("rat")
    for k in range(9):
        vocabulary.add(make_entry(f"s{k}", 1))
    with pytest.raises(UserError, match="knows mouse, fish, s0, s1, s2, …"):
        vocabulary["rat"]
