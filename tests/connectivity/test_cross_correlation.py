import dataclasses
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from neuroformer.connectivity.cross_correlation import LaggedMoments, cross_correlation
from neuroformer.connectivity.ranking import off_diagonal
from neuroformer.connectivity.scores import score_connectivity
from neuroformer.errors import UserError
from neuroformer.session import Events, Session, SessionData, write_session

BIN_S = 0.005


def write_counts(path: Path, counts: np.ndarray, *, intervals: np.ndarray | None = None) -> Path:
    """Write a session whose events lie on the left edges of bins of 5 ms."""
    bins, units = np.nonzero(counts)
    repeats = counts[bins, units]
    times = np.repeat(bins * BIN_S, repeats)
    data = SessionData(
        session_id="circuit",
        subject_id="simulated",
        start=0.0,
        stop=len(counts) * BIN_S,
        n_units=counts.shape[1],
        events=Events(times=times, units=np.repeat(units, repeats).astype(np.int32)),
    )
    if intervals is not None:
        data = dataclasses.replace(data, intervals=intervals)
    return write_session(path, data)


def pearson_by_lag(pieces: list[np.ndarray], n_lags: int) -> np.ndarray:
    """Brute force (L + 1, S, T): np.corrcoef of all pairs of bins a lag apart inside the same piece."""
    n_units = pieces[0].shape[1]
    result = np.zeros((n_lags + 1, n_units, n_units))
    for lag in range(n_lags + 1):
        long_enough = [piece for piece in pieces if len(piece) > lag]
        source = np.concatenate([piece[: len(piece) - lag] for piece in long_enough])
        target = np.concatenate([piece[lag:] for piece in long_enough])
        for i in range(n_units):
            for j in range(n_units):
                if np.ptp(source[:, i]) and np.ptp(target[:, j]):
                    result[lag, i, j] = np.corrcoef(source[:, i], target[:, j])[0, 1]
    return result


@given(
    seed=st.integers(0, 2**32 - 1),
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=3),
    cuts=st.lists(st.integers(1, 29), max_size=4),
    rate=st.sampled_from([0.05, 0.8]),
)
def test_correlations_are_exact_however_the_recording_is_cut_into_blocks(seed, lengths, cuts, rate):
    rng = np.random.default_rng(seed)
    n_lags = 4
    pieces = [rng.poisson(rate, size=(length, 3)) for length in [8, *lengths]]
    moments = LaggedMoments(n_units=3, n_lags=n_lags)
    for piece in pieces:
        edges = sorted({0, len(piece), *(cut for cut in cuts if cut < len(piece))})
        for first, last in pairwise(edges):
            moments.add(sparse.csr_array(piece[first:last].astype(float)), continues=first > 0)
    np.testing.assert_allclose(moments.coefficients(), pearson_by_lag(pieces, n_lags), atol=1e-12)
    assert moments.n_pairs.tolist() == [
        sum(max(len(p) - lag, 0) for p in pieces) for lag in range(n_lags + 1)
    ]


def test_finds_the_direction_the_lag_and_the_sign_of_single_edges(tmp_path):
    rng = np.random.default_rng(0)
    counts = (rng.random((20_000, 5)) < 0.1).astype(np.int64)
    counts[7:, 1] |= counts[:-7, 0] & (rng.random(19_993) < 0.5)  # 0 excites 1 after 7 bins
    counts[3:, 4] &= 1 - counts[:-3, 2]  # 2 silences 4 after 3 bins
    with Session(write_counts(tmp_path / "circuit.h5", counts)) as session:
        estimate = cross_correlation(session, bin_s=BIN_S, n_lags=12)
    strength = np.abs(np.where(np.eye(5, dtype=bool), 0, estimate.matrix))
    strongest = [divmod(int(pair), 5) for pair in np.argsort(-strength.ravel())[:2]]
    assert strongest == [(0, 1), (2, 4)]
    assert estimate.matrix[0, 1] > 0.2
    assert estimate.matrix[2, 4] < -0.05
    assert strength[1, 0] < 0.05
    lag_of_peak = np.abs(estimate.lag_profile).argmax(axis=-1)
    assert estimate.lags_s[lag_of_peak[0, 1]] == pytest.approx(7 * BIN_S)
    assert estimate.lags_s[lag_of_peak[2, 4]] == pytest.approx(3 * BIN_S)
    truth = np.zeros((5, 5))
    truth[0, 1], truth[2, 4] = 1, -1
    scores = score_connectivity(estimate, truth, rng=rng, bootstrap=0)
    assert scores.average_precision == scores.sign_accuracy == scores.direction_accuracy == 1


