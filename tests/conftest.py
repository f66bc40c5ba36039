"""What every test can ask for."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")
# Other work on the machine must not fail a test, and a failure must come back on the next run.
settings.register_profile("neuroformer", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("neuroformer")


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
