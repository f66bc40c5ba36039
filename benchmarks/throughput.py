"""Training speed and memory, against everything that makes them worse: `python -m benchmarks.throughput`.

Every cell trains in a fresh process, through the same data module, training module and Trainer as `pretrain.py`, on
Poisson events; the process then measures its own rate of matrix products, of the shapes of the model's. FLOPs are the
model's, forward and backward (twice the forward), without recomputation and without what is spent on padding, blocks
and masked cells; PyTorch's counter of what was really multiplied stands beside them.

A long benchmark can be made in pieces: rows that the folder of results holds already stay, where they come from the
same versions, machine and threads, until their axis is measured again.
"""

from __future__ import annotations

import logging
import os
import resource
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from neuroformer import __version__
from neuroformer.cli.command import Command, run_command
from neuroformer.errors import UsageError
from neuroformer.files import atomic_path, read_json, write_json
from neuroformer.plotting import INK, PALETTE, new_figure, save_figure, style
from neuroformer.session import Events, SessionData, write_session

AXES = ("reference", "default", "size", "units", "context", "recording", "sessions", "attention")
LABELS = {
    "size": "parameters",
    "units": "units",
    "context": "attention window (s)",
    "recording": "recording (min)",
    "sessions": "sessions",
}
PANELS = (
    ("events_per_s", 1.0, "events/s"),
    ("share_of_matmul_rate", 100.0, "% of matrix-product rate"),
    ("peak_mb", 1e-3, "peak memory (GB)"),
)
"""What is drawn: key of a row, factor, label."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training.

    Attributes:
        axis: what is varied.
        value: to what, as the table shows it.
        units: of a session.
        rate_hz: events of a unit.
        minutes: of a session's recording.
        sessions: how many.
        bin_s: width of a bin.
        chunk_s: scored seconds of a chunk.
        warmup_s: history of a chunk.
        batch: chunks of a batch.
        steps: that are timed.
        width, layers, heads, window_s, dropout, attention: of the trunk.
        rank: of the coupling; None as the model chooses.
        sampled_units: of the model; None: all units.
    """

    axis: str
    value: float | str
    units: int = 60
    rate_hz: float = 6.0
    minutes: float = 8.0
    sessions: int = 1
    bin_s: float = 0.005
    chunk_s: float = 1.5
    warmup_s: float = 0.3
    batch: int = 16
    steps: int = 30
    width: int = 32
    layers: int = 1
    heads: int = 2
    window_s: float = 0.25
    dropout: float = 0.1
    attention: str = "sdpa"
    rank: int | None = None
    sampled_units: int | None = None


# The demo's models and chunks (configs/demo/pretrain.yaml, configs/demo/blocks.yaml).
DEFAULT = Cell(axis="default", value="demo", layers=0)
BLOCK = replace(DEFAULT, value="demo, one block", layers=1)
LARGE = Cell(
    axis="reference", value="14M", units=100, rate_hz=5, minutes=20, bin_s=0.02, chunk_s=2.5, warmup_s=0.1, batch=1,
    steps=6, width=256, layers=18, heads=8,
)  # fmt: skip
SIZES = {"32 × 1": (32, 1, 2), "64 × 2": (64, 2, 4), "128 × 6": (128, 6, 4), "256 × 18": (256, 18, 8)}
# Short chunks and no blocks: with 100,000 units a second brings 100,000 events.
MANY_UNITS = replace(
    DEFAULT,
    axis="units",
    rate_hz=1,
    minutes=1,
    chunk_s=0.5,
    warmup_s=0.1,
    batch=2,
    layers=0,
    rank=16,
    steps=5,
)


