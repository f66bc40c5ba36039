"""What holds for every decoder."""

from collections.abc import Callable

import numpy as np
import pytest

from neuroformer.baselines.decoding import DECODERS, Target, build_decoder, decoders_for
from neuroformer.errors import UserError
from neuroformer.settings.decoding import (
    DecodersConfig,
    GRUConfig,
    KalmanConfig,
    LogisticConfig,
    NaiveBayesConfig,
    RidgeConfig,
)

Walk = Callable[..., tuple[list[np.ndarray], list[np.ndarray]]]
BIN_S = 0.1
LINE = Target(name="position", unit="cm", bounds=((0.0, 100.0),))
CIRCLE = Target(name="heading", period=100.0)
CLASSES = Target(name="state", kind="categorical", labels=("a", "b", "c"))


def small(*, centered: bool = False) -> DecodersConfig:
    windows = {"windows_s": [0.5] if centered else [0.1, 0.4], "centered": centered, "folds": 3}
    return DecodersConfig(
        ridge=RidgeConfig(**windows, taps=[1, 2]),
        logistic=LogisticConfig(**windows, penalties=[0.1, 0.003], cells=8),
        naive_bayes=NaiveBayesConfig(
            **windows,
            prior_s=[0.1, 1.0],
            smoothing=[0.03, 0.1],
            cells=12,
            cells_2d=6,
            evidence=[1.0, 0.2],
            motion="smooth" if centered else "none",
        ),
        kalman=KalmanConfig(**windows, noise=[1.0, 8.0], shrinkage=[0.5, 1.0], smooth=centered),
        gru=GRUConfig(steps=6, check_every=3, width=8, state=8, batch=4, rate=0.02, centered=centered),
    )


def made(name: str, target: Target, **options: bool) -> object:
    return build_decoder(name, target, bin_s=BIN_S, config=small(**options))


def error(target: Target, mean: list[np.ndarray], y: list[np.ndarray]) -> float:
    return float(np.abs(target.error(np.concatenate(y), np.concatenate(mean))).mean())


@pytest.mark.parametrize("name", decoders_for(LINE))
@pytest.mark.parametrize("kind", ["line", "circle"])
def test_tuned_activity_is_decoded(walk: Walk, name: str, kind: str) -> None:
    target = LINE if kind == "line" else CIRCLE
    x, y = walk(kind)
    x_test, y_test = walk(kind, seed=1, lengths=(200, 1, 150))
    found = made(name, target).fit(x, y).predict(x_test)
    null = made("null", target).fit(x, y).predict(x_test)
    assert [m.shape for m in found.mean] == [s.shape for s in found.spread] == [v.shape for v in y_test]
    assert all((s > 0).all() and np.isfinite(s).all() for s in found.spread)
    least = {"null": 1.001, "gru": 1.1}.get(name, 0.5)  # that a GRU learns is tested by itself
    assert error(target, found.mean, y_test) < least * error(target, null.mean, y_test)
    if name not in ("null", "gru"):
        z = target.error(np.concatenate(y_test), np.concatenate(found.mean)) / np.concatenate(found.spread)
        assert np.mean(np.abs(z) < 1.2816) > 0.5
    if found.probability is not None:
        assert found.grid.size == found.probability[0].shape[1]
        for p in found.probability:
            np.testing.assert_allclose(p.sum(1), 1, atol=1e-9)


@pytest.mark.parametrize("name", decoders_for(CLASSES))
def test_classes_are_decoded(walk: Walk, name: str) -> None:
    x, y = walk("classes")
    x_test, y_test = walk("classes", seed=1)
    p = np.concatenate(made(name, CLASSES).fit(x, y).predict(x_test).probability)
    truth = np.concatenate(y_test)
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-9)
    assert (p > 0).all()
    if name not in ("null", "gru"):
        assert (p.argmax(1) == truth).mean() > np.bincount(truth).max() / len(truth) + 0.1


