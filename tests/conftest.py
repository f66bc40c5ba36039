"""What every test can ask for."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")
# Before torch is there: several tests fork, and the threads that OpenMP has started by then are not in the fork.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Other work on the machine must not fail a test, and a failure must come back on the next run.
settings.register_profile("neuroformer", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("neuroformer")
# A job in the background is started with Ctrl-C ignored, and tests press it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator, new for each test."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings: `NEUROFORMER_DATA`, or `shared/data` next to the checkout."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("NEUROFORMER_DATA", beside))
    if not folder.is_dir():
        pytest.skip("no real recordings here: name their folder in NEUROFORMER_DATA")
    return folder


TINY = (
    "data.chunk_s=0.5",
    "data.warmup_s=0.2",
    "data.batch_size=8",
    "model.trunk.width=8",
    "model.trunk.heads=2",
    "model.trunk.window_s=0.05",
    "model.trunk.state=8",
    "model.trunk.time_constants_s=[0.02,0.05]",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
)
"""Settings of a model that trains in a few seconds."""


@pytest.fixture(scope="session")
def circuit(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`circuit(name, **settings)`: session file of a simulated circuit of 6 units and 40 s, each made once."""
    from neuroformer.session import write_session
    from simulate import CircuitConfig, simulate_circuit, to_session

    folder = tmp_path_factory.mktemp("circuits")

    def make(name: str = "a", **settings: Any) -> Path:
        path = folder / f"{name}.h5"
        if not path.exists():
            made = simulate_circuit(CircuitConfig(**{"units": 6, "duration_s": 40.0} | settings))
            write_session(path, to_session(made, session_id=name))
        return path

    return make


@pytest.fixture(scope="session")
def train() -> Callable[..., dict[str, Any]]:
    """`train(out, session, 'key=value', …)` pretrains a tiny model and returns the content of metrics.json."""
    from neuroformer.cli.config import build_config
    from neuroformer.settings.training import PretrainConfig
    from neuroformer.training.run import pretrain

    def run(out: Path, session: Path, *words: str) -> dict[str, Any]:
        steps = ("optim.steps=8", "val_every=2")
        arguments = [f"data.sessions=[{session}]", f"out={out}", *TINY, *steps, *words]
        return pretrain(build_config(PretrainConfig, words=arguments))

    return run


@pytest.fixture(scope="session")
def trained(
    circuit: Callable[..., Path],
    train: Callable[..., dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A finished run of 60 steps on circuit `a`; not to be written into (copy it, or give another `out`)."""
    folder = tmp_path_factory.mktemp("runs") / "a"
    train(folder, circuit(), "optim.steps=60", "val_every=20")
    return folder
