import json
from pathlib import Path

import pytest
import yaml

from neuroformer.cli.command import run_command
from neuroformer.session import Session, validate_file
from simulate.__main__ import COMMAND

CONFIGS = Path(__file__).parents[2] / "configs" / "simulate"


def simulate(*words):
    return run_command(COMMAND, [str(word) for word in words])


def test_from_the_command_line_to_a_session_file(tmp_path, capsys):
    words = ["units=20", "hidden=5", "duration_s=10", "session_id=mine", f"out={tmp_path}"]
    assert simulate(*words) == 0
    printed = capsys.readouterr().out
    assert "20 units and 5 hidden ones" in printed
    assert "bits/spike" in printed
    assert str(tmp_path / "mine.h5") in printed
    assert validate_file(tmp_path / "mine.h5") == []
    with Session(tmp_path / "mine.h5") as session:
        assert (session.session_id, session.n_units, session.duration) == ("mine", 20, 10.0)
        assert session.truth.hidden == 5
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["command"] == "python -m simulate"
    assert metrics["session"] == "mine.h5"
    assert {"rates_hz", "synchrony", "edges", "bits_per_spike"} <= metrics.keys()
    assert "hidden: 5" in (tmp_path / "config.yaml").read_text()
    assert (tmp_path / "figures" / "circuit.png").stat().st_size > 10_000

    assert simulate(*words) == 1
    assert "overwrite=true" in capsys.readouterr().err
    assert simulate(*words, "overwrite=true", "figure=false") == 0


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_shipped_circuits_work(file, tmp_path, capsys):
    brain = ["units=200", "whole_brain.frames=50"] if "whole_brain" in file.read_text() else []
    assert simulate("--config", file, "duration_s=2", "figure=false", *brain, f"out={tmp_path}") == 0
    written = sorted(tmp_path.glob("*.h5"))
    animals = yaml.safe_load(file.read_text()).get("animals", 1)
    assert [path.stem for path in written] == (
        [f"animal_{k}" for k in range(animals)] if animals > 1 else [file.stem]
    )
    assert [validate_file(path) for path in written] == [[]] * len(written)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("duration_s=-5", "duration_s=-5.0: expected at least one step (dt_s=0.005)"),
        ("duration_s=nan", "duration_s: found nan, expected a number"),
        ("block_s=0.001", "block_s=0.001: expected at least one step"),
        ("dt_s=0", "dt_s=0.0: expected a number above 0"),
        ("units=0", "units=0: expected a number above 0"),
        ("hidden=-1", "hidden=-1: expected 0 or a number above it"),
        ("seed=-1", "seed=-1: expected 0 or a number above it"),
        ("neuron=hodgkin", "neuron: found 'hodgkin', expected glm or lif or conductance or izhikevich"),
        ("glm.emission=gamma", "glm.emission: found 'gamma', expected poisson or bernoulli"),
        ("glm.ceiling_hz=5", "glm.ceiling_hz=5.0: expected more than glm.rate_hz (6.0)"),
        ("glm.ceiling_hz=1e6", "glm.ceiling_hz=1000000.0: expected at most 20000 (100 events in a step)"),
        ("glm.refractory_s=-1", "glm.refractory_s=-1.0: expected 0 or a number above it"),
        ("lif.membrane_s=0", "lif.membrane_s=0.0: expected a number above 0"),
        ("lif.rest_mv=.inf", "lif.rest_mv=inf: expected a finite number"),
        ("wiring.density=1.5", "wiring.density=1.5: expected a fraction from 0 to 1"),
        ("wiring.hub_exponent=1", "wiring.hub_exponent=1.0: expected a number above 1, or null"),
        (
            "wiring.delay_max_s=0.001",
            "wiring.delay_max_s=0.001: expected at least wiring.delay_min_s (0.005)",
        ),
        (
            "wiring.delay_min_s=0.001",
            "wiring.delay_min_s=0.001: expected at least one step (dt_s=0.005); raise",
        ),
        ("synapse.excitatory_s=0", "synapse.excitatory_s=0.0: expected a number above 0"),
        ("drive.time_constant_s=0", "drive.time_constant_s=0.0: expected a number above 0"),
        (
            "wiring.kind=star",
            "wiring.kind: found 'star', expected random or feed_forward or ring or clustered",
        ),
        ("wiring.feed_forward.layers=1", "wiring.feed_forward.layers=1: expected 2 or more"),
        ("wiring.ring.excitatory_deg=0", "wiring.ring.excitatory_deg=0.0: expected a number above 0"),
        ("wiring.clustered.n=0", "wiring.clustered.n=0: expected 1 or more"),
        ("wiring.small_world.rewire=2", "wiring.small_world.rewire=2.0: expected a fraction from 0 to 1"),
        ("wiring.distance.velocity_m_s=0", "wiring.distance.velocity_m_s=0.0: expected a number above 0"),
        ("wiring.motifs.chain=-2", "wiring.motifs.chain=-2.0: expected a number above -1"),
        ("neuron=izhikevich", "dt_s=0.005: expected at most 0.001 with neuron=izhikevich"),
        ("izhikevich.escape_mv=0", "izhikevich.escape_mv=0.0: expected a number above 0"),
        (
            "conductance.inhibitory_mv=10",
            "conductance.excitatory_mv=0.0: expected more than conductance.inhibitory_mv (10.0)",
        ),
        ("plasticity.factor=-1", "plasticity.factor=-1.0: expected 0 or a number above it"),
        ("session_id=a/b", "session_id=a/b: expected a name that can be that of a file"),
        ("calcium.decay_s=0.01", "calcium.decay_s=0.01: expected more than calcium.rise_s (0.05)"),
        ("calcium.events=none", "calcium.events: found 'none', expected deconvolved or spikes"),
        ("states.dwell_s=[1]", "states.dwell_s=[1.0]: expected two states or more, or [] for none"),
        ("stimulus.kind=film", "stimulus.kind: found 'film', expected none or gratings or white_noise"),
        ("behavior.variables=[pace]", "behavior.variables=['pace']: expected speed, heading, tail_angle"),
        ("animals=0", "animals=0: expected a number above 0"),
        ("wiring.densty=0.1", "did you mean wiring.density?"),
    ],
)
def test_a_senseless_setting_is_named_with_what_is_expected(word, message, tmp_path, capsys):
    assert simulate(word, f"out={tmp_path / 'out'}") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_silent_circuit_leaves_no_session(tmp_path, capsys):
    assert simulate("glm.rate_hz=0.001", "duration_s=10", f"out={tmp_path}") == 1
    assert "error: the circuit is silent" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.h5"))
    assert not (tmp_path / "metrics.json").exists()


def test_help_lists_every_setting(capsys):
    assert simulate("--help") == 0
    printed = capsys.readouterr().out
    for key in ("wiring.hub_exponent", "drive.strength", "lif.escape_mv", "overwrite"):
        assert key in printed
