import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from neuroformer.errors import UserError
from neuroformer.identity import UnitEmbeddings, read_embeddings, write_embeddings
from neuroformer.identity.embedding import unit_parts
from neuroformer.identity.units import unit_table
from neuroformer.model import (
    CouplingConfig,
    HistoryConfig,
    ModelConfig,
    Neuroformer,
    SessionShape,
    TrunkConfig,
)
from neuroformer.session import Session


def model(*, rank: int = 0, state: int = 4) -> Neuroformer:
    config = ModelConfig(
        coupling=CouplingConfig(heads=2, window_s=0.05, rank=rank),
        history=HistoryConfig(window_s=0.05, functions=3),
        trunk=TrunkConfig(width=8, layers=0, heads=2, state=state, time_constants_s=[0.01, 0.02]),
    )
    shapes = [
        SessionShape(rate=torch.full((n,), 0.1), train_bins=100, level_frequency=torch.ones(1))
        for n in (3, 5)
    ]
    made = Neuroformer(config=config, bin_s=0.01, sessions=shapes)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(
                torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
            )
    return made


def test_every_part_has_a_row_per_unit() -> None:
    found = unit_parts(model())
    assert {name: part.shape for name, part in found.items()} == {
        "bias": (8, 1),
        "drive": (8, 8),
        "history": (8, 3),
        "readout": (8, 4),
        "unit": (8, 8),
        "wiring": (8, 8),
    }
    assert unit_parts(model(rank=3))["factors"].shape == (8, 12)
    assert set(unit_parts(model(state=0))) == {"bias", "history", "wiring"}


@pytest.mark.parametrize("rank", [0, 3])
def test_wiring_sums_up_the_couplings(rank: int) -> None:
    made = model(rank=rank)
    weights = made.coupling_weights(1).numpy()  # (2, 5, 5)
    found = unit_parts(made)["wiring"][3:]
    out, into = weights.sum(2) / 4, weights.sum(1) / 4
    squares = [np.sqrt((weights**2).sum(axis) / 4) for axis in (2, 1)]
    np.testing.assert_allclose(found, np.concatenate([out, into, *squares]).T, rtol=1e-5, atol=1e-6)


def test_drive_is_what_the_state_hears_of_an_event() -> None:
    made = model()
    assert made.trunk is not None
    pools = [pool.weight for pool in made.trunk.pool]
    of_unit_4 = made.trunk.unit[4] + made.trunk.session[1]
    expected = torch.cat([weight @ of_unit_4 for weight in pools]).detach().numpy()
    np.testing.assert_allclose(unit_parts(made)["drive"][4], expected, rtol=1e-5)


def test_what_is_written_is_read(
    animal: Callable[..., Path], tmp_path: Path, rng: np.random.Generator
) -> None:
    units = unit_table([Session(animal("a")), Session(animal("b", position=rng.normal(size=(10, 3))))])
    made = UnitEmbeddings(units=units, parts={"unit": rng.normal(size=(20, 3)).astype(np.float32)})
    write_embeddings(tmp_path / "out", made)
    found = read_embeddings(tmp_path / "out" / "embeddings.npz")
    np.testing.assert_array_equal(found.parts["unit"], made.parts["unit"])
    np.testing.assert_array_equal(found.units.position, units.position)
    assert found.units.columns["cell_type"].tolist() == units.columns["cell_type"].tolist()
    with (tmp_path / "out" / "embeddings.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["session_id"] for row in rows] == ["a"] * 10 + ["b"] * 10
    assert rows[0]["x"] == ""
    assert float(rows[13]["unit_2"]) == pytest.approx(float(made.parts["unit"][13, 2]), rel=1e-5)
    assert found.matrix(["unit", "factors"]).shape == (20, 3)


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_embeddings(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("text")
    np.savez(tmp_path / "other.npz", a=np.zeros(2))
    for name in ("text.npz", "other.npz"):
        with pytest.raises(UserError, match="not a file of unit embeddings"):
            read_embeddings(tmp_path / name)
