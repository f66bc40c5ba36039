"""Events per second that a model generates, one stream and many at once: `python -m benchmarks.generate`."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuroformer import __version__
from neuroformer.batch import Batch
from neuroformer.cli.command import Command, run_command
from neuroformer.errors import UsageError
from neuroformer.files import write_json
from neuroformer.generation import Sampler
from neuroformer.generation.threads import n_threads, side_by_side
from neuroformer.model import ModelConfig, Neuroformer, SessionShape, TrunkConfig

UNITS, RATE_HZ = 100, 5.0
MODELS = {
    "demo": TrunkConfig(width=32, layers=1, heads=2, window_s=0.25),
    "14M": TrunkConfig(width=256, layers=18, heads=8, window_s=0.25),
}
BINS_S = {"demo": 0.005, "14M": 0.02}


@dataclass(kw_only=True)
class Config:
    """Settings of the benchmark."""

    models: list[str] = field(default_factory=lambda: list(MODELS))
    """demo: as in configs/demo/blocks.yaml; 14M: width 256, 8 heads, 18 layers. Attention looks 0.25 s back."""
    streams: list[int] = field(default_factory=lambda: [1, 32])
    """Streams at once."""
    events: int = 3000
    """About as many events are generated in each repeat with one stream; with many, eight times as many at most."""
    repeats: int = 5
    """The median counts."""
    bin_s: float | None = None
    """Width of a bin, seconds; by default .005 for demo and .02 for 14M."""
    threads: int = 1
    """Threads of PyTorch."""
    out: str = "out/benchmarks/generate.json"
    """File of the figures."""
    quick: bool = False
    """A few events, once: to see that everything runs, not to be quoted."""

    def __post_init__(self) -> None:
        """Check names."""
        for name in self.models:
            if name not in MODELS:
                raise UsageError(f"models: unknown {name!r}; expected any of {', '.join(MODELS)}")
        if min([*self.streams, self.events, self.repeats, self.threads]) < 1:
            raise UsageError("streams, events, repeats, threads: expected 1 or more")


def make_model(trunk: TrunkConfig, bin_s: float) -> Neuroformer:
    """A model of calm activity whose weights are all at work: nothing is left out because it would be 0."""
    torch.manual_seed(0)
    rate = torch.full((UNITS,), RATE_HZ * bin_s)
    shape = SessionShape(rate=rate, train_bins=100_000, level_frequency=torch.ones(1))
    model = Neuroformer(config=ModelConfig(trunk=trunk), bin_s=bin_s, sessions=[shape]).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("out.weight", "mlp.2.weight")):
                parameter.normal_(std=0.02)
            elif name.endswith("mean"):
                parameter.normal_(std=0.01)
    return model


def make_batch(n_bins: int, bin_s: float) -> Batch:
    """One past of 1.25 s of Poisson events, and bins to generate."""
    past = round(1.25 / bin_s)
    counts = np.random.default_rng(0).poisson(RATE_HZ * bin_s, (past, UNITS))
    bins, units = (torch.from_numpy(np.repeat(x, counts[counts > 0])) for x in counts.nonzero())
    scored = torch.zeros(1, past + n_bins, dtype=torch.bool)
    scored[:, past:] = True
    return Batch(
        session=torch.zeros(1, dtype=torch.long),
        unit_row=torch.arange(UNITS).unsqueeze(0),
        unit_mask=torch.ones(1, UNITS, dtype=torch.bool),
        event_unit=units.unsqueeze(0),
        event_bin=bins.unsqueeze(0),
        event_level=torch.zeros(1, len(bins), dtype=torch.long),
        event_mask=torch.ones(1, len(bins), dtype=torch.bool),
        scored=scored,
    )


def measure(model: Neuroformer, n_streams: int, n_events: int, repeats: int) -> dict[str, Any]:
    """Events per second of the clock on the wall and of the processor; the past is read before the clock starts.

    Streams are shared out to threads as `neuroformer generate` does it.
    """
    bin_s = model.bin_s
    per_bin = n_streams * UNITS * RATE_HZ * bin_s
    n_bins = max(10, round(min(n_events * min(n_streams, 8), 50_000) / per_bin))
    batch = make_batch(n_bins, bin_s)
    wall, cpu, rate = [], [], []
    for repeat in range(repeats):
        seeds = [1000 * repeat + k for k in range(n_streams)]
        threads = min(n_threads(model), n_streams)
        samplers = [
            Sampler(model, batch, row=[0] * len(seeds[k::threads]), seeds=seeds[k::threads])
            for k in range(threads)
        ]
        side_by_side(
            [partial(sampler.advance, batch, n_bins=min(5, n_bins)) for sampler in samplers], threads
        )
        begin, begin_cpu = time.perf_counter(), time.process_time()
        parts = side_by_side(
            [partial(sampler.advance, batch, n_bins=n_bins) for sampler in samplers], threads
        )
        n = sum(map(len, parts))
        wall.append(n / (time.perf_counter() - begin))
        cpu.append(n / (time.process_time() - begin_cpu))
        rate.append(n / (n_bins * n_streams * bin_s * UNITS))
    return {
        "events_per_s": float(np.median(wall)),
        "events_per_s_of_processor": float(np.median(cpu)),
        "all_events_per_s": wall,
        "rate_hz": float(np.mean(rate)),
        "bins": n_bins,
    }


def run(config: Config) -> None:
    """Print a table and write the figures."""
    torch.set_num_threads(config.threads)
    repeats = 1 if config.quick else config.repeats
    results: dict[str, Any] = {}
    print(f"{UNITS} units at {RATE_HZ:g} Hz, {config.threads} thread(s); medians of {repeats}")
    print(
        f"{'model':<8}{'parameters':>12}{'bin (ms)':>10}{'streams':>9}{'events/s':>11}{'events/s of processor':>24}"
    )
    for name in config.models:
        bin_s = BINS_S[name] if config.bin_s is None else config.bin_s
        model = make_model(MODELS[name], bin_s)
        n_parameters = sum(p.numel() for p in model.parameters())
        for n_streams in config.streams:
            found = measure(model, n_streams, 100 if config.quick else config.events, repeats)
            results[f"{name}, {n_streams} streams"] = {"parameters": n_parameters, "bin_s": bin_s, **found}
            print(
                f"{name:<8}{n_parameters:>12,}{1e3 * bin_s:>10g}{n_streams:>9}{found['events_per_s']:>11,.0f}"
                f"{found['events_per_s_of_processor']:>24,.0f}",
                flush=True,
            )
    about = {
        "version": __version__,
        "torch": torch.__version__,
        "cores": os.cpu_count(),
        "threads": config.threads,
    }
    write_json(Path(config.out), {**about, "quick": config.quick, "results": results})
    print(f"figures: {config.out}")


COMMAND = Command(
    name="python -m benchmarks.generate",
    summary="Events per second that a model generates, one stream and many at once.",
    config=Config,
    run=run,
    examples=("python -m benchmarks.generate", "python -m benchmarks.generate quick=true threads=2"),
)

if __name__ == "__main__":
    sys.exit(run_command(COMMAND))
