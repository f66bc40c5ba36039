"""Statistics of a unit's own activity."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from neuroformer.data import Recording
from neuroformer.session import Events, Session, write_session
from neuroformer.training.checkpoint import load_checkpoint
from neuroformer.training.unit_encoder.activity import training_pieces, unit_statistics


def recording(path: Path, run: Path) -> tuple[Recording, torch.nn.Module]:
    trained = load_checkpoint(run / "checkpoints" / "best.ckpt")
    split = build_split(trained.settings)
    return Recording(path, bin_s=0.1, split=split, context_bins=trained.model.context), trained.model


def build_split(settings: dict) -> object:
    from neuroformer.training.checkpoint import data_config

    return data_config(settings["data"]).split


def test_coincidences_are_those_counted_by_hand(folder: Path, run: Path) -> None:
    made, model = recording(folder / "new.h5", run)
    found = unit_statistics(model, made, made.entry(1), most_bins=10**6)
    basis = model.history.basis.numpy()
    taus = [1.0, *model.trunk.time_constants]
    n_lags = int(np.ceil(4 * max(taus)))
    decays = [np.exp(-np.arange(1, n_lags + 1) / tau) for tau in taus]
    kernels = [np.pad(k, (0, n_lags - len(k))) for k in basis] + decays
    unit, n_bins, total, rest = 3, 0, 0.0, 0.0
    own, follows, leads, reach = (np.zeros(len(kernels)) for _ in range(4))
    same = 0.0
    for span in training_pieces(made, 10**6):
        counts = made.counts(span).astype(float)
        mine, others = counts[:, unit], counts.sum(1) - counts[:, unit]
        n_bins, total, rest = n_bins + len(mine), total + mine.sum(), rest + others.sum()
        same += float(mine @ others)
        for k, kernel in enumerate(kernels):
            for t in range(len(mine)):
                past = slice(max(0, t - n_lags), t)
                weight = kernel[: t - past.start][::-1]
                own[k] += mine[t] * (weight @ mine[past])
                follows[k] += mine[t] * (weight @ others[past])
                leads[k] += others[t] * (weight @ mine[past])
                reach[k] += weight.sum()
    rate, other_rate, n = total / n_bins, rest / n_bins, len(basis)

    def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.log((a + 1) / (b + 1))

    expected = np.concatenate(
        [
            [np.log(rate)],
            ratio(own, rate**2 * reach),
            ratio(follows, rate * other_rate * reach)[n:],
            ratio(leads, rate * other_rate * reach)[n:],
            [ratio(same, n_bins * rate * other_rate)],
        ]
    )
    assert found[unit] == pytest.approx(expected, abs=1e-4)


def test_only_the_training_part_counts(folder: Path, run: Path, tmp_path: Path) -> None:
    made, model = recording(folder / "new.h5", run)
    data = Session(folder / "new.h5").load()
    inside = np.zeros(len(data.events.times), bool)
    for span in made.part("train"):
        epoch = made.epochs[span.epoch]
        inside |= (data.events.times >= epoch.time_of(span.start)) & (
            data.events.times < epoch.time_of(span.stop)
        )
    assert not inside.all()
    events = Events(times=data.events.times[inside], units=data.events.units[inside])
    path = write_session(tmp_path / "new.h5", dataclasses.replace(data, events=events))
    other, _ = recording(path, run)
    assert np.array_equal(
        unit_statistics(model, made, made.entry(1), most_bins=10**6),
        unit_statistics(model, other, other.entry(1), most_bins=10**6),
    )


def test_long_sessions_are_thinned_evenly(folder: Path, run: Path) -> None:
    made, _ = recording(folder / "new.h5", run)
    whole = training_pieces(made, 10**6)
    assert sum(map(len, whole)) == sum(map(len, made.part("train")))
    some = training_pieces(made, 200)
    assert 100 <= sum(map(len, some)) <= 200
    assert some[0].start == whole[0].start
    assert some[-1].stop == whole[-1].stop
