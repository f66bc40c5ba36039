"""How long it takes to simulate and write a large circuit on one core: `python -m benchmarks.simulate`."""

import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from neuroformer.cli.command import Command, run_command
from neuroformer.cli.config import build_config
from neuroformer.files import read_json
from simulate.__main__ import COMMAND as SIMULATE

LARGE = Path(__file__).parents[1] / "configs" / "simulate" / "large.yaml"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SETTINGS: dict[str, list[str]] = {"glm": [], "lif": ["neuron=lif", "wiring.weight=3"]}


@dataclass(kw_only=True)
class Config:
    """Settings of the benchmark."""

    units: int = 1000
    """Number of units."""
    minutes: float = 10.0
    """Length of the recording (min)."""


def simulate(neuron: str, units: int, minutes: float) -> str:
    """Run the command in a fresh process; one line of figures."""
    with tempfile.TemporaryDirectory() as folder:
        words = [f"units={units}", f"duration_s={minutes * 60}", f"out={folder}", "figure=false"]
        start = time.perf_counter(), time.process_time()
        SIMULATE.run(build_config(SIMULATE.config, [LARGE], [*words, *SETTINGS[neuron]]))
        wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
        metrics = read_json(Path(folder) / "metrics.json")
        size = next(Path(folder).glob("*.h5")).stat().st_size / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    return (
        f"{neuron}: {wall:.1f} s ({cpu:.1f} s of processor), peak memory {peak:.0f} MB; "
        f"{metrics['n_events']:,} events, {metrics['edges']['all']:,} edges, file {size:.0f} MB"
    )


def run(config: Config) -> None:
    """Print the figures."""
    os.environ |= dict.fromkeys(THREADS, "1")  # one core; the new processes read it when they load numpy
    lines = []
    for neuron in SETTINGS:  # a process each: the peak of one would hide that of the next
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            lines.append(pool.submit(simulate, neuron, config.units, config.minutes).result())
    print(f"\n{config.units:,} units, {config.minutes:g} min at 1 ms, simulated and written on one core")
    print("\n".join(lines))


COMMAND = Command(
    name="python -m benchmarks.simulate",
    summary="Time and memory of simulating a large circuit on one core.",
    config=Config,
    run=run,
    examples=("python -m benchmarks.simulate", "python -m benchmarks.simulate minutes=1"),
)

if __name__ == "__main__":
    sys.exit(run_command(COMMAND))
