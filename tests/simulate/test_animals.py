import json

import numpy as np

from neuroformer.cli.command import run_command
from neuroformer.session import Session, validate_file
from simulate import CircuitConfig, simulate_circuit
from simulate.__main__ import COMMAND
from simulate.animals import animal_config
from simulate.config import SimulateConfig, WiringConfig


def test_one_command_writes_a_session_for_each_animal(tmp_path, capsys):
    words = ["animals=3", "units=10", "duration_s=10", "session_id=rule", "wiring.density=0.3"]
    assert run_command(COMMAND, [*words, f"out={tmp_path}"]) == 0
    files = [tmp_path / f"animal_{k}.h5" for k in range(3)]
    assert sorted(tmp_path.glob("*.h5")) == files
    assert [validate_file(file) for file in files] == [[], [], []]
    loaded = []
    for k, file in enumerate(files):
        assert str(file) in capsys.readouterr().out or k > 0
        assert (tmp_path / "figures" / f"animal_{k}.png").exists()
        with Session(file) as session:
            assert session.session_id == f"rule_animal_{k}"
            assert session.subject_id == f"animal_{k}"
            loaded.append(session.load())
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["animals"]["animal_2"]["session"] == "animal_2.h5"
    for data in loaded:
        assert "global_id" not in data.units  # no cell is in two animals
        assert data.units["cell_type"].tolist() == ["E"] * 8 + ["I"] * 2
    assert not np.array_equal(loaded[0].truth.weights, loaded[1].truth.weights)
    assert len(loaded[0].events) != len(loaded[1].events)


def test_an_animal_is_the_circuit_of_its_own_seed():
    config = CircuitConfig(seed=3, units=8, duration_s=10.0)
    own = animal_config(config, 1)
    assert config.seed == 3
    assert own.seed == animal_config(config, 1).seed
    again = simulate_circuit(CircuitConfig(seed=own.seed, units=8, duration_s=10.0))
    np.testing.assert_array_equal(simulate_circuit(own).activity.steps, again.activity.steps)
    assert len({animal_config(config, k).seed for k in range(100)}) == 100


def test_animals_share_the_rule():
    config = SimulateConfig(
        out="", units=60, duration_s=20.0, wiring=WiringConfig(density=0.2, hub_exponent=None)
    )
    circuits = [simulate_circuit(animal_config(config, k)) for k in range(3)]
    densities = [len(circuit.wiring.source) / (60 * 59) for circuit in circuits]
    np.testing.assert_allclose(densities, 0.2, atol=0.03)
    medians = [np.median(circuit.wiring.weight[circuit.wiring.weight > 0]) for circuit in circuits]
    np.testing.assert_allclose(medians, 0.9, rtol=0.1)
    assert len({circuit.config.wiring.density for circuit in circuits}) == 1
