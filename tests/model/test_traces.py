"""The two forms of filtered events agree."""

import torch

from neuroformer.batch import Batch
from neuroformer.model.filters import log_basis
from neuroformer.model.traces import all_traces, combine, own_traces


def test_every_form_holds_the_same_numbers() -> None:
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
    kernels = log_basis(9, 5)
    coefficient = torch.randn(n_rows, n_units, 5, generator=generator)
    weight = torch.rand(n_rows, n_events, generator=generator)
    for squared in (False, True):
        dense, sparse = (
            combine(own_traces(batch, kernels, weight, sparse=form), coefficient, batch, squared=squared)
            for form in (False, True)
        )
        torch.testing.assert_close(dense, sparse)
        assert dense.abs().sum() > 0
        for form in (False, True):
            one, all_alike = (
                combine(own_traces(batch, kernels, weight, sparse=form), rows, batch, squared=squared)
                for rows in (coefficient[:1], coefficient[:1].expand(n_rows, -1, -1))
            )
            torch.testing.assert_close(one, all_alike)
    full, none = own_traces(batch, kernels, weight, sparse=False)
    assert none is None
    torch.testing.assert_close(all_traces(batch, kernels, weight), full)
