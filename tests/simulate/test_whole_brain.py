"""A whole brain whose drivers are known."""

import numpy as np
import pytest

from neuroformer.cli.command import run_command
from neuroformer.session import Session, validate_file
from simulate.__main__ import COMMAND
from simulate.whole_brain import simulate_whole_brain
from simulate.whole_brain_config import WholeBrainConfig


def brain(*, neurons=200, seed=0, **settings):
    usual = {"frames": 4000, "drivers": 10, "tail_noise": 0.2}
    config = WholeBrainConfig(**usual | settings)
    return config, simulate_whole_brain(config, neurons=neurons, seed=seed)


def undo_calcium(config, traces):
    """The input of each neuron, from its calcium without noise and factors."""
    keep = np.exp(-1 / (config.frame_rate_hz * config.decay_s))
    return (traces[1:] - keep * traces[:-1]).astype(float)


def test_the_tail_is_the_weighted_sum_of_the_drivers_inputs():
    config, found = brain(noise=0.0, shared=0.0, tail_noise=0.0)
    inputs = undo_calcium(config, found.traces)
    inputs /= inputs.std(0)
    drives = np.flatnonzero(found.weights)
    assert len(drives) == 10
    pull = inputs[:, drives] @ found.weights[drives]
    assert np.corrcoef(pull, found.tail[1:])[0, 1] > 0.999
    assert found.tail.std() == pytest.approx(config.tail_deg, rel=1e-6)


def test_the_command_is_shared_as_much_as_is_said():
    config, found = brain(noise=0.0, shared=0.0, coherence=0.3, followers=20, neurons=100)
    inputs = undo_calcium(config, found.traces)
    side = np.where(found.weights < 0, -1.0, 1.0)
    drives, follows = np.flatnonzero(found.weights), np.flatnonzero(found.follows)
    together = np.corrcoef((inputs * side)[:, drives].T)
    assert together[~np.eye(10, dtype=bool)].mean() == pytest.approx(0.3, abs=0.03)
    assert np.corrcoef(inputs[:, np.append(follows, drives[:1])].T * side[drives[0]])[
        -1, :-1
    ].mean() == pytest.approx(0.3 * side[drives[0]], abs=0.04)
    assert not (found.follows & (found.weights != 0)).any()
    assert follows.size == 20
    rest = np.setdiff1d(np.arange(100), [*drives, *follows])
    strangers = [abs(np.corrcoef(inputs[:, j], found.tail[1:])[0, 1]) for j in rest]
    assert np.mean(strangers) < 0.03
    assert np.mean([np.corrcoef(inputs[:, j], found.tail[1:])[0, 1] for j in follows]) > 0.2


def test_slow_factors_are_no_clue_to_the_tail():
    config, found = brain(shared=0.9, noise=0.0)
    others = found.traces[:, found.weights == 0]
    assert np.abs(np.corrcoef(others[:, :40].T)).mean() > 0.15  # shared
    first = np.linalg.svd(others - others.mean(0), full_matrices=False)[0][:, : config.factors]
    assert np.abs(first.T @ found.tail / np.linalg.norm(found.tail)).max() < 0.06


def test_the_seed_decides():
    assert (brain(seed=1)[1].traces == brain(seed=1)[1].traces).all()
    assert not (brain(seed=1)[1].tail == brain(seed=2)[1].tail).all()
    _, found = brain()
    assert (found.position**2 / np.array([400.0, 200.0, 125.0]) ** 2).sum(1).max() <= 1
    assert found.position[found.weights != 0, 0].mean() > 100  # most drivers lie at the back


def test_from_the_command_line(tmp_path, capsys):
    words = ["units=60", "whole_brain.frames=100", "whole_brain.drivers=5", "whole_brain.followers=3"]
    assert run_command(COMMAND, [*words, "session_id=fish", f"out={tmp_path}"]) == 0
    assert "5 neurons move the tail, 3 follow it" in capsys.readouterr().out
    assert validate_file(tmp_path / "fish.h5") == []
    with Session(tmp_path / "fish.h5") as session:
        assert session.units["drives_tail"].sum() == 5
        assert ((session.units["tail_weight"] != 0) == (session.units["drives_tail"] == 1)).all()
        assert session.units["follows_tail"].sum() == 3
        assert session.units["position"].shape == (60, 3)
        assert session.has_traces
        assert session.behavior_names == ("tail_angle",) or list(session.behavior_names) == ["tail_angle"]
    assert (tmp_path / "figures" / "circuit.png").stat().st_size > 10_000
    words = ["whole_brain.frames=100", "whole_brain.drivers=70", f"out={tmp_path / 'b'}"]
    assert run_command(COMMAND, words) != 0
    assert "expected at least whole_brain.drivers + followers" in capsys.readouterr().err
    assert (
        run_command(COMMAND, ["whole_brain.coherence=0", "whole_brain.followers=1", f"out={tmp_path / 'c'}"])
        != 0
    )
    assert "no command to follow" in capsys.readouterr().err