def cells(axis: str, attention: tuple[str, ...]) -> list[Cell]:
    """The cells of an axis; `attention`: backends that there are."""
    match axis:
        case "reference":
            return [LARGE]
        case "default":
            return [replace(cell, steps=100) for cell in (DEFAULT, BLOCK)]
        case "size":
            sizes = SIZES.items()
            return [
                replace(LARGE, axis=axis, value=name, width=w, layers=n, heads=h) for name, (w, n, h) in sizes
            ]
        case "units":
            counts = (100, 1_000, 10_000, 100_000)
            sampled = [replace(MANY_UNITS, value=n, units=n, sampled_units=2_000) for n in counts]
            exact = [replace(MANY_UNITS, axis="units, all", value=n, units=n) for n in counts[:3]]
            return sampled + exact
        case "context":
            return [
                replace(LARGE, axis=axis, value=w, window_s=w, layers=2, steps=8)
                for w in (0.1, 0.25, 1.0, 4.0)
            ]
        case "recording":
            return [replace(BLOCK, axis=axis, value=m, minutes=m) for m in (1, 10, 60, 600)]
        case "sessions":
            counts = (1, 10, 100, 1_000)
            full = [replace(DEFAULT, axis=axis, value=n, sessions=n, minutes=1) for n in counts]
            return full + [replace(c, axis="sessions, rank 16", rank=16) for c in full]
        case _:
            return [replace(LARGE, axis=axis, value=name, attention=name) for name in attention]


@dataclass(kw_only=True)
class Config:
    """Settings of the benchmark."""

    axes: list[str] = field(default_factory=lambda: [a for a in AXES if a != "attention"])
    """reference: 14.4 M parameters, width 256, 8 heads, 100 units at 5 Hz; default: the demo's models; size, units,
    context, recording, sessions: these varied; attention: the backends, on CUDA."""
    repeats: int = 3
    """Processes per cell; the median counts."""
    threads: int = 2
    """Threads of PyTorch."""
    out: str = "out/benchmarks/throughput"
    """Folder of throughput.json, table.md and throughput.png."""
    quick: bool = False
    """Tiny cells, once: to see that everything runs, not to be quoted."""

    def __post_init__(self) -> None:
        """Check names."""
        for axis in self.axes:
            if axis not in AXES:
                raise UsageError(f"axes: unknown {axis!r}; expected any of {', '.join(AXES)}")
        if min(self.repeats, self.threads) < 1:
            raise UsageError("repeats, threads: expected 1 or more")


def write_sessions(cell: Cell, folder: Path) -> list[str]:
    """Sessions of Poisson events."""
    paths = []
    for number in range(cell.sessions):
        rng, seconds = np.random.default_rng(number), 60.0 * cell.minutes
        n = rng.poisson(seconds * cell.units * cell.rate_hz)
        events = Events(
            times=np.sort(rng.uniform(0, seconds, n)), units=rng.integers(0, cell.units, n).astype(np.int32)
        )
        data = SessionData(
            session_id=f"s{number}",
            subject_id="none",
            start=0.0,
            stop=seconds,
            n_units=cell.units,
            events=events,
        )
        paths.append(str(write_session(folder / f"{number}.h5", data, overwrite=True)))
    return paths


