from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from neuroformer.errors import UserError
from neuroformer.importers.array_file import ArrayFile


def test_npz_gives_arrays_text_and_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, times=np.arange(3.0), names=np.array(["AVAL", ""]), fs=20, raw=np.array([b"x"]))
    with ArrayFile(path) as file:
        assert file.keys == ["times", "names", "fs", "raw"]
        np.testing.assert_array_equal(file.array("times", "t"), [0, 1, 2])
        assert file.array("names", "n").tolist() == ["AVAL", ""]
        assert file.array("raw", "n").tolist() == ["x"]
        assert file.number("fs", "clock.rate") == 20.0
        assert file.number(5, "clock.rate") == 5.0


def test_matlab_structures_cells_and_vectors(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    spikes = np.empty((1, 2), dtype=object)
    spikes[0, 0], spikes[0, 1] = np.array([[0.1, 0.2]]), np.array([[0.3]])
    units = np.zeros((1, 2), dtype=[("ts", object), ("area", object)])
    units["ts"][0, 0], units["ts"][0, 1] = np.array([[1.0], [2.0]]), np.array([[3.0]])
    units["area"][0, 0], units["area"][0, 1] = "CA1", "CA3"
    scipy.io.savemat(path, {"fs": 30.0, "spikes": spikes, "track": {"x": np.arange(4.0)}, "units": units})
    with ArrayFile(path) as file:
        assert set(file.keys) == {"fs", "spikes", "track/x", "units/ts", "units/area"}
        assert [part.tolist() for part in file.read("spikes", "s")] == [[0.1, 0.2], [0.3]]
        assert [part.tolist() for part in file.read("units/ts", "s")] == [[1.0, 2.0], [3.0]]
        assert file.array("units/area", "s").tolist() == ["CA1", "CA3"]
        assert file.vector("track/x", "s").tolist() == [0, 1, 2, 3]
        assert file.number("fs", "s") == 30.0


def test_matlab_73_is_read_with_columns_first_and_cells_by_reference(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["m"] = np.arange(6.0).reshape(3, 2)  # MATLAB's 2 × 3
        refs = file.create_group("#refs#")
        refs["a"], refs["b"] = np.array([[0.5, 0.75]]), np.array([[1.5]])
        cells = file.create_dataset("s", (2, 1), dtype=h5py.ref_dtype)
        cells[0, 0], cells[1, 0] = refs["a"].ref, refs["b"].ref
        cells.attrs["MATLAB_class"] = np.bytes_("cell")
        file["name"] = np.array([[ord("h")], [ord("i")]], dtype=np.uint16)
        file["name"].attrs["MATLAB_class"] = np.bytes_("char")
        file["none"] = np.array([0, 0], dtype=np.uint64)
        file["none"].attrs["MATLAB_empty"] = 1
    with ArrayFile(path) as file:
        assert set(file.keys) == {"m", "s", "name", "none"}
        assert file.array("m", "m").shape == (2, 3)
        assert [part.tolist() for part in file.read("s", "s")] == [[0.5, 0.75], [1.5]]
        assert file.array("name", "n").tolist() == ["hi"]
        assert file.array("none", "n").size == 0


def test_hdf5_groups_and_ragged_datasets(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["units/unit_10"], file["units/unit_2"] = [1.0], [2.0, 3.0]
        ragged = file.create_dataset("spikes", (2,), dtype=h5py.vlen_dtype(np.float64))
        ragged[0], ragged[1] = np.array([0.5]), np.array([1.0, 2.0])
        file["names"] = ["left", "right"]
    with ArrayFile(path) as file:
        assert [part.tolist() for part in file.matching("units/unit_*", "k")] == [[2.0, 3.0], [1.0]]
        assert [part.tolist() for part in file.read("spikes", "k")] == [[0.5], [1.0, 2.0]]
        assert file.array("names", "k").tolist() == ["left", "right"]


def test_missing_key_names_the_nearest_and_all_others(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, event_frame=[1], event_unit=[0])
    with ArrayFile(path) as file, pytest.raises(UserError) as error:
        file.array("event_frames", "events.frame")
    assert "events.frame: no array 'event_frames'" in str(error.value)
    assert "did you mean 'event_frame'? It has event_frame, event_unit" in str(error.value)


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.mkdir, (tmp_path / "exploded",)

    path = tmp_path / "a.npz"
    np.savez(path, times=np.array([Bomb()], dtype=object), allow_pickle=True)
    with (
        ArrayFile(path) as file,
        pytest.raises(UserError, match=r"'times' holds Python objects.*plain numbers"),
    ):
        file.array("times", "spike_times.key")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name", ["cut.npz", "cut.mat", "cut.h5"])
def test_cut_files_name_the_cure(tmp_path: Path, name: str, rng: np.random.Generator) -> None:
    path = tmp_path / name
    whole = {"a": rng.normal(size=5000)}
    if name.endswith("npz"):
        np.savez(path, **whole)
    elif name.endswith("mat"):
        scipy.io.savemat(path, whole)
    else:
        with h5py.File(path, "w") as file:
            file["a"] = whole["a"]
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match="copy it anew"), ArrayFile(path) as file:
        file.array("a", "key")


@pytest.mark.parametrize(
    ("name", "content"), [("x.npz", b""), ("x.npz", b"hello"), ("x.mat", b"hello"), ("x.h5", b"hello")]
)
def test_foreign_content_names_the_cure(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match="copy it anew"):
        ArrayFile(path)


def test_unknown_format_and_session_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(UserError, match=r"cannot tell its format"):
        ArrayFile(tmp_path / "a.csv")
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file.attrs["schema_version"] = "1.0"
    with pytest.raises(UserError, match="session file already"):
        ArrayFile(tmp_path / "s.h5")


def test_nobody_is_advised_to_load_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(b"hello")
    with pytest.raises(UserError) as error:
        ArrayFile(path)
    assert "pickle" not in str(error.value)


def test_a_message_stays_short(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **{f"unit_{k}": [0.0] for k in range(500)})
    with ArrayFile(path) as file:
        for ask in (file.array, file.matching):
            with pytest.raises(UserError) as error:
                ask("x" * 5_000, "clock.rate")
            assert len(str(error.value)) < 500
            assert "unit_19 and 480 more" in str(error.value)
