"""Scores from stretches: the known bins, calibrated spreads, trials; and arrays of a recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuroformer.baselines.decoding import Target
from neuroformer.decoding.arrays import Truth, holds, read_stretches, read_trials, read_truth
from neuroformer.decoding.figures import best_window
from neuroformer.decoding.methods import Estimate
from neuroformer.decoding.scoring import (
    LEAST_TO_CALIBRATE,
    find_trials,
    joined,
    known_samples,
    pooled_trials,
    score_samples,
    spread_factor,
)
from neuroformer.errors import UserError
from neuroformer.evaluation.block_draws import BlockDraws
from neuroformer.evaluation.trained_run import load_run

PLACE = Target(name="place", unit="cm")
SIDE = Target(name="side", kind="categorical", labels=("left", "right"))


def truth_of(values: list[np.ndarray]) -> Truth:
    known = [np.isfinite(v).all(1) if v.ndim == 2 else v >= 0 for v in values]
    return Truth(values=values, known=known)


def test_unknown_bins_do_not_count_and_factors_scale_the_spread(rng: np.random.Generator) -> None:
    values = [rng.standard_normal((60, 1)), rng.standard_normal((40, 1))]
    values[0][5:20] = np.nan
    truth = truth_of(values)
    mean = [np.nan_to_num(v) + 0.5 for v in values]
    estimate = Estimate(mean=mean, spread=[np.full_like(v, 0.1) for v in values])
    factor = spread_factor(PLACE, truth, estimate)
    assert factor is not None
    assert factor[0] * 1.2815515655 * 0.1 == pytest.approx(0.5)
    samples = known_samples(truth, estimate, factor * (1 + 1e-9))
    assert len(samples.truth) == 85
    scores = score_samples(PLACE, samples, BlockDraws(np.arange(85) // 10, draws=100))
    assert scores["mean_error"].value == pytest.approx(0.5)
    assert scores["coverage"].value == 1
    assert scores["coverage_uncalibrated"].value == 0
    assert scores["width"].value == pytest.approx(1.0)


def test_too_few_labels_calibrate_nothing() -> None:
    n = LEAST_TO_CALIBRATE - 1
    truth = truth_of([np.zeros((n, 1))])
    assert spread_factor(PLACE, truth, Estimate(mean=[np.ones((n, 1))], spread=[np.ones((n, 1))])) is None


def test_sessions_put_together_keep_their_own_factors() -> None:
    one = truth_of([np.zeros((3, 1))])
    parts = [
        known_samples(one, Estimate(mean=[np.ones((3, 1))], spread=[np.ones((3, 1))]), factor)
        for factor in (np.array([2.0]), None)
    ]
    assert np.array_equal(joined(parts).factor, np.array([[2.0]] * 3 + [[1.0]] * 3))  # type: ignore[arg-type]


def test_a_trial_is_decided_by_the_product_of_its_bins() -> None:
    truth = truth_of([np.array([0, 0, -1, 1, 1, 1])])
    trials = find_trials(truth, [np.array([4, 4, -1, 5, 5, 5])])
    assert [list(b) for b in trials.bins] == [[0, 1], [3, 4, 5]]
    probability = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.4, 0.6], [0.4, 0.6], [0.7, 0.3]])
    found = pooled_trials(SIDE, Estimate(probability=[probability]), trials)
    assert np.array_equal(found.truth, [0, 1])
    assert found.probability is not None
    assert found.probability[0] == pytest.approx(np.sqrt([0.18, 0.08]) / np.sqrt([0.18, 0.08]).sum())
    logs = np.log(probability[3:]).mean(0)
    assert found.probability[1] == pytest.approx(np.exp(logs) / np.exp(logs).sum())


def test_trials_and_conditions_of_a_recording(decoded_run: Path) -> None:
    recording = load_run(decoded_run).data.recordings[0]
    (span,) = recording.part("test")
    (trials,) = read_trials(recording, [span])
    start, stop = recording.session.trials["start"], recording.session.trials["stop"]
    middle = np.asarray(recording.epochs[0].time_of(np.arange(span.start, span.stop) + 0.5))
    for number in np.unique(trials[trials >= 0]):
        inside = (middle >= start[number]) & (middle < stop[number])
        assert np.array_equal(inside, trials == number)
        assert inside.sum() == 30
    fast = read_truth(recording, "side", [span], when="abs(speed) > 5")
    slow = read_truth(recording, "side", [span], when="abs(speed) <= 5")
    both = read_truth(recording, "side", [span])
    assert fast.n_known + slow.n_known == both.n_known
    assert min(fast.n_known, slow.n_known) > 0
    with pytest.raises(UserError, match="has no variable 'licks'; it has heading, place, speed"):
        holds(recording, "licks > 1", span)
    stretches = read_stretches(recording, [span], lead=7)
    assert stretches.lead == [7]
    assert np.array_equal(stretches.x[0][7:], recording.counts(span))
    assert np.array_equal(stretches.cut(stretches.led([both.values[0]], -1))[0], both.values[0])


def test_the_window_is_the_one_with_the_most_labels() -> None:
    known = [np.array([1, 1, 0, 0], bool), np.array([0, 1, 1, 1, 0], bool), np.array([1, 1, 1], bool)]
    assert best_window(known, 3) == (1, slice(1, 4))
    assert best_window(known, 99) == (1, slice(0, 5))