def peak_mb() -> float:
    """Largest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def measure(cell: Cell, paths: list[str], threads: int) -> dict[str, Any]:
    """Train a cell in this process."""
    import lightning as L
    import torch

    from neuroformer.data import RecordingsModule
    from neuroformer.settings.data import DataConfig
    from neuroformer.settings.model import CouplingConfig, ModelConfig, TrunkConfig
    from neuroformer.settings.training import OptimConfig
    from neuroformer.training.build import build_model
    from neuroformer.training.module import PretrainModule
    from neuroformer.training.run import context_of

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no advertisements
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    before = peak_mb()
    warm = 3
    trunk = TrunkConfig(
        width=cell.width, layers=cell.layers, heads=cell.heads, window_s=cell.window_s, dropout=cell.dropout
    )  # fmt: skip
    model_config = ModelConfig(trunk=trunk, coupling=CouplingConfig(rank=cell.rank))
    set_if_there(trunk, "attention", cell.attention)
    set_if_there(model_config, "sampled_units", cell.sampled_units)
    data_config = DataConfig(
        sessions=paths, bin_s=cell.bin_s, chunk_s=cell.chunk_s, warmup_s=cell.warmup_s, batch_size=cell.batch
    )
    started = time.perf_counter()
    data = RecordingsModule(
        config=data_config,
        context_bins=context_of(model_config, data_config),
        batches_per_epoch=warm + cell.steps,
    )
    opened = time.perf_counter() - started
    model = build_model(model_config, data.vocabulary)
    with torch.no_grad():  # blocks start as the identity: give them something to do
        for name, parameter in model.named_parameters():
            if name.endswith(("out.weight", "mlp.2.weight")):
                parameter.normal_(std=0.02)
    module = PretrainModule(
        model=model, vocabulary=data.vocabulary, optim=OptimConfig(steps=1000), settings={}, seed=0
    )

    class Clock(L.Callback):
        """Times of the steps, and of the waits between them."""

        def __init__(self) -> None:
            self.start: list[float] = []
            self.stop: list[float] = []
            self.events: list[int] = []
            self.flops: list[float] = []

        def now(self) -> float:
            if device.type == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter()

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            self.start.append(self.now())
            self.batch = batch

        def on_train_batch_end(
            self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            self.stop.append(self.now())
            self.events.append(pl_module.events_trained)

    clock = Clock()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = L.Trainer(
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            gradient_clip_val=1.0,
            use_distributed_sampler=False,
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            precision="bf16-mixed" if device.type == "cuda" else "32-true",
            callbacks=[clock],
        )
        trainer.fit(module, train_dataloaders=data.train_dataloader())
    peak = peak_mb()
    begin, end = np.array(clock.start), np.array(clock.stop)
    seconds = end[-1] - end[warm - 1]
    n_events = clock.events[-1] - clock.events[warm - 1]
    batch = clock.batch
    counted, per_event = flops_of(model, batch, cell)
    rate = matmul_rate(cell, device)
    return {
        "events_per_s": n_events / seconds,
        "step_s": float(np.median(end[warm:] - end[warm - 1 : -1])),
        "waiting": float((begin[warm:] - end[warm - 1 : -1]).sum() / seconds),
        "events_per_step": n_events / cell.steps,
        "flops_per_event": per_event,
        "flops_counted_per_event": counted,
        "flops_per_s": per_event * n_events / seconds,
        "matmul_flops_per_s": rate,
        "share_of_matmul_rate": per_event * n_events / seconds / rate,
        "peak_mb": peak,
        "growth_mb": peak - before,
        "device_peak_mb": torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else None,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "opening_s": opened,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def set_if_there(settings: Any, name: str, value: Any) -> None:
    """Set what this version of the model knows."""
    if hasattr(settings, name) and value is not None:
        setattr(settings, name, value)


def flops_of(model: Any, batch: Any, cell: Cell) -> tuple[float, float]:
    """FLOPs of forward and backward per scored event: PyTorch's counter, and the model's by formula."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model.zero_grad(set_to_none=True)
    autocast = torch.autocast(batch.scored.device.type, torch.bfloat16, enabled=batch.scored.is_cuda)
    with autocast, FlopCounterMode(display=False) as counter:
        model.loss(batch)["loss"].backward()
    events = float((batch.event_mask & batch.scored.gather(1, batch.event_bin)).sum())
    return counter.get_total_flops() / events, formula(model, batch, cell) / events


def formula(model: Any, batch: Any, cell: Cell) -> float:
    """FLOPs that one step needs, forward and backward; a multiplication and an addition are two."""
    from neuroformer.model.packing import Packed

    (n_rows, n_bins), first = batch.scored.shape, batch.first_scored
    n_out, n_units = (
        n_bins - first,
        cell.units if cell.sampled_units is None else min(cell.units, cell.sampled_units),
    )
    trunk, coupling = model.trunk, model.coupling
    width, n_state, n_filters = cell.width, trunk.bias.shape[0], len(trunk.time_constants)
    total = 0.0
    if cell.layers:
        packed = Packed.of(batch, trunk.window)
        tokens = len(packed.token)
        pairs = float((packed.place - packed.oldest[packed.place] + 1).sum())
        total += cell.layers * (tokens * 24 * width**2 + 4 * pairs * width)
    lags = min(trunk.n_lags, n_bins)
    total += n_rows * n_out * n_filters * width * (2 * lags + 2 * n_state)  # filters, pools
    total += 4 * n_rows * n_out * n_units * n_state  # mean and variance of the readout
    heads, n_lags = coupling.kernels.logits.shape
    rank = model.config.coupling.rank
    # Per target and bin: the sources times the heads, or the ranks times the heads; mean and variance.
    total += 4 * n_rows * n_out * n_units * heads * (rank or cell.units)
    total += 2 * n_rows * n_out * heads * n_lags * (rank or cell.units)
    functions, reach = model.history.basis.shape
    total += n_rows * n_out * n_units * functions * (2 * reach + 4)
    return 3 * total


