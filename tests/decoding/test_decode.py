"""`neuroformer decode`: what is written is what the methods say, scored on the right bins."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuroformer.baselines.decoding import build_decoder
from neuroformer.data.grid import make_grid
from neuroformer.decoding.arrays import make_target, read_stretches, read_truth
from neuroformer.decoding.decode import decode
from neuroformer.evaluation.trained_run import load_run
from neuroformer.files import read_json
from neuroformer.inversion.likelihood import grid_log_likelihood, value_tokens
from neuroformer.model.tasks import make_task
from neuroformer.settings.decode import DecodeConfig
from neuroformer.settings.decoding import DecodersConfig, NaiveBayesConfig, RidgeConfig

QUICK = DecodersConfig(
    ridge=RidgeConfig(windows_s=[0.5], taps=[1], penalties=[0.1, 1.0]),
    naive_bayes=NaiveBayesConfig(windows_s=[0.5], smoothing=[0.05], prior_s=[0.5], evidence=[1.0, 0.5]),
)


@pytest.fixture(scope="module")
def out(decoded_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with a condition; not to be written into."""
    folder = tmp_path_factory.mktemp("decoded")
    decode(
        DecodeConfig(
            run=str(decoded_run),
            out=str(folder),
            when="abs(speed) > 5",
            draws=100,
            window_s=20.0,
            decoders=QUICK,
        )
    )
    return folder


def rows(out: Path, **wanted: Any) -> list[dict[str, Any]]:
    found = read_json(out / "metrics.json")["results"]
    return [r for r in found if all(r[k] == v for k, v in wanted.items())]


def test_every_method_is_scored_on_the_same_bins(out: Path) -> None:
    for name, methods in {
        "place": {"readout", "inversion", "inversion_causal", "combined", "null", "ridge", "naive_bayes"},
        "side": {"readout", "inversion", "inversion_causal", "combined", "null", "naive_bayes"},
        "heading": {"readout", "null", "ridge", "naive_bayes"},
    }.items():
        for session in ("a", "b", "all"):
            mine = rows(out, variable=name, session=session, level="bin")
            assert {r["method"] for r in mine} == methods
            assert len({r["n"] for r in mine}) == 1
    assert {r["variable"] for r in rows(out, level="trial")} == {"side"}
    with (out / "table.csv").open() as file:
        table = list(csv.DictReader(file))
    for row in (r for r in table if r["score"] == "mean_error"):
        (result,) = rows(
            out, session=row["session"], variable=row["variable"], method=row["method"], level="bin"
        )
        assert float(row["value"]) == pytest.approx(result["scores"]["mean_error"]["value"], rel=1e-5)
        assert row["unit"] == {"place": "cm", "heading": "deg"}[row["variable"]]


def test_scores_are_those_of_the_written_predictions(decoded_run: Path, out: Path) -> None:
    trained = load_run(decoded_run)
    for recording in trained.data.recordings:
        with np.load(out / "predictions" / f"{recording.session_id}.npz") as file:
            found = dict(file)
        (span,) = recording.part("test")
        truth = recording.variable("place", span)
        fast = recording.variables["place"].holds(
            "abs(speed) > 5", recording.epochs[0], span.start, span.stop
        )
        known = truth.known & fast
        assert np.array_equal(found["place.known"], known)
        assert 0 < known.sum() < len(span)
        assert np.array_equal(found["place.truth"][known], truth.values[known].astype(float))
        for method in ("inversion", "readout", "ridge"):
            (result,) = rows(out, session=recording.session_id, variable="place", method=method, level="bin")
            error = np.abs(found[f"place.{method}.mean"] - truth.values)[known, 0]
            assert result["n"] == known.sum()
            assert result["scores"]["mean_error"]["value"] == pytest.approx(error.mean())
            low, high = found[f"place.{method}.lower"], found[f"place.{method}.upper"]
            inside = ((low <= truth.values) & (truth.values <= high))[known]
            assert result["scores"]["coverage"]["value"] == pytest.approx(inside.mean(), abs=1e-9)
            assert "coverage_uncalibrated" in result["scores"]
        assert found["place.inversion.posterior"].sum(1) == pytest.approx(1, abs=1e-4)
        assert found["side.combined.probability"].sum(1) == pytest.approx(1, abs=1e-4)


def test_activity_tells_the_place_even_after_few_steps(out: Path) -> None:
    error = {
        r["method"]: r["scores"]["mean_error"]["value"] for r in rows(out, variable="place", session="all")
    }
    assert error["combined"] < 0.5 * error["null"]
    assert error["inversion"] < error["null"]
    assert error["naive_bayes"] < 0.5 * error["null"]
    told = [c for c in read_json(out / "metrics.json")["comparisons"] if c.get("told")]
    assert {(c["session"], c["method"]) for c in told if c["variable"] == "place"} == {
        (session, "combined") for session in ("a", "b", "all")
    }


