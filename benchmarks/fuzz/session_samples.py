"""Sound session files to be damaged: one with everything in it, one long enough for an index, one by h5py alone."""

from pathlib import Path

import h5py
import numpy as np

from neuroformer.session import Events, SessionData, TimeSeries, Truth, write_session


def write_samples(folder: Path) -> dict[str, bytes]:
    """The content of each sample by its name."""
    folder.mkdir(parents=True, exist_ok=True)
    full = write_session(folder / "full.h5", everything())
    long = write_session(folder / "long.h5", many_events())
    plain = write_by_h5py(folder / "plain.h5")
    return {path.stem: path.read_bytes() for path in (full, long, plain)}


def everything() -> SessionData:
    """A session of every part that there is."""
    rng = np.random.default_rng(1)
    n, clock = 4, 10.0 + np.arange(60) * 0.5
    heading = np.where(rng.random(60) < 0.25, np.nan, rng.uniform(0, 360, 60))
    return SessionData(
        session_id="mouse1_day2",
        subject_id="mouse1",
        species="Mus musculus",
        description="linear track, 2 µm",
        source="a sample",
        start=10.0,
        stop=70.0,
        n_units=n,
        events=Events(
            times=np.sort(rng.uniform(10.0, 70.0, 200)),
            units=rng.integers(0, n, 200).astype(np.int32),
            amplitudes=rng.random(200).astype(np.float32),
        ),
        units={
            "id": np.array(["a1", "b2", "é3", "d4"]),
            "region": np.array(["CA1", "CA1", "CA3", ""]),
            "position": rng.random((n, 3)),
            "global_id": np.array([7, -1, 3, 4]),
            "depth_um": rng.random(n),
        },
        traces=TimeSeries(timestamps=clock, values=rng.random((60, n), dtype=np.float32), kind="continuous"),
        stimulus={
            "movie": TimeSeries(
                timestamps=clock, values=rng.integers(0, 255, (60, 6, 5), dtype=np.uint8), kind="frames"
            )
        },
        behavior={
            "heading": TimeSeries(
                timestamps=clock, values=heading, kind="continuous", unit="deg", period=360.0
            ),
            "side": TimeSeries(
                timestamps=clock, values=rng.integers(-1, 2, 60), kind="categorical", labels=("left", "right")
            ),
        },
        trials={
            "start": np.array([12.0, 30.0]),
            "stop": np.array([20.0, 41.5]),
            "outcome": np.array(["hit", "miss"]),
        },
        intervals=np.array([[10.0, 30.0], [35.0, 70.0]]),
        truth=Truth(
            weights=rng.normal(size=(n, n)).astype(np.float32),
            delays=rng.random((n, n)).astype(np.float32),
            log_likelihood=-rng.random((6, n)),
            block_starts=10.0 + 10.0 * np.arange(6),
            block_s=10.0,
            dt=0.001,
            emission="poisson",
            hidden=2,
            extra={"drive": rng.random(9), "names": np.array(["x", "y"])},
        ),
    )


def many_events() -> SessionData:
    """A session with several strides of the index, and nothing beside the events."""
    rng = np.random.default_rng(2)
    events = Events(
        times=np.sort(rng.uniform(0.0, 100.0, 20_000)), units=rng.integers(0, 9, 20_000).astype(np.int32)
    )
    return SessionData(session_id="long", subject_id="rat", start=0.0, stop=100.0, n_units=10, events=events)


def write_by_h5py(path: Path) -> Path:
    """A file as docs/session-file.md shows it to authors of other tools, in the oldest format of HDF5."""
    times = np.sort(np.random.default_rng(3).uniform(0, 10, 40))
    units = (np.arange(40) % 3).astype(np.int32)
    with h5py.File(path, "w") as file:
        file.attrs.update(
            format="neuroformer-session",
            schema_version="1.0",
            session_id="day1",
            subject_id="mouse1",
            species="",
            description="",
            source="",
            start=0.0,
            stop=10.0,
            n_units=3,
        )
        file["events/times"] = times
        file["events/units"] = units
        file["events/counts"] = np.bincount(units, minlength=3).astype(np.int64)
        file["events/index"] = times[::4096]
        file["units/region"] = ["CA1", "CA3", ""]
        speed = file.create_group("behavior/speed")
        speed.attrs.update(kind="continuous", unit="cm/s")
        speed["timestamps"] = np.arange(0, 10, 0.1)
        speed["values"] = np.ones(100)
        speed["index"] = np.arange(0, 10, 0.1)[::4096]
    return path
