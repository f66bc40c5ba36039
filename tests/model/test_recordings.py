"""From session files to a likelihood: the same number however the DataModule cuts the recordings."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from neuroformer.data import PARTS, DataConfig, RecordingsModule, Span, SplitConfig
from neuroformer.model import ModelConfig, Neuroformer, SessionShape
from neuroformer.session import Events, SessionData, write_session

BIN_S = 1.0


@pytest.fixture
def files(tmp_path: Path, rng: np.random.Generator) -> list[Path]:
    def write(name: str, n_units: int) -> Path:
        n = 900
        return write_session(
            tmp_path / f"{name}.h5",
            SessionData(
                session_id=name,
                subject_id="mouse",
                start=0.0,
                stop=1000.0,
                n_units=n_units,
                events=Events(
                    times=np.sort(rng.uniform(0, 1000, n)),
                    units=rng.integers(0, n_units, n).astype(np.int32),
                    amplitudes=rng.gamma(2.0, size=n).astype(np.float32),
                ),
                intervals=np.array([[0.0, 400.0], [420.0, 1000.0]]),
            ),
        )

    return [write("a", 3), write("b", 5)]


def test_likelihood_of_a_part_does_not_depend_on_how_it_is_read(
    files: list[Path], make_model: Callable[..., Neuroformer]
) -> None:
    config: ModelConfig = make_model().config

    def module(chunk_s: float, batch_size: int) -> RecordingsModule:
        return RecordingsModule(
            config=DataConfig(
                sessions=[str(f) for f in files],
                bin_s=BIN_S,
                chunk_s=chunk_s,
                batch_size=batch_size,
                levels=3,
                split=SplitConfig(blocks=2),
            ),
            context_bins=14,
        )

    data = module(80.0, 2)
    shapes = [
        SessionShape(
            rate=torch.as_tensor(e.train_rate),
            train_bins=e.train_bins,
            level_frequency=torch.as_tensor(e.level_counts / e.level_counts.sum()),
        )
        for e in data.vocabulary
    ]
    model = make_model(*shapes, n_levels=3)
    assert model.config == config
    assert model.context == data.context_bins

    @torch.no_grad()
    def score(data: RecordingsModule, part: str) -> tuple[float, float, float]:
        found = [model.likelihood(batch) for _, batch in data.in_order(part)]  # type: ignore[arg-type]
        return tuple(  # type: ignore[return-value]
            float(sum(getattr(f, name).sum() for f in found)) for name in ("cells", "levels", "counts")
        )

    for part in PARTS:
        cells, levels, events = score(data, part)
        assert events == sum(r.counts(s).sum() for r in data.recordings for s in r.part(part))
        for chunk_s, batch_size in ((1.0, 16), (300.0, 8)):
            again = score(module(chunk_s, batch_size), part)
            assert again == pytest.approx((cells, levels, events), rel=1e-6)


def test_likelihood_of_two_neighbours_is_that_of_both(
    files: list[Path], make_model: Callable[..., Neuroformer]
) -> None:
    data = RecordingsModule(
        config=DataConfig(sessions=[str(files[0])], bin_s=BIN_S, levels=1), context_bins=14
    )
    entry = data.vocabulary["a"]
    model = make_model(
        SessionShape(rate=torch.as_tensor(entry.train_rate), train_bins=1, level_frequency=torch.ones(1))
    )
    spans = [Span(epoch=1, start=a, stop=b) for a, b in ((0, 3), (3, 50), (0, 50))]
    with torch.no_grad():
        first, second, both = (
            float(model.likelihood(batch).cells.sum()) for batch in data.batches_of(data.recordings[0], spans)
        )
    assert first + second == pytest.approx(both, rel=1e-6)