def test_reading_in_small_blocks_changes_nothing(tmp_path, monkeypatch):
    counts = np.random.default_rng(1).poisson(0.2, size=(3_000, 4))
    with Session(write_counts(tmp_path / "circuit.h5", counts)) as session:
        whole = cross_correlation(session, bin_s=BIN_S, n_lags=6)
        monkeypatch.setattr("neuroformer.connectivity.counts.BLOCK_ENTRIES", 4 * 70)
        pieces = cross_correlation(session, bin_s=BIN_S, n_lags=6)
    np.testing.assert_allclose(pieces.matrix, whole.matrix, atol=1e-12)
    expected = pearson_by_lag([counts], 6)
    profile = expected[1:] - (expected.sum(axis=0) + expected[1:].sum(axis=0).T) / 13
    np.testing.assert_allclose(whole.lag_profile, np.moveaxis(profile, 0, -1), atol=1e-6)


def test_pairs_never_straddle_the_edge_of_a_valid_interval(tmp_path):
    counts = np.random.default_rng(2).poisson(0.2, size=(2_000, 3))
    intervals = np.array([[0.0, 2.0], [2.5, 2.51], [4.0, 9.0]])
    kept = [counts[0:400], counts[500:502], counts[800:1800]]
    with Session(write_counts(tmp_path / "circuit.h5", counts, intervals=intervals)) as session:
        estimate = cross_correlation(session, bin_s=BIN_S, n_lags=5)
    expected = pearson_by_lag(kept, 5)
    profile = expected[1:] - (expected.sum(axis=0) + expected[1:].sum(axis=0).T) / 11
    np.testing.assert_allclose(estimate.lag_profile, np.moveaxis(profile, 0, -1), atol=1e-6)


def test_slow_shared_drive_is_taken_away(tmp_path):
    rng = np.random.default_rng(3)
    drive = 0.05 * (1 + np.sin(np.arange(40_000) / 400))  # all rise and fall together, over seconds
    counts = rng.poisson(np.repeat(drive[:, None], 6, axis=1))
    with Session(write_counts(tmp_path / "circuit.h5", counts)) as session:
        estimate = cross_correlation(session, bin_s=BIN_S, n_lags=10)
    chance = 4.5 / np.sqrt(len(counts))
    assert np.abs(off_diagonal(estimate.matrix)).max() < chance


def test_silent_units_are_neither_sources_nor_targets(tmp_path):
    counts = np.random.default_rng(4).poisson(0.2, size=(500, 3))
    counts[:, 1] = 0
    with Session(write_counts(tmp_path / "circuit.h5", counts)) as session:
        estimate = cross_correlation(session, bin_s=BIN_S, n_lags=3)
    assert not estimate.matrix[1].any()
    assert not estimate.matrix[:, 1].any()
    assert np.isfinite(estimate.matrix).all()


def test_more_lags_than_bins_is_refused(tmp_path):
    counts = np.ones((10, 2), dtype=np.int64)
    session = Session(write_counts(tmp_path / "circuit.h5", counts))
    with pytest.raises(UserError, match=r"circuit\.h5: no valid interval is longer than 20 lags of 0\.005 s"):
        cross_correlation(session, bin_s=BIN_S, n_lags=20)
    session.close()


def test_p_values_come_with_a_generator_and_change_nothing_else(tmp_path):
    rng = np.random.default_rng(5)
    counts = rng.poisson(rng.uniform(0.02, 0.1, 25), size=(20_000, 25))
    counts[:, 4] = 0
    counts[3:, 1] += counts[:-3, 0] * (rng.random(19_997) < 0.2)
    with Session(write_counts(tmp_path / "circuit.h5", counts)) as session:
        without = cross_correlation(session, bin_s=BIN_S, n_lags=6)
        one, two = (
            cross_correlation(session, bin_s=BIN_S, n_lags=6, rng=np.random.default_rng(1), surrogates=10)
            for _ in range(2)
        )
    assert without.p_values is None
    np.testing.assert_array_equal(without.matrix, one.matrix)
    np.testing.assert_array_equal(one.p_values, two.p_values)
    p = off_diagonal(one.p_values)
    assert np.mean(p < 0.05) < 0.08
    assert np.mean(p < 0.5) > 0.35
    assert one.called(0.05)[0, 1]
    assert one.called(0.05).sum() <= 3
    silent = np.delete(one.p_values[4], 4)
    assert (silent == 1).all()
