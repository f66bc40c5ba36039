"""Every estimator on one small recording, with a trained model and without one."""

from pathlib import Path

import numpy as np
import pytest

from neuroformer.connectivity.methods import METHODS, Subject, estimate_all
from neuroformer.evaluation.trained_run import load_run
from neuroformer.settings.connectivity import (
    CLASSICAL_ESTIMATORS,
    ESTIMATORS,
    GLM_ESTIMATORS,
    ConnectivityConfig,
)
from neuroformer.settings.glm import GLMConfig

GLM = GLMConfig(strengths=[0.1], first_passes=2, passes=2)
WITHOUT_LAGS = ("self_attention", "attention_rollout", "attention_gradient")
WITHOUT_MODEL = (*GLM_ESTIMATORS, *CLASSICAL_ESTIMATORS)


def subject_of(file: Path, run: Path | None, **settings) -> Subject:
    config = ConnectivityConfig(
        run=str(run or ""), data=[str(file)], out="unused", surrogates=4, glm=GLM, **settings
    )
    return Subject(file=file, config=config, run=None if run is None else load_run(run))


@pytest.fixture(scope="module")
def with_model(trained, circuit):
    return estimate_all(subject_of(circuit(), trained, bin_s=0.005, lags=20), ESTIMATORS)


@pytest.fixture(scope="module")
def without_model(circuit):
    return estimate_all(subject_of(circuit(), None, bin_s=0.01, lags=6), WITHOUT_MODEL)


def check(estimate, *, n_lags):
    off = ~np.eye(6, dtype=bool)
    assert estimate.matrix.shape == (6, 6)
    assert estimate.matrix.dtype == np.float64
    assert np.isfinite(estimate.matrix[off]).all()
    assert estimate.matrix[off].any() or estimate.name == "group_lasso_glm"  # which may find nothing
    assert estimate.description
    assert np.isnan(np.diag(estimate.p_values)).all()
    p_values = estimate.p_values[off]
    assert ((p_values >= 0) & (p_values <= 1)).all()
    if estimate.name in WITHOUT_LAGS:
        assert estimate.lag_profile is None
        return
    if estimate.lag_profile is not None:
        assert estimate.lag_profile.shape == (6, 6, len(estimate.lags_s))
        assert np.isfinite(estimate.lag_profile[off]).all()
        assert len(estimate.lags_s) in (n_lags, n_lags - 1)  # tiles lie between two lags
        assert (np.diff(estimate.lags_s) > 0).all()


def test_every_name_of_the_settings_has_a_method_and_no_other_has():
    assert set(METHODS) == set(ESTIMATORS)
    assert len(set(ESTIMATORS)) == len(ESTIMATORS)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_gives_a_whole_map_under_its_own_name(with_model, name):
    maps, seconds = with_model
    assert maps[name].name == name
    assert seconds[name] > 0
    check(maps[name], n_lags=20)


@pytest.mark.parametrize("name", WITHOUT_MODEL)
def test_a_session_file_alone_is_enough_for_the_others(without_model, name):
    maps, _ = without_model
    assert maps[name].name == name
    check(maps[name], n_lags=6)


def test_an_estimate_does_not_depend_on_which_others_are_asked_for(with_model, trained, circuit):
    names = ["jittered_ccg", "coupling", "stimulation"]
    alone, seconds = estimate_all(subject_of(circuit(), trained, bin_s=0.005, lags=20), names)
    assert list(alone) == list(seconds) == names
    for name in names:
        np.testing.assert_array_equal(alone[name].matrix, with_model[0][name].matrix)
        np.testing.assert_array_equal(alone[name].p_values, with_model[0][name].p_values)


def test_a_map_under_a_false_name_is_noticed(trained, circuit, monkeypatch):
    from neuroformer.connectivity import methods

    monkeypatch.setattr(methods, "METHODS", {"granger": METHODS["coupling"]})
    with pytest.raises(AssertionError, match="granger: the map calls itself coupling"):
        estimate_all(subject_of(circuit(), trained, bin_s=0.005, lags=20), ["granger"])


def test_windows_of_the_glms_are_the_models_or_those_of_the_classical_methods(trained, circuit):
    assert subject_of(circuit(), trained, bin_s=0.01, lags=3).glm_window_s == 0.1
    assert subject_of(circuit(), None, bin_s=0.01, lags=3).glm_window_s == pytest.approx(0.03)


def test_read_outs_see_the_training_part_alone(trained, circuit):
    subject = subject_of(circuit(), trained, bin_s=0.005, lags=20)
    scored = sum(int(batch.scored.sum()) for batch in subject.training)
    parts = {part: sum(map(len, subject.recording.part(part))) for part in ("train", "val", "test")}
    assert min(parts.values()) > 0
    assert scored == parts["train"]
