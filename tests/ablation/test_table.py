"""The table's numbers against sums by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from neuroformer.ablation.figure import draw_ablation
from neuroformer.ablation.scoring import BinScores, load_scores, save_scores
from neuroformer.ablation.table import rows, sentences, summarize

LABELS = {"full": "full model", "events_only": "events only"}


def scores(rng: np.random.Generator, gain: float, *, decodes: bool = True, n: int = 200) -> BinScores:
    null = -rng.random(n)
    error = np.where(np.arange(n) % 3 == 0, np.nan, rng.random(n))
    return BinScores(
        time=100 + 0.5 * np.arange(n),
        events=np.arange(n) % 4,
        null=null,
        given=null + gain * (1 + 0.1 * rng.standard_normal(n)),
        alone=null + 0.1,
        error={"speed": error} if decodes else {},
        density={"speed": -2 * error} if decodes else {},
    )


@pytest.fixture
def runs(rng: np.random.Generator) -> dict[str, list[dict[str, BinScores]]]:
    return {
        "full": [{"a": scores(rng, 0.5), "b": scores(rng, 0.5, n=150)} for _ in range(2)],
        "events_only": [
            {"a": scores(rng, 0.2, decodes=False), "b": scores(rng, 0.2, decodes=False, n=150)}
            for _ in range(2)
        ],
    }


def test_values_are_pooled_sums_and_differences_are_theirs(
    runs: dict[str, list[dict[str, BinScores]]],
) -> None:
    for variant in runs.values():  # labels are where they are, whatever the seed of the training
        for session in ("a", "b"):
            assert np.array_equal(variant[0][session].events, variant[1][session].events)
    known = {"a": np.arange(200) < 80, "b": np.zeros(150, bool)}
    found = summarize(runs, known, block_s=10.0, seed=0)

    def bits(variant: str, seed: int, masks: dict[str, np.ndarray]) -> float:
        run = runs[variant][seed]
        nats = sum((run[s].given - run[s].null)[masks[s]].sum() for s in run)
        return float(nats / math.log(2) / sum(run[s].events[masks[s]].sum() for s in run))

    every = {"a": np.ones(200, bool), "b": np.ones(150, bool)}
    for name, masks in (("bits_per_spike", every), ("bits_per_spike_known", known)):
        mean = {v: np.mean([bits(v, k, masks) for k in (0, 1)]) for v in runs}
        for variant in runs:
            assert found[variant][name]["value"] == pytest.approx(mean[variant])
            sd = np.std([bits(variant, k, masks) for k in (0, 1)], ddof=1)
            assert found[variant][name]["seed_sd"] == pytest.approx(sd)
        about = found["events_only"][name]
        assert about["minus_full"] == pytest.approx(mean["events_only"] - mean["full"])
        low, high = about["minus_full_interval"]
        assert low < about["minus_full"] < high < 0
    errors = np.concatenate(
        [np.concatenate([run[s].error["speed"][known[s]] for s in run]) for run in runs["full"]]
    )
    assert found["full"]["error speed"]["value"] == pytest.approx(np.nanmean(errors))
    assert found["full"]["nll speed"]["value"] == pytest.approx(2 * np.nanmean(errors))
    gains = [sum((run[s].given - run[s].alone)[known[s]].sum() for s in run) for run in runs["full"]]
    events = sum(runs["full"][0][s].events[known[s]].sum() for s in known)
    assert found["full"]["bits_per_spike_gain"]["value"] == pytest.approx(
        np.mean(gains) / events / math.log(2)
    )
    assert "error speed" not in found["events_only"]
    assert "minus_full" not in found["full"]["bits_per_spike"]


def test_the_paired_interval_is_narrower_than_that_of_the_variant(rng: np.random.Generator) -> None:
    n = 400
    shared, events = rng.standard_normal(n), np.full(n, 2.0)

    def one(gain: float) -> dict[str, BinScores]:
        nothing = np.zeros(n)
        given = shared + gain + 0.01 * rng.standard_normal(n)
        return {
            "a": BinScores(time=np.arange(n) * 1.0, events=events, null=nothing, given=given, alone=nothing)
        }

    found = summarize(
        {"full": [one(0.1)], "no_trunk": [one(0.0)]}, {"a": np.ones(n, bool)}, block_s=5.0, seed=0
    )["no_trunk"]["bits_per_spike"]
    own, paired = (float(np.ptp(found[k])) for k in ("interval", "minus_full_interval"))
    assert paired < 0.1 * own
    assert found["minus_full"] == pytest.approx(-0.1 / 2 / math.log(2), abs=0.01)


def test_scores_of_other_bins_are_not_compared(
    runs: dict[str, list[dict[str, BinScores]]], rng: np.random.Generator
) -> None:
    runs["events_only"] = [{"a": scores(rng, 0.2, n=180), "b": scores(rng, 0.2, n=150)}]
    known = {"a": np.ones(180, bool), "b": np.ones(150, bool)}
    with pytest.raises((AssertionError, ValueError)):
        summarize(runs, known, block_s=10.0, seed=0)


def test_rows_sentences_and_figure_leave_out_what_is_not_there(
    runs: dict[str, list[dict[str, BinScores]]],
) -> None:
    known = {"a": np.ones(200, bool), "b": np.ones(150, bool)}
    summary = summarize(runs, known, block_s=10.0, seed=0)
    head, full, events = rows(LABELS, summary)
    assert len(head) == len(full) == len(events) == len(set(head))
    at = head.index("error_speed")
    assert full[at] == f"{summary['full']['error speed']['value']:.6g}"
    assert events[at] == ""
    assert full[head.index("bits_per_spike_minus_full")] == ""
    (sentence,) = sentences(LABELS, summary, {"speed": "cm/s"})
    assert sentence.startswith("events only: -0.")
    assert "bits/spike" in sentence
    assert "unsure: +0 bits/spike from events alone" in sentence or "from events alone" in sentence
    figure = draw_ablation(LABELS, summary, {"speed": "cm/s"})
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Events", "Reading speed"]


def test_scores_come_back_from_their_file(tmp_path: Path, rng: np.random.Generator) -> None:
    whole = {"a": scores(rng, 0.3), "b 2": scores(rng, 0.3, decodes=False)}
    save_scores(tmp_path / "scores.npz", whole, "test")
    found = load_scores(tmp_path / "scores.npz", "test")
    assert found is not None
    assert list(found) == ["a", "b 2"]
    for name, score in whole.items():
        for key in ("time", "events", "null", "given", "alone"):
            assert np.array_equal(getattr(found[name], key), getattr(score, key))
        assert set(found[name].error) == set(score.error)
        assert all(np.array_equal(found[name].error[k], v, equal_nan=True) for k, v in score.error.items())
    assert load_scores(tmp_path / "scores.npz", "val") is None
    assert load_scores(tmp_path / "none.npz", "test") is None
