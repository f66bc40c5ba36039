"""A session with everything in it, and ways to store it."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from neuroformer.session import Events, SessionData, TimeSeries, Truth, write_session
from neuroformer.session.layout import Layout

N_UNITS = 4


def make_session(**changes: object) -> SessionData:
    """A small session of every part there is, with `changes` to its fields."""
    rng = np.random.default_rng(1)
    times = np.sort(rng.uniform(10.0, 70.0, 300))
    clock = 10.0 + np.arange(120) * 0.5
    fields: dict[str, object] = {
        "session_id": "mouse1_day2",
        "subject_id": "mouse1",
        "species": "Mus musculus",
        "description": "linear track, 2 µm",
        "source": "made by a test",
        "start": 10.0,
        "stop": 70.0,
        "n_units": N_UNITS,
        "events": Events(
            times=times,
            units=rng.integers(0, N_UNITS, 300).astype(np.int32),
            amplitudes=rng.random(300).astype(np.float32),
        ),
        "units": {
            "id": np.array(["a1", "b2", "é3", "d4"]),
            "region": np.array(["CA1", "CA1", "CA3", ""]),
            "cell_type": np.array(["exc", "exc", "inh", "exc"]),
            "position": rng.random((N_UNITS, 3)),
            "global_id": np.array([7, -1, 3, 4]),
            "depth_um": rng.random(N_UNITS),
        },
        "traces": TimeSeries(
            timestamps=clock, values=rng.random((120, N_UNITS), dtype=np.float32), kind="continuous"
        ),
        "stimulus": {
            "movie": TimeSeries(
                timestamps=clock, values=rng.integers(0, 255, (120, 6, 5), dtype=np.uint8), kind="frames"
            )
        },
        "behavior": {
            "heading": TimeSeries(
                timestamps=clock,
                values=np.where(rng.random(120) < 0.25, np.nan, rng.uniform(0, 360, 120)),
                kind="continuous",
                unit="deg",
                period=360.0,
            ),
            "side": TimeSeries(
                timestamps=clock,
                values=rng.integers(-1, 2, 120),
                kind="categorical",
                labels=("left", "right"),
            ),
        },
        "trials": {
            "start": np.array([12.0, 30.0]),
            "stop": np.array([20.0, 41.5]),
            "outcome": np.array(["hit", "miss"]),
        },
        "intervals": np.array([[10.0, 30.0], [35.0, 70.0]]),
        "truth": Truth(
            weights=rng.normal(size=(N_UNITS, N_UNITS)).astype(np.float32),
            delays=rng.random((N_UNITS, N_UNITS)).astype(np.float32),
            log_likelihood=-rng.random((6, N_UNITS)),
            block_starts=10.0 + 10.0 * np.arange(6),
            block_s=10.0,
            dt=0.001,
            emission="poisson",
            hidden=2,
            extra={"drive": rng.random(9), "names": np.array(["x", "y"])},
        ),
    }
    return SessionData(**fields | changes)  # type: ignore[arg-type]


def store_unchecked(path: Path, data: SessionData) -> Path:
    """Store a session as it is, faults and all."""
    layout = Layout.from_data(data)
    with h5py.File(path, "w") as file:
        file.attrs.update({"format": "neuroformer-session", "schema_version": "1.0"})
        for group, attributes in layout.attributes.items():
            file.require_group(f"/{group}").attrs.update(attributes)
        for name, array in layout.arrays.items():
            if array.dtype.kind == "U":
                file.create_dataset(name, data=array.astype(object), dtype=h5py.string_dtype())
            else:
                file[name] = array
    return path


@pytest.fixture
def make() -> Callable[..., SessionData]:
    return make_session


@pytest.fixture
def store() -> Callable[[Path, SessionData], Path]:
    return store_unchecked


@pytest.fixture
def session_file(tmp_path: Path) -> Path:
    return write_session(tmp_path / "session.h5", make_session())
