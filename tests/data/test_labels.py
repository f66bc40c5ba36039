"""The budget of labels: exactly as many as asked for, of the training part and of decoded variables alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroformer.data import PARTS, Recording, SplitConfig
from neuroformer.session import TimeSeries
from neuroformer.settings.variables import LabelsConfig, VariableConfig

BIN_S = 0.1
VARIABLES = {
    "x": VariableConfig(),
    "y": VariableConfig(role="target"),
    "speed": VariableConfig(role="context"),
}


def series(values: np.ndarray) -> TimeSeries:
    times = (np.arange(len(values)) + 0.5) * BIN_S
    return TimeSeries(timestamps=times, values=values.astype(np.float32), kind="continuous")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from neuroformer.session import Events, SessionData, write_session

    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 600))
    values[0, rng.random(600) < 0.4] = np.nan
    values[1, rng.random(600) < 0.6] = np.nan
    values[:2, 100:130] = np.nan
    data = SessionData(
        session_id="a", subject_id="m", start=0.0, stop=60.0, n_units=1,
        events=Events(times=np.array([1.0]), units=np.array([0], np.int32)),
        intervals=np.array([[0.0, 20.0], [20.0, 41.3], [50.0, 60.0]]),
        behavior={name: series(v) for name, v in zip(VARIABLES, values, strict=True)},
    )  # fmt: skip
    return write_session(tmp_path_factory.mktemp("labels") / "a.h5", data)


@pytest.fixture(scope="module")
def make(path: Path) -> Callable[..., Recording]:
    def build(
        variables: dict[str, VariableConfig] | None = None, blocks: int = 1, **labels: Any
    ) -> Recording:
        return Recording(
            path,
            bin_s=BIN_S,
            split=SplitConfig(blocks=blocks),
            context_bins=5,
            variables=VARIABLES if variables is None else variables,
            labels=LabelsConfig(**labels),
        )

    return build


def labelled(recording: Recording, names: tuple[str, ...] = ("x", "y"), *, every: bool = False) -> np.ndarray:
    """(bins,) of the training part, one span after the other: whether any of the variables is known."""
    return np.concatenate(
        [
            np.any([recording.variable(n, span, all_labels=every).known for n in names], 0)
            for span in recording.part("train")
        ]
    )


@settings(max_examples=25)
@given(
    budget=st.one_of(
        st.builds(lambda x: {"minutes": x}, st.floats(0, 2)),
        st.builds(lambda x: {"fraction": x}, st.floats(0, 1)),
    ),
    start=st.sampled_from(["first", "random"]),
    seed=st.integers(0, 5),
    blocks=st.integers(1, 3),
)
def test_as_many_labels_are_used_as_asked_for(
    make: Callable[..., Recording], budget: dict[str, float], start: str, seed: int, blocks: int
) -> None:
    recording = make(start=start, seed=seed, blocks=blocks, **budget)
    used, there = labelled(recording), labelled(recording, every=True)
    total = int(there.sum())
    wanted = (
        round(budget["fraction"] * total) if "fraction" in budget else round(budget["minutes"] * 60 / BIN_S)
    )
    assert used.sum() == min(wanted, total)
    assert not (used & ~there).any()
    number = np.nonzero(used[there])[0]
    if len(number):  # one stretch of the known labels
        assert number[-1] - number[0] + 1 == len(number)
        assert start == "random" or number[0] == 0


def test_validation_test_and_context_keep_theirs(make: Callable[..., Recording]) -> None:
    few, every = make(minutes=0.1), make()
    for part in PARTS:
        for span in every.part(part):
            for name in VARIABLES:
                a, b = few.variable(name, span), every.variable(name, span)
                if name == "speed" or part != "train":
                    np.testing.assert_array_equal(a.known, b.known)
                    np.testing.assert_array_equal(a.values, b.values)
                assert not a.values[~a.known].any()
    assert labelled(few).sum() == 60 < labelled(every).sum()


def test_chunks_and_what_is_learned_of_a_variable_see_no_more_labels(make: Callable[..., Recording]) -> None:
    from neuroformer.data.variable_entries import learn_variable

    recording = make(minutes=0.1)
    used = [recording.variable("x", s) for s in recording.part("train")]
    values = np.concatenate([u.values[u.known] for u in used])
    assert learn_variable("x", VARIABLES["x"], [recording]).mean == pytest.approx((values.mean(),))
    for span, found in zip(recording.part("train"), used, strict=True):
        chunk = recording.chunk(span, 0).variables["x"]
        np.testing.assert_array_equal(chunk.known, found.known)
        np.testing.assert_array_equal(chunk.values, found.values)


def test_random_stretches_differ_from_seed_to_seed(make: Callable[..., Recording]) -> None:
    found = {labelled(make(minutes=0.1, start="random", seed=seed)).tobytes() for seed in range(4)}
    assert len(found) == 4


@pytest.mark.parametrize(
    "budget", [{"minutes": 1.0, "fraction": 0.5}, {"minutes": -1.0}, {"fraction": 1.5}, {"seed": -1}]
)
def test_budgets_that_make_no_sense_are_refused(budget: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"labels\.\w+.*expected"):
        LabelsConfig(**budget)
