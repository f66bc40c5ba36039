import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroformer.connectivity import (
    ConnectivityMap,
    SessionConnectivity,
    from_lag_profile,
    read_connectivity,
    write_connectivity,
)
from neuroformer.errors import UserError


def example(
    session_id: str, *, unit_ids: np.ndarray, seed: int = 0, truth: bool = True
) -> SessionConnectivity:
    rng = np.random.default_rng(seed)
    n = len(unit_ids)
    return SessionConnectivity(
        session_id=session_id,
        unit_ids=unit_ids,
        maps=(
            ConnectivityMap(name="self_attention", matrix=rng.random((n, n)), description="with a gradient"),
            from_lag_profile("coupling", rng.standard_normal((n, n, 3)), 0.005, description="summed kernels"),
            ConnectivityMap(name="granger", matrix=rng.random((n, n)), p_values=rng.random((n, n))),
        ),
        weights=rng.standard_normal((n, n)).astype(np.float32) if truth else None,
        delays=rng.random((n, n)).astype(np.float32) if truth else None,
    )


def same(one: np.ndarray | None, two: np.ndarray | None) -> bool:
    if one is None or two is None:
        return one is two
    return one.dtype.kind == two.dtype.kind and np.array_equal(one, two)


def assert_same(one: SessionConnectivity, two: SessionConnectivity) -> None:
    assert one.session_id == two.session_id
    for name in ("unit_ids", "weights", "delays"):
        assert same(getattr(one, name), getattr(two, name)), name
    for a, b in zip(one.maps, two.maps, strict=True):
        assert (a.name, a.description) == (b.name, b.description)
        assert all(
            same(getattr(a, name), getattr(b, name))
            for name in ("matrix", "lag_profile", "lags_s", "p_values")
        )


unit_ids = st.one_of(
    st.lists(st.text("aβ 7_/", min_size=1, max_size=4), min_size=1, max_size=5, unique=True).map(np.array),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=5, unique=True).map(np.array),
)


@settings(deadline=None, max_examples=25)
@given(unit_ids, st.integers(0, 99), st.booleans())
def test_round_trip(tmp_path_factory, unit_ids, seed, truth):
    path = tmp_path_factory.mktemp("store") / "connectivity.h5"
    sessions = [example("b", unit_ids=unit_ids, seed=seed, truth=truth), example("a", unit_ids=np.arange(3))]
    write_connectivity(path, sessions)
    back = read_connectivity(path)
    assert set(back) == {"a", "b"}
    for session in sessions:
        assert_same(back[session.session_id], session)


def test_layout_is_the_documented_one(tmp_path):
    path = write_connectivity(tmp_path / "connectivity.h5", [example("s1", unit_ids=np.array(["u1", "u2"]))])
    with h5py.File(path) as file:
        assert file["s1/unit_ids"].asstr()[()].tolist() == ["u1", "u2"]
        assert file["s1/coupling/matrix"].shape == (2, 2)
        assert file["s1/coupling/lag_profile"].shape == (2, 2, 3)
        np.testing.assert_allclose(file["s1/coupling/lags_s"], [0.005, 0.01, 0.015])
        assert file["s1/coupling"].attrs["description"] == "summed kernels"
        assert list(file["s1/self_attention"]) == ["matrix"]
        assert set(file["s1/granger"]) == {"matrix", "p_values"}
        assert set(file["s1/truth"]) == {"weights", "delays"}


def test_a_file_without_p_values_reads_as_before(tmp_path):
    path = write_connectivity(tmp_path / "connectivity.h5", [example("s1", unit_ids=np.arange(2))])
    with h5py.File(path, "r+") as file:
        del file["s1/granger/p_values"]
    granger = next(found for found in read_connectivity(path)["s1"].maps if found.name == "granger")
    assert granger.p_values is None


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = write_connectivity(tmp_path / "connectivity.h5", [example("old", unit_ids=np.arange(2))])

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("neuroformer.connectivity.store._write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_connectivity(path, [example("new", unit_ids=np.arange(2))])
    assert [file.name for file in tmp_path.iterdir()] == ["connectivity.h5"]
    assert list(read_connectivity(path)) == ["old"]


def test_what_is_not_a_connectivity_file_is_refused(tmp_path):
    missing, text, foreign, truncated = (tmp_path / name for name in ("a.h5", "b.h5", "c.h5", "d.h5"))
    text.write_text("hello")
    with h5py.File(foreign, "w") as file:
        file["s1/other"] = 1
    whole = write_connectivity(tmp_path / "whole.h5", [example("s1", unit_ids=np.arange(2))]).read_bytes()
    truncated.write_bytes(whole[: len(whole) // 2])
    for path in (missing, text, foreign, truncated, tmp_path):
        with pytest.raises(UserError, match="not a readable connectivity file"):
            read_connectivity(path)
