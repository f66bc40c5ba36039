import numpy as np
import pytest

from simulate.config import DriveConfig
from simulate.drive import SlowDrive


def test_drive_has_the_strength_the_time_constant_and_is_shared(rng):
    drive = SlowDrive(DriveConfig(n=2, time_constant_s=0.2, strength=0.7), n=6, dt=0.01, rng=rng)
    values = drive.advance(200_000)
    np.testing.assert_allclose(values.std(axis=0), 0.7, rtol=0.05)
    np.testing.assert_allclose(values.mean(axis=0), 0.0, atol=0.05)
    later = [np.corrcoef(values[:-20, j], values[20:, j])[0, 1] for j in range(6)]
    np.testing.assert_allclose(later, np.exp(-1), atol=0.05)  # after one time constant
    shared = np.linalg.eigvalsh(np.corrcoef(values.T))
    np.testing.assert_allclose(shared[:4], 0.0, atol=1e-9)  # six neurons, two dimensions


def test_pieces_make_the_same_drive_as_the_whole():
    def drive():
        return SlowDrive(DriveConfig(n=3), n=4, dt=0.005, rng=np.random.default_rng(1))

    whole, pieces = drive(), drive()
    joined = np.concatenate([pieces.advance(length) for length in (1, 10, 39)])
    np.testing.assert_allclose(joined, whole.advance(50), rtol=1e-12)


def test_drive_is_at_full_strength_from_the_first_step_on():
    first = [
        SlowDrive(DriveConfig(n=1, strength=2.0), n=1, dt=0.001, rng=np.random.default_rng(seed)).advance(1)[
            0
        ]
        for seed in range(500)
    ]
    assert np.std(first) == pytest.approx(2.0, rel=0.1)
