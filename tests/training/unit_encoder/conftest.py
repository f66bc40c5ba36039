"""Three animals on a ring of behaviour, and a model of two of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuroformer.cli.config import build_config
from neuroformer.session import Events, SessionData, TimeSeries, write_session
from neuroformer.settings.training import PretrainConfig
from neuroformer.training.run import pretrain

BIN_S = 0.1


def animal(name: str, *, seed: int, units: int = 10, seconds: float = 120.0) -> SessionData:
    """Units that follow a slow common drive, each to its own degree, and are tuned to x."""
    rng = np.random.default_rng(seed)
    time = np.arange(0, seconds, BIN_S)
    x = 50 - 50 * np.cos(2 * np.pi * time / 15)
    drive = np.convolve(rng.normal(size=len(time) + 30), np.ones(30) / 30**0.5, "valid")[: len(time)]
    degree, centre = np.linspace(0.2, 1.2, units), rng.uniform(0, 100, units)
    log_rate = np.log(3) + degree * drive[:, None] + np.exp(-0.5 * ((x[:, None] - centre) / 15) ** 2)
    counts = rng.poisson(np.exp(np.minimum(log_rate, 4)) * BIN_S)
    at, unit = np.nonzero(counts)
    n = counts[at, unit]
    times = (np.repeat(at, n) + rng.uniform(0.05, 0.95, n.sum())) * BIN_S
    order = np.argsort(times)
    return SessionData(
        session_id=name, subject_id=name, start=0.0, stop=seconds, n_units=units,
        events=Events(times=times[order], units=np.repeat(unit, n)[order].astype(np.int32)),
        behavior={"x": TimeSeries(timestamps=time + BIN_S / 2, values=x, kind="continuous", unit="cm")},
    )  # fmt: skip


WORDS = (
    f"data.bin_s={BIN_S}", "data.chunk_s=10", "data.warmup_s=1", "data.batch_size=4", "data.variables.x.grid=8",
    "data.variables.x.functions=6", "model.coupling.window_s=0.2", "model.history.window_s=0.3",
    "model.history.functions=2", "model.trunk.layers=0", "model.trunk.width=6", "model.trunk.heads=1",
    "model.trunk.state=4", "model.trunk.time_constants_s=[0.5,2]", "model.context.width=8", "model.context.heads=2",
    "model.context.features=6", "model.readout.width=8", "model.readout.heads=2",
    "model.readout.time_constants_s=[0.3]", "optim.lr=0.02", "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
)  # fmt: skip


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sessions old_0.h5, old_1.h5 and new.h5."""
    path = tmp_path_factory.mktemp("ring")
    for seed, name in enumerate(("old_0", "old_1", "new")):
        write_session(path / f"{name}.h5", animal(name, seed=seed))
    return path


@pytest.fixture(scope="session")
def run(folder: Path) -> Path:
    """A model of the two old animals."""
    words = [f"data.sessions=[{folder}/old_*.h5]", f"out={folder / 'run'}", "optim.steps=30", "val_every=30"]
    pretrain(build_config(PretrainConfig, words=[*words, *WORDS]))
    return folder / "run"


@pytest.fixture(scope="session")
def low_rank(folder: Path) -> Path:
    """The same with low-rank coupling and nothing but events."""
    words = [
        f"data.sessions=[{folder}/old_*.h5]",
        f"out={folder / 'low_rank'}",
        "optim.steps=20",
        "val_every=20",
    ]
    rest = [word for word in WORDS if not word.startswith("data.variables")]
    pretrain(build_config(PretrainConfig, words=[*words, *rest, "model.coupling.rank=2"]))
    return folder / "low_rank"