def matmul_rate(cell: Cell, device: Any) -> float:
    """FLOP/s of this machine's matrix products, median over the shapes of the model's (forward and both backward)."""
    import torch

    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    width = cell.width
    tokens = int(cell.batch * cell.units * cell.rate_hz * (cell.chunk_s + cell.warmup_s))
    tokens = max(256, min(tokens, 16_384))
    shapes = [(tokens, width, 3 * width), (tokens, width, 4 * width), (tokens, 4 * width, width)]
    shapes += [(4 * width, tokens, width), (3 * width, tokens, width)]
    if not cell.layers:
        shapes = [(1024, 1024, 1024)]
    rates = []
    for n, k, m in shapes:
        a, b = (torch.randn(size, device=device, dtype=dtype) for size in ((n, k), (k, m)))
        repeats = max(1, int(4e8 / (n * k * m)))
        times = []
        for _ in range(12):
            begin = time.perf_counter()
            for _ in range(repeats):
                a @ b
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append((time.perf_counter() - begin) / repeats)
        rates.append(2 * n * k * m / float(np.median(times[2:])))
    return float(np.median(rates))


def free_bytes() -> int | None:
    """Memory that is free on this machine; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return None


def measure_within(cell: Cell, paths: list[str], threads: int, most: int | None) -> dict[str, Any]:
    """As `measure`, with at most so many bytes of memory, so that a cell that is too large ends itself and no other."""
    if most is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    return measure(cell, paths, threads)


def measured(cell: Cell, config: Config, paths: list[str]) -> dict[str, Any]:
    """A cell in fresh processes, medians; or `skipped`, why there is none."""
    found = []
    free = free_bytes()
    most = None if free is None else int(0.9 * free)
    for _ in range(1 if config.quick else config.repeats):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            try:
                found.append(pool.submit(measure_within, cell, paths, config.threads, most).result())
            except (MemoryError, RuntimeError, BrokenProcessPool) as error:
                wants_memory = isinstance(error, MemoryError) or any(
                    word in str(error) for word in ("allocate", "out of memory", "terminated abruptly")
                )
                if not wants_memory:
                    raise
                room = "the memory here" if most is None else f"{most / 1e9:.1f} GB of memory"
                return {**asdict(cell), "skipped": f"did not fit into {room}"}
    middle = sorted(found, key=lambda f: f["events_per_s"])[len(found) // 2]
    return {**asdict(cell), **middle, "all_events_per_s": [f["events_per_s"] for f in found]}


def quick_cell(cell: Cell) -> Cell:
    """The same, tiny."""
    return replace(
        cell,
        units=min(cell.units, 30),
        sessions=min(cell.sessions, 3),
        minutes=min(cell.minutes, 1.0),
        width=min(cell.width, 16),
        layers=min(cell.layers, 1),
        heads=2,
        batch=min(cell.batch, 2),
        chunk_s=min(cell.chunk_s, 1.0),
        steps=2,
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    head = ["varied", "", "parameters", "events/s", "ms per step", "waiting", "GFLOP/s", "of matrix products"]
    head += ["counted / formula", "peak MB", "growth MB"]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    for row in rows:
        value = f"{row['value']:,}" if isinstance(row["value"], int | float) else row["value"]
        if "skipped" in row:
            blanks = ["–"] * (len(head) - 3)
            lines.append("| " + " | ".join([row["axis"], value, row["skipped"], *blanks]) + " |")
            continue
        words = [
            row["axis"],
            value,
            f"{row['parameters']:,}",
            f"{row['events_per_s']:,.0f}",
            f"{1e3 * row['step_s']:,.1f}",
            f"{row['waiting']:.1%}",
            f"{row['flops_per_s'] / 1e9:.1f}",
            f"{row['share_of_matmul_rate']:.0%}",
            f"{row['flops_counted_per_event'] / row['flops_per_event']:.2f}",
            f"{row['peak_mb']:,.0f}",
            f"{row['growth_mb']:,.0f}",
        ]
        lines.append("| " + " | ".join(words) + " |")
    return "\n".join(lines) + "\n"


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Events per second, the rate beside this machine's matrix products, and memory, against all that was varied."""
    rows = [row for row in rows if "skipped" not in row]
    axes = [a for a in LABELS if any(r["axis"].split(",")[0] == a for r in rows)]
    if not axes:
        return
    figure = new_figure(width=2.3 * len(axes) + 0.9, height=5.6)
    with style():
        panels = figure.subplots(len(PANELS), len(axes), squeeze=False, sharey="row", sharex="col")
        for column, axis in enumerate(axes):
            lines = list(dict.fromkeys(r["axis"] for r in rows if r["axis"].split(",")[0] == axis))
            for color, line in zip(PALETTE, lines, strict=False):
                mine = [r for r in rows if r["axis"] == line]
                x = [r["parameters"] if axis == "size" else r["value"] for r in mine]
                label = line.partition(", ")[2] or {"units": "2,000 sampled", "sessions": "own matrices"}.get(
                    axis
                )
                for panel, (key, factor, _) in zip(panels[:, column], PANELS, strict=True):
                    y = [factor * r[key] for r in mine]
                    panel.plot(x, y, "o-", color=color, label=label, markersize=4)
            for panel in panels[:, column]:
                panel.set_xscale("log")
                if axis not in ("size", "units"):
                    panel.xaxis.set_major_formatter("{x:g}")
            panels[-1, column].set_xlabel(LABELS[axis])
            if len(lines) > 1:
                panels[0, column].legend(frameon=False, fontsize=7)
        for row_of, (key, _, label) in zip(panels, PANELS, strict=True):
            row_of[0].set_ylabel(label, color=INK)
            if key == "events_per_s":
                row_of[0].set_yscale("log")
            else:
                row_of[0].set_ylim(0, None)
        figure.align_labels()
    save_figure(figure, path)


