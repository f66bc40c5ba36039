"""`neuroformer latents`: what the model makes of each bin, for analyses outside and as figures.

    trunk               slow state of the events before the bin, as the intensities read it (no variable known)
    readout             state from which behaviour is read: events up to the bin, the present one included
    aligned_events …    latents of contrastive alignment (`neuroformer.model.alignment`), if the model has them

Legend: T bins, W width of a latent.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuroformer.data import Recording, RecordingsModule, Span
from neuroformer.data.variables import Binned
from neuroformer.decoding.latent_figures import draw_latents
from neuroformer.errors import UsageError
from neuroformer.evaluation.trained_run import load_run
from neuroformer.files import RunFolder, atomic_path
from neuroformer.model import Neuroformer
from neuroformer.model.tasks import make_task
from neuroformer.plotting import save_figure
from neuroformer.settings.latents import LatentsConfig

_CANDIDATES = 20
_ANCHORS = 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class SessionLatents:
    """Latents of one session.

    Attributes:
        session_id: whose.
        time: (T,) middle of each bin, seconds.
        span: (T,) which contiguous stretch each bin belongs to.
        latents: by name, (T, W) float32; NaN where the latent's modality is unknown.
        variables: what was measured, all labels known; frames are left out.
    """

    session_id: str
    time: np.ndarray
    span: np.ndarray
    latents: dict[str, np.ndarray]
    variables: dict[str, Binned]

    def save(self, path: Path) -> None:
        """Write time, span, latent_NAME, variable_NAME and known_NAME to an npz file."""
        arrays: dict[str, Any] = {f"latent_{name}": values for name, values in self.latents.items()}
        for name, binned in self.variables.items():
            arrays |= {f"variable_{name}": binned.values, f"known_{name}": binned.known}
        with atomic_path(path) as temporary:
            np.savez_compressed(
                temporary, session_id=self.session_id, time=self.time, span=self.span, **arrays
            )


def export_latents(config: LatentsConfig, *, command: str = "neuroformer latents") -> dict[str, Any]:
    """Write the latents of a run's sessions and draw them.

    Returns:
        The content of metrics.json.

    Raises:
        UserError: the run or a file cannot be read.
        UsageError: a variable to colour by that the model does not know.
    """
    run = load_run(config.run, checkpoint=config.checkpoint, sessions=config.sessions)
    model, entries = run.trained.model, run.trained.vocabulary.variables
    for name in config.variables:
        if name not in entries or entries[name].kind == "frames":
            known = ", ".join(n for n, e in entries.items() if e.kind != "frames") or "none"
            raise UsageError(f"variables: the model has no variable {name!r} to colour by; it has {known}")
    out = Path(config.out) if config.out else run.folder / "latents"
    folder = RunFolder.create(out, overwrite=config.overwrite, command=command, config=config)
    found = []
    for recording in run.data.recordings:
        session = session_latents(model, run.data, recording, _spans(recording, config.part))
        session.save(folder.path / f"{session.session_id}.npz")
        found.append(session)
    rng = np.random.default_rng(config.seed)
    colours = {n: e for n, e in entries.items() if e.kind != "frames" and n in (config.variables or entries)}
    figures = draw_latents(found[: config.shown], colours, points=config.points)
    for name, figure in figures.items():
        save_figure(figure, folder.figures / f"{name}.png")
    gap_s = model.config.alignment.gap_s
    metrics = {
        "part": config.part,
        "bin_s": run.trained.vocabulary.bin_s,
        "latents": {name: values.shape[1] for name, values in found[0].latents.items()},
        "sessions": {
            s.session_id: {
                "bins": len(s.time),
                "known": {name: int(v.known.sum()) for name, v in s.variables.items()},
                "matching": matching(s, gap_s=gap_s, rng=rng),
            }
            for s in found
        },
        "figures": sorted(figures),
    }
    folder.finish(metrics)
    return metrics


@torch.no_grad()
def session_latents(
    model: Neuroformer, data: RecordingsModule, recording: Recording, spans: list[Span]
) -> SessionLatents:
    """Latents of some spans of a session; every bin has its whole context before it.

    Args:
        model: in evaluation mode.
        data: that the recording belongs to.
        recording: the session.
        spans: contiguous stretches.
    """
    parts: dict[str, list[np.ndarray]] = {}
    times, stretch = [], []
    size = max(1, 2 * data.context_bins, round(data.config.chunk_s / data.config.bin_s))
    for k, span in enumerate(spans):
        pieces = [
            Span(epoch=span.epoch, start=a, stop=min(a + size, span.stop))
            for a in range(span.start, span.stop, size)
        ]
        for batch in data.batches_of(recording, pieces):
            seen = make_task("spikes", batch, model.variables).seen
            weight = model.event_weight(batch)
            states: dict[str, torch.Tensor] = {}
            if model.trunk is not None:
                states["trunk"] = model.trunk.state(seen, weight)
            if model.readout is not None:
                states["readout"] = model.readout.state(seen, weight, None)
            for modality, (latent, known) in model.latents(batch).items():
                states[f"aligned_{modality}"] = latent.masked_fill(~known.unsqueeze(-1), torch.nan)
            for name, state in states.items():
                parts.setdefault(name, []).append(state[0].float().numpy())
        epoch = recording.epochs[span.epoch]
        times.append(np.asarray(epoch.time_of(np.arange(span.start, span.stop) + 0.5)))
        stretch.append(np.full(len(span), k))
    names = [name for name, reader in recording.variables.items() if reader.info.kind != "frames"]
    variables = {name: [recording.variable(name, span, all_labels=True) for span in spans] for name in names}
    return SessionLatents(
        session_id=recording.session_id,
        time=np.concatenate(times),
        span=np.concatenate(stretch),
        latents={name: np.concatenate(values) for name, values in parts.items()},
        variables={
            name: Binned(
                values=np.concatenate([b.values for b in binned]),
                known=np.concatenate([b.known for b in binned]),
            )
            for name, binned in variables.items()
        },
    )


def matching(session: SessionLatents, *, gap_s: float, rng: np.random.Generator) -> dict[str, Any]:
    """How often the latent of one modality finds its own moment among 20 of another modality.

    The other 19 are drawn among the moments of the session that are further away than the alignment's gap; equal
    latents share the hit.

    Args:
        session: whose aligned latents.
        gap_s: in seconds.
        rng: source of the draws.

    Returns:
        By pair, `events → behavior` and back: `accuracy`, `chance` and the number of moments; empty without alignment.
    """
    names = [name for name in session.latents if name.startswith("aligned_")]
    found: dict[str, Any] = {}
    for a, b in combinations(names, 2):
        known = np.isfinite(session.latents[a]).all(1) & np.isfinite(session.latents[b]).all(1)
        index = np.flatnonzero(known)
        index = index[np.linspace(0, len(index) - 1, min(_ANCHORS, len(index))).astype(int)]
        far = np.abs(session.time[index][:, None] - session.time[index]) > gap_s
        far |= session.span[index][:, None] != session.span[index]
        enough = far.sum(1) >= _CANDIDATES - 1
        if not enough.any():
            continue
        lot = np.where(far, rng.random(far.shape), 2.0)[enough]
        others = np.argsort(lot, axis=1)[:, : _CANDIDATES - 1]
        own = np.flatnonzero(enough)
        for first, second in ((a, b), (b, a)):
            x, y = session.latents[first][index], session.latents[second][index]
            hit = (x[own] * y[own]).sum(1)
            rival = np.einsum("kl,kcl->kc", x[own], y[others])
            ties = (np.abs(rival - hit[:, None]) < 1e-6).sum(1)
            right = (rival < hit[:, None] + 1e-6).all(1) / (1 + ties)
            pair = f"{first.removeprefix('aligned_')} → {second.removeprefix('aligned_')}"
            found[pair] = {
                "accuracy": float(right.mean()),
                "chance": 1 / _CANDIDATES,
                "moments": len(own),
            }
    return found


def _spans(recording: Recording, part: str) -> list[Span]:
    if part == "all":
        return [Span(epoch=k, start=0, stop=epoch.n_bins) for k, epoch in enumerate(recording.epochs)]
    return recording.spans[part]  # type: ignore[index]
