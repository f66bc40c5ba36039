"""Three animals that walk along a track, each with place fields of its own; a model pretrained on two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuroformer.cli.config import build_config
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