def kept(out: Path, about: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a benchmark before, if it was made with the same versions, machine and threads."""
    path = out / "throughput.json"
    if not path.is_file():
        return []
    before = read_json(path)
    unlike = [name for name, value in about.items() if before.get(name) != value]
    if unlike:
        print(f"{path}: made with another {', '.join(unlike)}; its rows are not kept")
        return []
    found: list[dict[str, Any]] = before["rows"]
    return found


def merged(before: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of before, the new in place of those of the same cell, in the order of the axes."""
    rows = {(row["axis"], row["value"]): row for row in (*before, *new)}
    order = [(cell.axis, cell.value) for axis in AXES for cell in cells(axis, ("sdpa", "flex", "xformers"))]
    places = {key: place for place, key in enumerate(order)}
    return [rows[key] for key in sorted(rows, key=lambda key: places.get(key, len(places)))]


def write(out: Path, about: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """The rows as JSON and as a table."""
    write_json(out / "throughput.json", {**about, "rows": rows})
    with atomic_path(out / "table.md") as temporary:
        temporary.write_text(table(rows), encoding="utf-8")


def run(config: Config) -> None:
    """Measure, print, write."""
    os.environ["OMP_NUM_THREADS"] = str(config.threads)
    import torch

    cuda = torch.cuda.is_available()
    if not cuda:
        print("no CUDA device: bf16, the attention backends and a card's utilisation are not measured")
    out = Path(config.out)
    about = {
        "version": __version__,
        "torch": torch.__version__,
        "cores": os.cpu_count(),
        "threads": config.threads,
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "quick": config.quick,
    }
    rows = kept(out, about)
    backends = ("sdpa", "flex", "xformers") if cuda else ("sdpa",)
    for axis in config.axes:
        written: tuple[Any, list[str]] = (None, [])
        with tempfile.TemporaryDirectory() as folder:
            for cell in cells(axis, backends):
                cell = quick_cell(cell) if config.quick else cell
                data = (cell.units, cell.rate_hz, cell.minutes, cell.sessions)
                if written[0] != data:
                    # In a process of its own: one that is started by a large process counts its parent's memory.
                    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                        written = (data, pool.submit(write_sessions, cell, Path(folder)).result())
                row = measured(cell, config, written[1])
                rows = merged(rows, [row])
                write(out, about, rows)  # what is measured is not lost if the next cell takes too long
                print(table([row]).splitlines()[-1], flush=True)
    draw(rows, out / "throughput.png")
    print(f"\n{table(rows)}\nfigures: {out}")


COMMAND = Command(
    name="python -m benchmarks.throughput",
    summary="Training speed and memory against units, context, recording length, sessions and size.",
    config=Config,
    run=run,
    examples=(
        "python -m benchmarks.throughput",
        "python -m benchmarks.throughput axes=[reference] threads=1",
    ),
)

if __name__ == "__main__":
    sys.exit(run_command(COMMAND))
