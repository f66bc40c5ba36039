from collections.abc import Callable

import numpy as np
import torch

from neuroformer.baselines.decoding import Target
from neuroformer.baselines.decoding.recurrent import GRUDecoder, _tiles
from neuroformer.settings.decoding import GRUConfig

Walk = Callable[..., tuple[list[np.ndarray], list[np.ndarray]]]
QUICK = GRUConfig(steps=60, check_every=20, width=16, state=16, batch=5, rate=0.03, dropout=0.1)
LINE = Target(name="position")


def test_it_learns_and_stops_early(walk: Walk) -> None:
    x, y = walk()
    x_test, y_test = walk(seed=1)
    decoder = GRUDecoder(LINE, bin_s=0.1, config=QUICK).fit(x, y, seed=3)
    error = np.concatenate(decoder.predict(x_test).mean) - np.concatenate(y_test)
    assert 1 - (error**2).mean() / np.concatenate(y_test).var() > 0.5
    assert 1 <= decoder.chosen["steps"] <= 60


def test_a_seed_gives_the_same_fit_and_leaves_the_global_generator_alone(walk: Walk) -> None:
    x, y = walk(lengths=(120,))
    config = GRUConfig(steps=5, width=8, state=8)
    state = torch.get_rng_state()
    one, two, three = (
        GRUDecoder(LINE, bin_s=0.1, config=config).fit(x, y, seed=seed).predict(x).mean[0]
        for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - three).max() > 0


def test_the_last_fifth_of_the_labels_is_not_trained_on(walk: Walk) -> None:
    x, y = walk(lengths=(100,))
    other = [y[0].copy()]
    other[0][80:] = other[0][80:].mean() + 1e-3 * (other[0][80:] - other[0][80:].mean())
    config = GRUConfig(steps=1, check_every=1, width=8, state=8)
    nets = []
    for labels in (y, other):
        decoder = GRUDecoder(LINE, bin_s=0.1, config=config).fit(x, labels)
        nets.append((decoder, decoder.chosen["loss"]))
    assert nets[0][1] != nets[1][1]
    fifth = [np.where(np.arange(100)[:, None] < 80, y[0], np.nan)]
    with_validation = GRUDecoder(LINE, bin_s=0.1, config=config).fit(
        x, fifth, validation=(x, [np.where(np.arange(100)[:, None] < 80, np.nan, y[0])])
    )
    assert np.isfinite(with_validation.predict(x).mean[0]).all()


def test_every_known_bin_is_judged_once_after_a_lead_in() -> None:
    lengths, bins = (23, 4, 50), 8
    x = [torch.arange(n).float()[:, None] + 100 * k for k, n in enumerate(lengths)]
    known = [torch.rand(n, generator=torch.Generator().manual_seed(n)) < 0.6 for n in lengths]
    tiles, labels, mask = _tiles(x, x, known, bins)
    assert tiles.shape[1] == 2 * bins
    found = labels[mask][:, 0].sort().values
    assert torch.equal(found, torch.cat([part[k][:, 0] for part, k in zip(x, known, strict=True)]))
    for row, here in zip(tiles[..., 0].tolist(), mask, strict=True):
        scored = here.nonzero()[:, 0].tolist()
        assert scored[-1] - scored[0] < bins
        assert scored[0] >= min(bins, row[scored[0]] % 100)  # a lead-in, or all there is before it
