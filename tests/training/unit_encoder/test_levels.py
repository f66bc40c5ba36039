"""Preference for amplitude levels."""

import torch

from neuroformer.training.unit_encoder.levels import fit_levels


def test_it_is_the_most_probable_preference() -> None:
    counts = torch.tensor([[40.0, 3.0, 0.0], [0.0, 0.0, 0.0], [1.0, 2.0, 900.0]])
    session = torch.tensor([0.5, 0.3, 0.2]).log()
    found = fit_levels(counts, session).double()
    gradient = counts - counts.sum(1, keepdim=True) * (session.double() + found).softmax(-1) - found
    assert gradient.abs().max() < 1e-3
    assert torch.equal(found[1], torch.zeros(3).double())
