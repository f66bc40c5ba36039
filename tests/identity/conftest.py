"""Animals made by hand, whose units of one kind behave alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroformer.data import Recording, SplitConfig
from neuroformer.session import Events, SessionData, TimeSeries, write_session


def make_session(
    folder: Path,
    name: str,
    *,
    subject: str = "",
    seed: int = 0,
    kinds: tuple[str, ...] = ("bursty", "regular") * 5,
    column: str | None = "cell_type",
    traces: bool = False,
    **more: Any,
) -> Path:
    """60 s of bursty and of regular units at the same rate, with behaviour `speed` and `turn`."""
    rng = np.random.default_rng(seed)
    times, units = [], []
    for unit, kind in enumerate(kinds):
        if kind == "bursty":
            at = (rng.uniform(0, 59, 60)[:, None] + [0, 0.02, 0.04]).ravel()
        else:
            at = np.arange(0.1, 59.9, 1 / 3) + rng.normal(0, 0.01, 180)[: len(np.arange(0.1, 59.9, 1 / 3))]
        times.append(at)
        units.append(np.full(len(at), unit))
    time, unit = np.concatenate(times), np.concatenate(units)
    order = np.argsort(time)
    at = np.arange(0, 60, 0.1)
    values = {f"units_{k}": v for k, v in more.items()}
    columns = {} if column is None else {column: np.array(kinds)}
    data = SessionData(
        session_id=name,
        subject_id=subject or name,
        start=0.0,
        stop=60.0,
        n_units=len(kinds),
        events=Events(times=time[order], units=unit[order].astype(np.int32)),
        units=columns | {k.removeprefix("units_"): v for k, v in values.items()},
        behavior={
            "speed": TimeSeries(timestamps=at, values=rng.normal(size=len(at)), kind="continuous"),
            "turn": TimeSeries(
                timestamps=at,
                values=rng.integers(0, 2, len(at)).astype(np.int16),
                kind="categorical",
                labels=("left", "right"),
            ),
        },
        traces=TimeSeries(timestamps=at, values=rng.normal(size=(len(at), len(kinds))), kind="continuous")
        if traces
        else None,
    )
    return write_session(folder / f"{name}.h5", data)


def open_recording(path: Path, *, bin_s: float = 0.01) -> Recording:
    """With its usual split."""
    return Recording(path, bin_s=bin_s, split=SplitConfig(), context_bins=10)


@pytest.fixture
def animal(tmp_path: Path) -> Callable[..., Path]:
    """`animal(name, …)`: session file of an animal with bursty and regular units."""
    return lambda name, **settings: make_session(tmp_path, name, **settings)


@pytest.fixture(scope="session")
def recording() -> Callable[..., Recording]:
    """`recording(path)`: a session file with its usual split."""
    return open_recording


@pytest.fixture(scope="session")
def identity_run(tmp_path_factory: pytest.TempPathFactory, train: Callable[..., Any]) -> Path:
    """A run of a few steps on three animals; not to be written into (give another `out`)."""
    folder = tmp_path_factory.mktemp("identity")
    for k in range(3):
        make_session(folder, f"a{k}", seed=k)
    train(folder / "run", Path(f"{folder}/a*.h5"), "data.bin_s=0.01", "optim.steps=2", "val_every=1")
    return folder / "run"
