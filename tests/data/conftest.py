"""Small session files and recordings on the token clock."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neuroformer.data import Recording, SplitConfig
from neuroformer.session import Events, SessionData, write_session

BIN_S = 0.1


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a session of uniformly random events, `rate` Hz a unit."""

    def write_file(
        name: str = "a",
        *,
        seconds: float = 60.0,
        n_units: int = 3,
        rate: float = 2.0,
        amplitudes: bool = False,
        seed: int = 0,
        **changes: object,
    ) -> Path:
        rng = np.random.default_rng(seed)
        n = rng.poisson(seconds * n_units * rate)
        events = Events(
            times=np.sort(rng.uniform(0, seconds, n)),
            units=rng.integers(0, n_units, n).astype(np.int32),
            amplitudes=rng.gamma(2.0, size=n).astype(np.float32) if amplitudes else None,
        )
        fields: dict[str, object] = {
            "session_id": name,
            "subject_id": "mouse",
            "start": 0.0,
            "stop": seconds,
            "n_units": n_units,
            "events": events,
        }
        return write_session(tmp_path / f"{name}.h5", SessionData(**fields | changes))  # type: ignore[arg-type]

    return write_file


@pytest.fixture
def record(write: Callable[..., Path]) -> Callable[..., Recording]:
    """A session file as a `Recording` with bins of 0.1 s."""

    def make(
        name: str = "a", *, split: SplitConfig | None = None, context: int = 5, **session: object
    ) -> Recording:
        path = write(name, **session)
        return Recording(path, bin_s=BIN_S, split=split or SplitConfig(), context_bins=context)

    return make
