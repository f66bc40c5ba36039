"""Scores of a run, and the sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neuroformer.frames.scores import Scores, cell_scores, sentence


def cells(
    noise: dict[str, float], *, sessions: int = 1, seeds: int = 1, ahead: tuple[str, ...] = ()
) -> list[dict]:
    """Results of methods that err as much as they are said to; those named lm… belong to the language model lm."""
    found: list[dict[str, Any]] = []
    for s in range(sessions):
        rng = np.random.default_rng(s)
        truth = rng.normal(size=(200, 1))
        truth[5] = np.nan
        for method, size in noise.items():
            for k in range(seeds):
                mean = truth + size * rng.normal(size=truth.shape)
                found.append({
                    "session": f"s{s}", "method": method, "seed": k, "causal": method not in ahead, "n_trained": 10,
                    "language_model": "lm" if method.startswith("lm") else "", "block": (np.arange(200) // 10).tolist(),
                    "targets": {"speed": {"truth": truth.tolist(), "mean": np.nan_to_num(mean).tolist()}},
                })  # fmt: skip
    return found


def test_scores_are_those_of_the_known_bins(rng: np.random.Generator) -> None:
    truth, mean = rng.normal(size=(50, 1)), rng.normal(size=(50, 1))
    holes = truth.copy()
    holes[10:20] = np.nan
    found = cell_scores({"truth": holes, "mean": mean}, np.arange(50) // 5, seed=0)
    t, m = np.delete(truth, slice(10, 20)), np.delete(mean, slice(10, 20))
    assert found["rmse"].value == pytest.approx(np.sqrt(((t - m) ** 2).mean()))
    assert found["r2"].value == pytest.approx(1 - ((t - m) ** 2).sum() / ((t - t.mean()) ** 2).sum())
    assert found["correlation"].value == pytest.approx(np.corrcoef(t, m)[0, 1])
    assert found["r2"].n_blocks == 8


def test_values_are_means_over_sessions_and_seeds() -> None:
    results = cells({"lm": 0.3, "ridge": 0.8}, sessions=3, seeds=2)
    scores = Scores(results)
    each = [
        cell_scores(r["targets"]["speed"], r["block"], 0)["r2"].value for r in results if r["method"] == "lm"
    ]
    score = scores.scores["speed", "r2", "lm"]
    assert score.value == pytest.approx(np.mean(each))
    assert scores.by_session["speed", "r2", "lm"] == pytest.approx(np.reshape(each, (3, 2)).mean(1))
    assert score.interval is not None
    assert score.interval[0] < score.value < score.interval[1]
    difference = scores.difference("speed", "r2", "lm", "ridge")
    assert difference.value == pytest.approx(score.value - scores.scores["speed", "r2", "ridge"].value)


def test_chance_in_training_widens_the_interval() -> None:
    alike = cells({"lm": 0.3}, seeds=1) * 1
    twins = [r | {"seed": 1} for r in alike]
    other = [r | {"seed": 1} for r in cells({"lm": 0.9}, seeds=1)]

    def width(results: list[dict]) -> float:
        interval = Scores(results).scores["speed", "r2", "lm"].interval
        assert interval is not None
        return interval[1] - interval[0]

    assert width(alike + other) > 2 * width(alike + twins)


def test_text_weights_helped_only_if_every_control_is_beaten() -> None:
    wins = {"lm": 0.2, "lm_untrained": 0.8, "lm_shuffled": 0.9, "ridge": 0.8}
    said = sentence(Scores(cells(wins)))
    assert said.startswith("Text weights helped (")
    assert "lm decodes speed better than all of its controls" in said
    assert "1 seed, so that chance in training is not in the intervals" in said
    said = sentence(Scores(cells(wins | {"ridge": 0.1}, seeds=2)))
    assert said.startswith("Text weights did not help beyond the controls (")
    assert "where it does not beat ridge (-0." in said
    assert "shuffled" not in said
    assert "chance" not in said
    assert "No language model" in sentence(Scores(cells({"ridge": 0.5})))


def test_a_causal_model_need_not_beat_what_looks_ahead() -> None:
    noise = {"lm": 0.3, "lm_untrained": 0.9, "ridge": 0.8, "ridge_centered": 0.05}
    causal = Scores(cells(noise, ahead=("ridge_centered",)))
    assert causal.controls_of("lm") == ["lm_untrained", "ridge"]
    assert causal.unbeaten("speed", "lm") == []
    both = Scores(cells(noise, ahead=("ridge_centered", "lm")))
    assert both.unbeaten("speed", "lm") == ["ridge_centered"]


def test_what_is_not_defined_is_not_a_number() -> None:
    results = cells({"lm": 0.2})
    for r in results:
        r["targets"]["speed"]["mean"] = [[0.0]] * 200
    score = Scores(results).scores["speed", "correlation", "lm"]
    assert np.isnan(score.value)
    assert score.interval is None
