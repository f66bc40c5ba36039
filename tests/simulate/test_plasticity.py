import numpy as np
import pytest

from neuroformer.errors import UserError
from neuroformer.session import Session, validate_file, write_session
from simulate import CircuitConfig, simulate_circuit, to_session
from simulate.config import GlmConfig, WiringConfig
from simulate.plasticity import PlasticityConfig, draw_change


def change(rng, **settings):
    median = np.where(np.arange(200) < 150, 1.0, -2.0)
    weight = median * np.exp(0.3 * np.random.default_rng(1).standard_normal(200))
    drawn = draw_change(
        PlasticityConfig(**settings), weight, median=median, sigma=0.3, n_steps=1000, block=30, rng=rng
    )
    return weight, drawn


def test_the_asked_fraction_is_multiplied(rng):
    before, drawn = change(rng, fraction=0.3, factor=2.5)
    changed = drawn.weight != before
    assert changed.sum() == 60
    np.testing.assert_allclose(drawn.weight[changed], 2.5 * before[changed])


def test_edges_may_vanish(rng):
    before, drawn = change(rng, fraction=0.25, factor=0.0)
    assert (drawn.weight == 0).sum() == 50
    assert (drawn.weight == before).sum() == 150


def test_redrawn_weights_keep_sign_and_law(rng):
    before, drawn = change(rng, fraction=1.0, factor=None)
    assert (drawn.weight != before).all()
    np.testing.assert_array_equal(np.sign(drawn.weight), np.sign(before))
    logs = np.log(np.abs(drawn.weight) / np.where(before > 0, 1, 2))
    assert logs.mean() == pytest.approx(0, abs=0.07)
    assert logs.std() == pytest.approx(0.3, rel=0.15)
    assert abs(np.corrcoef(logs, np.log(np.abs(before) / np.where(before > 0, 1, 2)))[0, 1]) < 0.2


@pytest.mark.parametrize(("at", "step"), [(0.5, 510), (0.3, 300), (0.99, 990)])
def test_the_change_comes_with_a_block(rng, at, step):
    assert change(rng, fraction=0.1, at=at)[1].step == step


@pytest.mark.parametrize("at", [0.0, 0.01])
def test_a_change_at_either_end_is_refused(rng, at):
    with pytest.raises(UserError, match=r"plasticity.at=.*: expected at least one block"):
        change(rng, fraction=0.1, at=at)


CONFIG = {"units": 15, "hidden": 5, "duration_s": 20.0, "wiring": WiringConfig(density=0.2)}


def test_events_are_those_of_the_old_circuit_before_and_others_after():
    plain = simulate_circuit(CircuitConfig(**CONFIG)).activity
    plastic = CircuitConfig(**CONFIG, plasticity=PlasticityConfig(fraction=0.5, factor=0.0))
    circuit = simulate_circuit(plastic)
    changed = circuit.activity
    old, new = plain.steps < 2000, changed.steps < 2000
    np.testing.assert_array_equal(plain.steps[old], changed.steps[new])
    np.testing.assert_array_equal(plain.neurons[old], changed.neurons[new])
    np.testing.assert_array_equal(plain.log_likelihood[:10], changed.log_likelihood[:10])
    assert (plain.log_likelihood[10:] != changed.log_likelihood[10:]).mean() > 0.9


def test_the_session_knows_both_matrices_and_is_cut_at_the_change(tmp_path):
    config = CircuitConfig(**CONFIG, plasticity=PlasticityConfig(fraction=0.5, at=0.25))
    circuit = simulate_circuit(config)
    path = write_session(tmp_path / "a.h5", to_session(circuit, session_id="a"))
    assert validate_file(path) == []
    with Session(path) as session:
        truth = session.truth
        np.testing.assert_allclose(session.intervals, [[0.0, 5.0], [5.0, 20.0]])
    assert truth.extra["switch_s"].tolist() == [5.0]
    after, edges = truth.extra["weights_after"], truth.weights != 0
    np.testing.assert_array_equal(after != 0, edges)
    ratio = after[edges] / truth.weights[edges]
    np.testing.assert_allclose(np.unique(ratio.round(5)), [1, 2])
    np.testing.assert_array_equal(truth.extra["all_weights_after"][:15, :15], after)


def test_stronger_weights_act_after_the_change():
    config = CircuitConfig(
        units=40,
        duration_s=40.0,
        wiring=WiringConfig(excitatory=1.0, weight=0.3, density=0.1),
        glm=GlmConfig(rate_hz=5.0),
        plasticity=PlasticityConfig(fraction=1.0, factor=3.0),
    )
    activity = simulate_circuit(config).activity
    late = activity.counts[activity.steps >= 4000].sum()
    assert late > 1.3 * (activity.counts.sum() - late)
