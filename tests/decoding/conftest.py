"""Two small worlds: animals that walk along a track, and one with a place, a heading and a side to choose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuroformer.cli.command import run_command
from neuroformer.cli.config import build_config
from neuroformer.cli.pretrain import COMMAND as PRETRAIN
from neuroformer.session import Events, SessionData, TimeSeries, write_session
from neuroformer.settings.training import PretrainConfig
from neuroformer.training.run import pretrain

BIN_S = 0.1


def place_session(path: Path, *, seed: int, units: int = 30, duration_s: float = 160.0) -> Path:
    """A walk to and fro along 100 cm, and units with one place field each."""
    rng = np.random.default_rng(seed)
    time = np.arange(0, duration_s, BIN_S)
    phase = np.cumsum(rng.uniform(0.6, 1.4, len(time)) * BIN_S / 8)  # a lap takes 16 s
    position = 100 * np.abs((phase % 2) - 1)
    field = rng.uniform(0, 100, units)
    rate = 0.2 + 12 * np.exp(-0.5 * ((position[:, None] - field) / 8) ** 2)  # (T, N)
    counts = rng.poisson(rate * BIN_S)
    bins, unit = np.nonzero(counts)
    repeats = counts[bins, unit]
    bins, unit = np.repeat(bins, repeats), np.repeat(unit, repeats)
    times = (bins + rng.uniform(0.01, 0.99, len(bins))) * BIN_S
    order = np.argsort(times)
    speed = np.gradient(position, BIN_S)
    session = SessionData(
        session_id=path.stem,
        subject_id=path.stem,
        start=0.0,
        stop=duration_s,
        n_units=units,
        events=Events(times=times[order], units=unit[order].astype(np.int32)),
        behavior={
            "position": TimeSeries(timestamps=time + 0.05, values=position, kind="continuous", unit="cm"),
            "velocity": TimeSeries(timestamps=time + 0.05, values=speed, kind="continuous", unit="cm/s"),
        },
    )
    write_session(path, session)
    return path


@pytest.fixture(scope="session")
def place_animals(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("place")
    return [place_session(folder / f"animal_{k}.h5", seed=k) for k in range(3)]


@pytest.fixture(scope="session")
def place_run(place_animals: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("place_run") / "run"
    words = [
        f"data.sessions=[{place_animals[0]},{place_animals[1]}]", f"data.bin_s={BIN_S}", "data.chunk_s=10",
        "data.warmup_s=1", "data.batch_size=4", "data.variables.position.grid=12",
        "data.variables.motion.series=velocity", "data.variables.motion.cuts=[0]",
        "model.coupling.window_s=0.2", "model.history.window_s=0.2", "model.history.functions=2",
        "model.trunk.layers=0", "model.trunk.width=8", "model.trunk.heads=2", "model.trunk.state=4",
        "model.trunk.time_constants_s=[0.5]", "model.context.width=32", "model.context.features=12",
        "model.readout.width=16", "model.readout.time_constants_s=[0.3]", "optim.steps=40", "optim.lr=0.02",
        "val_every=20", f"out={out}", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false",
    ]  # fmt: skip
    pretrain(build_config(PretrainConfig, words=words))
    return out


def animal(name: str, *, seconds: float = 160.0, seed: int = 0) -> SessionData:
    """Eight units tuned to a place in [0, 100) cm, two of them also to the side of the trial."""
    rng = np.random.default_rng(seed)
    step = 0.02
    time = np.arange(0, seconds, step)
    place = 50 - 48 * np.cos(2 * np.pi * time / 16)
    speed = np.gradient(place, step)
    heading = (20 * time) % 360
    start = np.arange(1.0, seconds - 4, 4.0)
    side = rng.integers(0, 2, len(start))
    trial = np.clip(np.searchsorted(start, time, side="right") - 1, 0, None)
    right = (side[trial] == 1) & (time >= start[trial]) & (time < start[trial] + 3)
    centre = np.linspace(0, 100, 8)
    rate = 1 + 40 * np.exp(-0.5 * ((place[:, None] - centre) / 12) ** 2)
    rate[:, :2] *= np.where(right, 4.0, 1.0)[:, None]
    counts = rng.poisson(rate * step)
    at, unit = np.nonzero(counts)
    n = counts[at, unit]
    times = np.repeat(time[at], n) + rng.random(n.sum()) * step * 0.999
    order = np.argsort(times, kind="stable")

    def series(values: np.ndarray, unit: str, period: float | None = None) -> TimeSeries:
        return TimeSeries(timestamps=time, values=values, kind="continuous", unit=unit, period=period)

    return SessionData(
        session_id=name, subject_id=name, start=0.0, stop=seconds, n_units=8,
        events=Events(times=times[order], units=np.repeat(unit, n)[order].astype(np.int32)),
        behavior={
            "place": series(place, "cm"), "speed": series(speed, "cm/s"), "heading": series(heading, "deg", 360.0)
        },
        trials={"start": start, "stop": start + 3.0, "side": np.where(side, "right", "left").astype(object)},
    )  # fmt: skip


@pytest.fixture(scope="session")
def decoded_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two animals: place inverted with the side, heading read out; not to be written into."""
    folder = tmp_path_factory.mktemp("behaving")
    for seed, name in enumerate(("a", "b")):
        write_session(folder / f"{name}.h5", animal(name, seed=seed))
    words = [
        f"data.sessions=[{folder}/*.h5]", f"out={folder / 'run'}", "data.bin_s=0.1", "data.chunk_s=8",
        "data.warmup_s=0.5", "data.batch_size=4", "data.variables.place.grid=10", "data.variables.place.functions=6",
        "data.variables.heading.role=target", "data.variables.side.source=trials", "data.split.val=0.2",
        "data.split.test=0.25", "model.coupling.window_s=0.1", "model.history.window_s=0.2", "model.trunk.layers=0",
        "model.trunk.width=8", "model.trunk.heads=2", "model.trunk.state=4", "model.trunk.time_constants_s=[0.2]",
        "model.context.width=12", "model.context.features=8", "model.context.heads=2", "model.readout.width=8",
        "model.readout.heads=2", "model.readout.time_constants_s=[0.2]", "optim.steps=60", "optim.lr=0.02",
        "val_every=30", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false",
    ]  # fmt: skip
    assert run_command(PRETRAIN, words) == 0
    return folder / "run"