@pytest.mark.parametrize("name", ["null", "ridge", "naive_bayes", "kalman", "gru"])
def test_two_dimensions_at_once(walk: Walk, name: str) -> None:
    x, y = walk("plane")
    found = made(name, Target(name="place", unit="cm")).fit(x, y).predict(x)
    assert found.mean[0].shape == found.spread[0].shape == (250, 2)
    assert np.isfinite(np.concatenate(found.mean)).all()
    if name in ("ridge", "naive_bayes", "kalman"):
        assert np.abs(found.mean[0] - y[0]).mean() < 0.6 * np.abs(y[0].mean(0) - y[0]).mean()


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("kind", ["line", "circle", "classes"])
def test_no_prediction_looks_ahead_or_across_stretches(walk: Walk, name: str, kind: str) -> None:
    target = {"line": LINE, "circle": CIRCLE, "classes": CLASSES}[kind]
    if name not in decoders_for(target):
        return
    x, y = walk(kind, lengths=(120, 80))
    decoder = made(name, target).fit(x, y)
    changed = [x[0].copy(), x[1]]
    changed[0][70:] = 9
    before, after = decoder.predict(x), decoder.predict(changed)
    for field in ("mean", "spread", "probability"):
        one, two = getattr(before, field), getattr(after, field)
        if one is not None:
            # Recurrent kernels may round differently, matrix products too.
            np.testing.assert_allclose(one[0][:70], two[0][:70], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(one[1], two[1], rtol=1e-5, atol=1e-6)
            if name != "null" and field != "spread":
                assert np.abs(one[0][70:] - two[0][70:]).max() > 1e-3


@pytest.mark.parametrize("name", [name for name in decoders_for(LINE) if name != "null"])
def test_a_centred_decoder_looks_ahead(walk: Walk, name: str) -> None:
    x, y = walk(lengths=(150,))
    decoder = made(name, LINE, centered=True).fit(x, y)
    if "bayes" not in name:
        assert decoder.config.centered
    changed = [x[0].copy()]
    changed[0][71:] = 5
    one, two = decoder.predict(x).mean[0], decoder.predict(changed).mean[0]
    assert np.abs(one[60:71] - two[60:71]).max() > 1e-6


@pytest.mark.parametrize("name", decoders_for(LINE))
def test_an_unknown_label_carries_no_loss(walk: Walk, name: str) -> None:
    x, y = walk(lengths=(110, 50))
    unknown = [v.copy() for v in y]
    unknown[0][40:70] = np.nan
    noisy = [v.copy() for v in unknown]
    noisy[0][40:70] = np.inf  # not finite is unknown, whatever it is
    one, two = (made(name, LINE).fit(x, labels).predict(x) for labels in (unknown, noisy))
    np.testing.assert_array_equal(np.concatenate(one.mean), np.concatenate(two.mean))
    known = made(name, LINE).fit(x, y).predict(x)
    assert np.abs(np.concatenate(known.mean) - np.concatenate(one.mean)).max() > 0


@pytest.mark.parametrize("name", decoders_for(LINE))
@pytest.mark.parametrize("n_labels", [1, 4, 15, 40])
def test_few_labels_of_many_units_are_enough_to_run(name: str, n_labels: int) -> None:
    rng = np.random.default_rng(0)
    x = [rng.poisson(0.02, (80, 500)).astype(np.float32)]
    y = [np.full((80, 1), np.nan)]
    y[0][30 : 30 + n_labels, 0] = rng.uniform(0, 100, n_labels)
    found = made(name, LINE).fit(x, y).predict(x)
    assert np.isfinite(found.mean[0]).all()
    assert np.isfinite(found.spread[0]).all()


@pytest.mark.parametrize("name", decoders_for(CLASSES))
def test_few_labels_of_one_class_are_enough_to_run(name: str) -> None:
    x = [np.random.default_rng(0).poisson(0.02, (80, 300)).astype(np.float32)]
    y = [np.full(80, -1)]
    y[0][30:42] = 2
    p = made(name, CLASSES).fit(x, y).predict(x).probability[0]
    assert (p.argmax(1) == 2).all()
    assert (p > 0).all()


@pytest.mark.parametrize("name", decoders_for(LINE))
def test_a_constant_target_is_predicted(walk: Walk, name: str) -> None:
    x, _ = walk(lengths=(100,))
    constant = Target(name="speed", unit="cm/s")
    found = made(name, constant).fit(x, [np.full((100, 1), 7.0)]).predict(x)
    # A grid about a constant has width 1, and the spread of its cell.
    np.testing.assert_allclose(found.mean[0], 7.0, atol=0.51 if found.grid is not None else 1e-2)


@pytest.mark.parametrize("name", decoders_for(LINE))
def test_silent_units_change_little_and_break_nothing(walk: Walk, name: str) -> None:
    x, y = walk(lengths=(120,))
    silent = [np.zeros_like(part) for part in x]
    found = made(name, LINE).fit(silent, y).predict(silent)
    assert np.isfinite(found.mean[0]).all()
    assert np.isfinite(found.spread[0]).all()
    loud = [part.copy() for part in silent]
    loud[0][5, 3] = 1  # fires for the first time when it is decoded
    assert np.isfinite(made(name, LINE).fit(silent, y).predict(loud).mean[0]).all()


@pytest.mark.parametrize("name", [name for name in decoders_for(LINE) if name != "null"])
def test_validation_chooses_and_trains_nothing_else(walk: Walk, name: str) -> None:
    x, y = walk(lengths=(110, 50))
    held_out = walk(seed=3, lengths=(100,))
    decoder = made(name, LINE)
    one = decoder.fit(x, y, validation=held_out)
    chosen, mean = one.chosen, one.predict(x).mean
    again = made(name, LINE).fit(x, y, validation=held_out)
    assert again.chosen == chosen
    for a, b in zip(mean, again.predict(x).mean, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([np.zeros((5, 2))], [np.zeros((4, 1))], "5 bins of features and 4 labels"),
        ([np.zeros((5, 2))], [np.full((5, 1), np.nan)], "no labelled bin"),
        ([np.zeros((5, 2)), np.zeros((5, 3))], [np.zeros((5, 1))] * 2, "expected \\(T, 2\\)"),
        ([np.full((5, 2), np.nan)], [np.zeros((5, 1))], "NaN or infinity"),
        ([np.zeros((5, 2))], [np.zeros(5)], "expected \\(T, D\\)"),
        ([], [], "no stretch"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(x: list, y: list, message: str) -> None:
    with pytest.raises(UserError, match=message):
        made("ridge", LINE).fit(x, y)


def test_what_cannot_be_decoded_is_refused() -> None:
    with pytest.raises(UserError, match="ridge decodes continuous"):
        made("ridge", CLASSES)
    with pytest.raises(UserError, match="no such decoder"):
        build_decoder("magic", LINE, bin_s=BIN_S)
    with pytest.raises(UserError, match="below 3"):
        made("logistic", CLASSES).fit([np.zeros((5, 2))], [np.full(5, 3)])
    with pytest.raises(UserError, match="3 dimensions"):
        made("naive_bayes", Target(name="a")).fit([np.zeros((5, 2))], [np.zeros((5, 3))])
    with pytest.raises(ValueError, match="needs its labels"):
        Target(name="state", kind="categorical")
    with pytest.raises(ValueError, match="windows_s"):
        RidgeConfig(windows_s=[0.0])


def test_the_null_is_mean_and_frequency() -> None:
    x = [np.zeros((4, 1))]
    found = made("null", Target(name="a")).fit(x, [np.array([[1.0], [2.0], [np.nan], [6.0]])]).predict(x)
    np.testing.assert_allclose(found.mean[0], 3.0)
    np.testing.assert_allclose(found.spread[0], np.std([1, 2, 6]))
    found = made("null", CIRCLE).fit(x, [np.array([[95.0], [5.0], [np.nan], [np.nan]])]).predict(x)
    np.testing.assert_allclose(CIRCLE.error(np.zeros((4, 1)), found.mean[0]), 0, atol=1e-9)
    found = made("null", CLASSES).fit(x, [np.array([2, 2, -1, 0])]).predict(x)
    np.testing.assert_allclose(found.probability[0][0], [2 / 6, 1 / 6, 3 / 6])
