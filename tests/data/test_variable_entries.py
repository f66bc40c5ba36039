"""What a model keeps of a variable: from training labels alone, and the same after a checkpoint."""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroformer.data import DataConfig, RecordingsModule, Span, Vocabulary
from neuroformer.data.collate import collate
from neuroformer.errors import UserError
from neuroformer.session import TimeSeries
from neuroformer.settings.variables import VariableConfig

Write = Callable[..., Path]
TIMES = np.arange(0, 60, 0.1) + 0.05


@pytest.fixture
def write(write: Write) -> Write:
    """As everywhere, each time into a new file."""
    numbers = count()
    return lambda **session: write(f"s{next(numbers)}", **session)


def series(values: Any, **about: Any) -> TimeSeries:
    about = {"kind": "continuous"} | about
    return TimeSeries(timestamps=TIMES, values=np.asarray(values), **about)


def module(
    paths: list[Path], vocabulary: Vocabulary | None = None, **variables: VariableConfig
) -> RecordingsModule:
    config = DataConfig(
        sessions=[str(p) for p in paths], bin_s=0.1, chunk_s=4.0, warmup_s=0.8, variables=variables
    )
    return RecordingsModule(config=config, context_bins=5, batches_per_epoch=6, vocabulary=vocabulary)


def words(order: tuple[str, ...], values: list[str]) -> TimeSeries:
    stored = np.array([order.index(w) for w in values], np.int8)
    return series(stored, kind="categorical", labels=order)


def test_it_is_learned_from_the_training_part_of_sessions_that_have_it(
    write: Write, rng: np.random.Generator
) -> None:
    values = rng.gamma(2, 3, (600, 2)).astype(np.float32)
    values[450:] = 1e6  # validation and test
    values[rng.random(600) < 0.2] = np.nan
    files = [write(behavior={"x": series(values, unit="cm")}), write()]
    data = module(files, x=VariableConfig())
    entry = data.vocabulary.variables["x"]
    train = values[: data.recordings[0].part("train")[0].stop]
    train = train[np.isfinite(train).all(1)].astype(float)
    np.testing.assert_allclose(entry.mean, train.mean(0), rtol=1e-5)
    np.testing.assert_allclose(entry.scale, train.std(0), rtol=1e-5)
    np.testing.assert_allclose(
        [entry.lower, entry.upper], np.quantile(train, [0.005, 0.995], axis=0), rtol=1e-5
    )
    assert (entry.kind, entry.shape, entry.unit) == ("continuous", (2,), "cm")
    assert entry.interval_s == pytest.approx(0.1)
    limited = module(files, x=VariableConfig(limits=[0.0, 9.0])).vocabulary.variables["x"]
    assert (limited.lower, limited.upper) == ((0.0, 0.0), (9.0, 9.0))


def test_labels_of_all_sessions_are_joined_and_mean_the_same_in_each(
    write: Write, rng: np.random.Generator
) -> None:
    said = [
        list(rng.choice(order, 600)) for order in (("rest", "run"), ("run", "jump"), ("rest", "jump", "run"))
    ]
    orders = (("rest", "run"), ("run", "jump"), ("jump", "run", "rest"))
    files = [write(behavior={"x": words(o, v)}) for o, v in zip(orders, said, strict=True)]
    data = module(files, x=VariableConfig())
    labels = data.vocabulary.variables["x"].labels
    assert labels == ("rest", "run", "jump")
    for recording, values in zip(data.recordings, said, strict=True):
        span = recording.part("train")[0]
        found = recording.variable("x", span)
        assert [labels[k] for k in found.values] == values[span.start : span.stop]
    for batch in data.train_dataloader():
        assert int(batch.variables["x"].values.max()) <= 2


def test_a_session_without_the_variable_is_masked_in_a_batch(write: Write) -> None:
    film = np.zeros((600, 2, 2), np.uint8)
    files = [
        write(behavior={"x": series(np.arange(600.0))}, stimulus={"film": series(film, kind="frames")}),
        write(n_units=2),
    ]
    data = module(files, x=VariableConfig(), film=VariableConfig(source="stimulus", role="context"))
    seen = set()
    for batch in data.train_dataloader():
        for row, session in enumerate(batch.session.tolist()):
            seen.add(session)
            there = session == 0
            assert bool(batch.variables["x"].known[row].any()) == there
            assert bool(batch.frames["film"].known[row].any()) == there
            assert there or not batch.variables["x"].values[row].any()
    assert seen == {0, 1}


