"""Groups of streams side by side: the same events, in the same order, and faults that come through."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from neuroformer.evaluation.trained_run import load_run
from neuroformer.generation import GenerationOptions, generate_part
from neuroformer.generation.threads import n_threads, side_by_side


def test_results_come_in_order_each_on_one_thread_of_torch() -> None:
    torch.set_num_threads(2)
    try:
        calls = [partial(lambda k: (k, torch.get_num_threads()), k) for k in range(5)]
        assert side_by_side(calls, 2) == [(k, 1) for k in range(5)]
        assert torch.get_num_threads() == 2
        assert side_by_side(calls[:1], 2) == [(0, 2)]  # alone, it may have them all
    finally:
        torch.set_num_threads(1)


def test_the_first_fault_is_raised() -> None:
    def fail() -> None:
        raise ValueError("this one")

    with pytest.raises(ValueError, match="this one"):
        side_by_side([fail, lambda: None, fail], 2)


def test_threads_change_no_event(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = load_run(trained)
    model, recording = run.trained.model, run.data.recordings[0]
    assert n_threads(model) == 1  # small: Python would take turns
    told: list[tuple[int, int]] = []

    def generate(progress: Callable[[int, int], None] | None = None) -> list[np.ndarray]:
        stretches = generate_part(
            model,
            run.trained.vocabulary,
            recording,
            "test",
            n=5,
            options=GenerationOptions(parallel=4),
            progress=progress,
        )
        return [np.stack([t.bins, t.units]) for stretch in stretches for t in stretch.streams]

    expected = generate()
    monkeypatch.setattr("neuroformer.generation.stretches.n_threads", lambda _: 2)
    found = generate(lambda bins, events: told.append((bins, events)))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert sum(events for _, events in told) == sum(x.shape[1] for x in expected)
