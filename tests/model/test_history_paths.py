"""The two ways to compute own history agree."""

import torch

from neuroformer.batch import Batch
from neuroformer.model.history import OwnHistory


def test_sparse_and_dense_history_agree() -> None:
    generator = torch.Generator().manual_seed(0)
    n_rows, n_units, n_bins, n_events = 2, 3, 30, 12
    batch = Batch(
        session=torch.zeros(n_rows, dtype=torch.long),
        unit_row=torch.arange(n_units).expand(n_rows, -1),
        unit_mask=torch.ones(n_rows, n_units, dtype=torch.bool),
        event_unit=torch.randint(0, n_units, (n_rows, n_events), generator=generator),
        event_bin=torch.randint(0, n_bins, (n_rows, n_events), generator=generator).sort(1).values,
        event_level=torch.zeros(n_rows, n_events, dtype=torch.long),
        event_mask=torch.arange(n_events).expand(n_rows, -1) < torch.tensor([[n_events], [n_events - 4]]),
        scored=torch.arange(n_bins).expand(n_rows, -1) >= 7,
    )
    history = OwnHistory(n_lags=9, n_functions=5)
    history.add_session(n_units)
    mean = torch.randn(n_rows, n_units, 5, generator=generator)
    variance = torch.rand(n_rows, n_units, 5, generator=generator)
    weight = torch.rand(n_rows, n_events, generator=generator)
    dense, sparse = (path(weight, batch, mean, variance) for path in (history._dense, history._sparse))
    for one, other in zip(dense, sparse, strict=True):
        torch.testing.assert_close(one, other)
    assert dense[0].abs().sum() > 0