def test_trials_get_one_decision_each(decoded_run: Path, out: Path) -> None:
    recording = load_run(decoded_run).data.recordings[0]
    (span,) = recording.part("test")
    start = recording.session.trials["start"]
    first, last = (float(recording.epochs[0].time_of(x)) for x in (span.start, span.stop))
    whole = (start >= first - 1e-6) & (start + 3 <= last + 1e-6)
    for r in rows(out, variable="side", session=recording.session_id, level="trial"):
        assert r["n"] == whole.sum()
    with np.load(out / "predictions" / f"{recording.session_id}.npz") as file:
        assert file["side.inversion.trial"].shape == (whole.sum(), 2)
        side = recording.session.trials["side"][whole]
        labels = np.array([v.decode() if isinstance(v, bytes) else v for v in side])
        assert np.array_equal(np.array(["left", "right"])[file["side.trial_truth"]], labels)


def test_figures_are_drawn(out: Path) -> None:
    names = {path.stem for path in (out / "figures").iterdir()}
    assert {f"{v}_{s}" for v in ("place", "side", "heading") for s in "ab"} <= names
    assert {"scores_place", "scores_side", "scores_side_trials", "scores_heading"} <= names


def test_the_leak_check_uses_as_many_bins_in_both_splits(decoded_run: Path, out: Path) -> None:
    metrics = read_json(out / "metrics.json")
    recording = load_run(decoded_run).data.recordings[0]
    for leak in metrics["leak_check"]:
        if leak["session"] == recording.session_id and leak["variable"] == "place":
            train = read_truth(recording, "place", recording.part("train"), when="abs(speed) > 5")
            test = read_truth(recording, "place", recording.part("test"), when="abs(speed) > 5")
            assert (leak["n_train"], leak["n_test"]) == (train.n_known, test.n_known)
            assert leak["method"] == "ridge"
    assert len(metrics["leak_sentences"]) == 3


def test_a_baseline_never_sees_labels_of_the_scored_part(decoded_run: Path, out: Path) -> None:
    trained = load_run(decoded_run)
    recording = trained.data.recordings[0]
    train = read_stretches(recording, recording.part("train"))
    labels = read_truth(recording, "place", train.spans, when="abs(speed) > 5", all_labels=False)
    test = read_stretches(recording, recording.part("test"), lead=trained.data.context_bins)
    decoder = build_decoder(
        "ridge", make_target(trained.trained.vocabulary.variables["place"]), bin_s=0.1, config=QUICK
    ).fit(train.x, labels.values, seed=0)
    said = decoder.predict(test.x).mean
    assert said is not None
    with np.load(out / "predictions" / f"{recording.session_id}.npz") as file:
        assert np.allclose(file["place.ridge.mean"], np.concatenate(test.cut(said)))


def test_validation_part_is_scored_without_calibration(decoded_run: Path, tmp_path: Path) -> None:
    metrics = decode(
        DecodeConfig(
            run=str(decoded_run),
            out=str(tmp_path),
            part="val",
            variables=["place"],
            baselines=[],
            draws=100,
            smooth=False,
            leak_check=False,
            shown=0,
        )
    )
    assert {r["method"] for r in metrics["results"]} == {"readout", "inversion", "combined"}
    assert all("coverage_uncalibrated" not in r["scores"] for r in metrics["results"])
    assert {s["readout_weight"] for s in metrics["sessions"].values()} == {0.1}


@pytest.mark.parametrize("unknown", [False, True])
def test_at_the_mean_every_cell_has_the_poisson_likelihood_of_the_mean_log_rate(
    decoded_run: Path, unknown: bool
) -> None:
    trained = load_run(decoded_run)
    model, recording = trained.trained.model, trained.data.recordings[0]
    grid = make_grid(trained.trained.vocabulary)
    assert grid is not None
    path = model.context_path
    assert path is not None
    with torch.no_grad():
        path.tuning.log_scale.fill_(-0.5)  # uncertain, so that the two differ
    (batch, *_) = trained.data.batches_of(recording, recording.part("val"))
    found = grid_log_likelihood(model, batch, grid, unknown=unknown)[0]
    other = grid_log_likelihood(model, batch, grid, unknown=unknown, at_mean=False)[0]
    with torch.no_grad():
        seen = make_task("decode", batch, model.variables).seen
        nothing = model.without_context(seen)[0][0]
        # The slow state is another one where the grid's variables are known, whatever their values.
        ones = torch.ones_like(seen.scored)
        shown = {name: replace(seen.variables[name], known=ones) for name in grid.names}
        base = model.without_context(replace(seen, variables=seen.variables | shown))[0][0]
        weight = (path.tuning.mean[seen.unit_row] + path.common)[0]
        total, product = value_tokens(model, grid)
        counts = seen.counts(scored_only=True)[0]
        present = path.present(seen, without=grid.names)
        expected = []
        for cell in range(len(grid)):
            here = type(present)(
                total=present.total[:, :1] + total[cell],
                product=present.product[:, :1] * product[cell],
                known=torch.ones_like(present.known[:, :1]),
            )
            eta = base + (path.mixed(here)[0] @ weight.T)
            expected.append((counts * eta - eta.exp()).sum(1))
        if unknown:
            expected.append((counts * nothing - nothing.exp()).sum(1))
    truth = torch.stack(expected, 1)
    torch.testing.assert_close(
        found - found[:, :1], truth - truth[:, :1], rtol=1e-4, atol=1e-3
    )  # up to a constant per bin
    assert (other - other[:, :1] - (found - found[:, :1])).abs().max() > 0.1