def test_bins_before_an_epoch_and_padding_are_unknown(write: Write) -> None:
    ramp = write(behavior={"x": series(np.arange(600.0))})
    data = module([ramp], x=VariableConfig())
    (recording,) = data.recordings
    chunks = [recording.chunk(Span(epoch=0, start=a, stop=b), 8) for a, b in ((3, 10), (50, 70))]
    x = collate(chunks, data.vocabulary).variables["x"]
    assert x.known.tolist() == [[False] * 5 + [True] * 10 + [False] * 13, [True] * 28]
    np.testing.assert_array_equal(x.values[0, :, 0], np.r_[np.zeros(5), np.arange(10), np.zeros(13)])
    np.testing.assert_array_equal(x.values[1, :, 0], np.arange(42, 70))


def test_entries_survive_a_checkpoint(write: Write, rng: np.random.Generator) -> None:
    trials = {
        "start": np.arange(0, 60, 2.0),
        "stop": np.arange(1, 61, 2.0),
        "side": np.array(["l", "r"] * 15),
    }
    path = write(
        behavior={
            "x": series(rng.normal(size=(600, 2)), unit="cm"),
            "turn": series(rng.uniform(0, 360, 600), period=360.0, unit="deg"),
        },
        stimulus={"film": series(rng.normal(size=(600, 4, 4, 2)).astype(np.float32), kind="frames")},
        trials=trials,
    )
    variables = {
        "x": VariableConfig(limits=[-1.0, 1.0], when="abs(x) < 3"),
        "turn": VariableConfig(role="target"),
        "side": VariableConfig(source="trials"),
        "film": VariableConfig(source="stimulus", role="context", horizon_s=1.0, encoder="patches"),
    }
    vocabulary = module([path], **variables).vocabulary
    state = json.loads(json.dumps(vocabulary.state()))
    assert Vocabulary.from_state(state).variables == vocabulary.variables
    assert Vocabulary.from_state(vocabulary.state()).state() == vocabulary.state()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"unit": "mm"}, "unit 'mm', .*'cm'"),
        ({"unit": "cm", "period": 3.0}, r"period 3\.0"),
        ({"kind": "categorical", "labels": ("a",), "values": np.zeros(600, np.int8)}, "kind 'categorical'"),
        ({"unit": "cm", "values": np.zeros((600, 2))}, r"shape \(2,\)"),
    ],
)
def test_sessions_that_mean_other_things_by_a_name_are_refused(
    write: Write, other: Any, message: str
) -> None:
    mine = write(behavior={"x": series(np.arange(600.0), unit="cm")})
    about = dict(other)
    theirs = write(behavior={"x": series(about.pop("values", np.arange(600.0)), **about)})
    with pytest.raises(UserError, match=rf"s1\.h5: 'x' has {message}"):
        module([mine, theirs], x=VariableConfig())
    known = module([mine], x=VariableConfig()).vocabulary
    with pytest.raises(UserError, match=rf"s1\.h5: 'x' has {message}"):
        module([theirs], known, x=VariableConfig())


def test_what_no_session_has_or_nothing_varies_in_is_refused(write: Write) -> None:
    path = write(behavior={"x": series(np.ones(600)), "gone": series(np.full(600, np.nan))})
    for name, message in (("y", "none of the sessions has behavior 'y'"), ("x", "one and the same value"),
                          ("gone", "no value is known in the training part")):  # fmt: skip
        with pytest.raises(UserError, match=message):
            module([path], **{name: VariableConfig()})
    first = write(behavior={"x": words(("a", "b"), ["a", "b"] * 300)})
    known = module([first], x=VariableConfig()).vocabulary
    more = write(behavior={"x": words(("a", "c"), ["a", "c"] * 300)})
    with pytest.raises(UserError, match="has the label 'c', the model knows a, b"):
        module([more], known, x=VariableConfig())


def test_limits_of_what_has_none_are_refused(write: Write, rng: np.random.Generator) -> None:
    turn = series(rng.uniform(0, 360, 600), period=360.0, unit="deg")
    path = write(behavior={"turn": turn, "side": words(("l", "r"), ["l", "r"] * 300)})
    for name, kind in (("turn", "circular"), ("side", "categorical")):
        with pytest.raises(
            UserError, match=rf"{name}.limits=\[0.0, 90.0\]: '{name}' is {kind} in .*leave them out"
        ):
            module([path], **{name: VariableConfig(limits=[0.0, 90.0])})
