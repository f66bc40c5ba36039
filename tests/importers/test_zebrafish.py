"""Whole-brain files of fish: ΔF/F with tail angles, as the public description has them."""

from __future__ import annotations

import resource
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from neuroformer.importers import import_arrays, load_mapping
from neuroformer.session import Session, validate_file, write_session

MAPPING = Path(__file__).parents[2] / "configs" / "convert" / "zebrafish.yaml"


def arrays(neurons: int, frames: int, points: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    dff = 0.05 * rng.standard_normal((frames, neurons), dtype=np.float32)
    dff += (rng.random((frames, neurons), dtype=np.float32) < 0.02) * np.float32(0.5)
    return {"dff": dff, "tail_angle": rng.normal(0, 20, (frames, points))}


def write(path: Path, content: dict[str, np.ndarray]) -> None:
    if path.suffix == ".npz":
        np.savez(path, **content)
    elif path.suffix == ".mat":
        scipy.io.savemat(path, content)
    else:
        with h5py.File(path, "w") as file:
            for name, value in content.items():
                file[name] = value


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".h5"])
@pytest.mark.parametrize("points", [1, 6])
def test_a_small_fish_of_each_format(suffix: str, points: int, tmp_path: Path) -> None:
    pytest.importorskip("oasis", reason="oasis is not installed: extra calcium")
    content = arrays(12, 150, points)
    write(tmp_path / f"fish3{suffix}", content)
    imported = import_arrays(tmp_path / f"fish3{suffix}", load_mapping(MAPPING))
    path = write_session(tmp_path / "out" / "fish3.h5", imported.data)
    assert validate_file(path) == []
    with Session(path) as session:
        assert (session.session_id, session.n_units) == ("fish3", 12)
        assert session.duration == pytest.approx(150 / 1.1)
    data = imported.data
    assert data.traces is not None
    np.testing.assert_array_equal(data.traces.values, content["dff"])
    tail = data.behavior["tail_angle"]
    assert (tail.unit, len(tail)) == ("deg", 150)
    np.testing.assert_allclose(np.squeeze(tail.values), np.squeeze(content["tail_angle"]), rtol=1e-6)
    np.testing.assert_allclose(tail.timestamps, data.traces.timestamps)
    assert len(data.events) > 20


@pytest.mark.slow  # finds the events of 10,000 traces
def test_a_fish_of_full_size(tmp_path: Path) -> None:
    pytest.importorskip("oasis", reason="oasis is not installed: extra calcium")
    write(tmp_path / "fish.npz", arrays(10_000, 3_000, 6))
    imported = import_arrays(tmp_path / "fish.npz", load_mapping(MAPPING))
    path = write_session(tmp_path / "fish.h5", imported.data)
    with Session(path) as session:
        assert session.n_units == 10_000
    assert imported.data.traces is not None
    assert imported.data.traces.values.shape == (3_000, 10_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 6e6  # kB
