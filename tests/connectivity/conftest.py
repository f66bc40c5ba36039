"""Batches of a count matrix, couplings made by hand instead of fitted, and models of random weights."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from neuroformer.batch import Batch
from neuroformer.connectivity.moments import LogLinearCoupling
from neuroformer.data import DataConfig, RecordingsModule, SplitConfig
from neuroformer.model import (
    CouplingConfig,
    HistoryConfig,
    ModelConfig,
    Neuroformer,
    SessionShape,
    TrunkConfig,
)
from neuroformer.session import Events, SessionData, write_session

BIN_S = 0.005


def tile(counts: np.ndarray, *, history: int, piece: int, rows: int) -> list[Batch]:
    """Cut (T, N) counts into pieces that score every bin once, `rows` a batch, each with the history before it."""
    pieces = [range(start, min(start + piece, len(counts))) for start in range(0, len(counts), piece)]
    return [_batch(counts, pieces[k : k + rows], history) for k in range(0, len(pieces), rows)]


def _batch(counts: np.ndarray, pieces: list[range], history: int) -> Batch:
    n_units = counts.shape[1]
    padded = np.concatenate([np.zeros((history, n_units), int), counts])
    events = []
    for piece in pieces:
        part = padded[piece.start : piece.stop + history]
        bins, units = part.nonzero()
        events.append(np.repeat(np.stack([bins, units]), part[bins, units], axis=1))
    n_events = max(1, *(found.shape[1] for found in events))
    both = torch.zeros(2, len(pieces), n_events, dtype=torch.long)
    mask = torch.zeros(len(pieces), n_events, dtype=torch.bool)
    scored = torch.zeros(len(pieces), history + max(map(len, pieces)), dtype=torch.bool)
    for row, (found, piece) in enumerate(zip(events, pieces, strict=True)):
        both[:, row, : found.shape[1]] = torch.from_numpy(found)
        mask[row, : found.shape[1]] = True
        scored[row, history : history + len(piece)] = True
    return Batch(
        session=torch.zeros(len(pieces), dtype=torch.long),
        unit_row=torch.arange(n_units).expand(len(pieces), -1),
        unit_mask=torch.ones(len(pieces), n_units, dtype=torch.bool),
        event_unit=both[1],
        event_bin=both[0],
        event_level=torch.zeros_like(both[0]),
        event_mask=mask,
        scored=scored,
    )


def constant(counts: np.ndarray, *, n_lags: int = 10) -> LogLinearCoupling:
    """Rates that nothing changes, with two kernels and no weight: what is left over is all there is to read."""
    rate = torch.as_tensor((counts.sum(0) + 0.5) / len(counts), dtype=torch.float32)
    lag = torch.arange(1, n_lags + 1)
    return LogLinearCoupling(
        log_intensity=lambda batch: rate.log().expand(
            len(batch.scored), batch.n_bins - batch.first_scored, -1
        ),
        kernels=torch.stack([torch.exp(-lag / 2), torch.exp(-lag / 6)]),
        weights=np.zeros((2, counts.shape[1], counts.shape[1])),
        rate=rate,
        bin_s=BIN_S,
    )


@pytest.fixture(scope="session")
def tiles() -> Callable[..., list[Batch]]:
    """`tiles(counts, history=, piece=, rows=)`: batches of a count matrix (T, N)."""
    return tile


@pytest.fixture(scope="session")
def constant_rates() -> Callable[..., LogLinearCoupling]:
    """`constant_rates(counts)`: a coupling without weights, every unit at its own rate."""
    return constant


CONTEXT = 20


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RecordingsModule:
    """Two sessions of bins of 10 ms: 3 units, and 5 units of which the last never fires; two intervals each."""
    folder, files = tmp_path_factory.mktemp("recorded"), []
    for name, n_units in (("a", 3), ("b", 5)):
        rng = np.random.default_rng(n_units)
        n_firing = 3 if n_units == 3 else 4
        bins, units = (rng.random((2_000, n_firing)) < 0.12).nonzero()
        data = SessionData(
            session_id=name,
            subject_id="mouse",
            start=0.0,
            stop=20.0,
            n_units=n_units,
            events=Events(times=(bins + 0.5) * 0.01, units=units.astype(np.int32)),
            intervals=np.array([[0.0, 11.0], [12.0, 20.0]]),
        )
        files.append(str(write_session(folder / f"{name}.h5", data)))
    config = DataConfig(
        sessions=files, bin_s=0.01, chunk_s=0.5, warmup_s=0.1, split=SplitConfig(val=0.2, test=0.1)
    )
    return RecordingsModule(config=config, context_bins=CONTEXT)


def random_model(
    shapes: Sequence[SessionShape], *, state: int = 0, layers: int = 1, log_scale: float = -20.0
) -> Neuroformer:
    """A model in double precision whose every weight is random; posterior scales are all exp(`log_scale`)."""
    config = ModelConfig(
        coupling=CouplingConfig(heads=2, window_s=0.05),
        history=HistoryConfig(window_s=0.05, functions=3),
        trunk=TrunkConfig(
            width=8, layers=layers, heads=2, window_s=0.04, state=state, time_constants_s=[0.01, 0.02]
        ),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Neuroformer(config=config, bin_s=0.01, sessions=list(shapes)).double()
    assert model.context <= CONTEXT
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if name.endswith("log_scale"):
                parameter.fill_(log_scale)
            elif name not in ("bias", "level_bias"):
                parameter.add_(0.5 * noise)
    return model.eval()


@pytest.fixture(scope="session")
def make_random_model(recorded: RecordingsModule) -> Callable[..., Neuroformer]:
    """`make_random_model(state=, layers=, log_scale=)`: a model of both recorded sessions; without `state` no trunk."""
    shapes = []
    for recording in recorded.recordings:
        rate = torch.as_tensor(recording.entry(1).train_rate)
        shapes.append(SessionShape(rate=rate, train_bins=1000, level_frequency=torch.ones(1)))
    return lambda **settings: random_model(shapes, **settings)
