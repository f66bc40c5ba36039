"""Sampling from the exact model: events bin by bin, many streams at once.

Given the bins before it, the number of events of unit j at level l in a bin is Poisson with mean λ_j p_jl (counts are
Poisson and levels categorical, so the counts of the levels are independent Poisson). One step per bin therefore draws
from the very distribution whose likelihood the model is trained on, without approximation.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from neuroformer.batch import Batch
from neuroformer.errors import UserError
from neuroformer.generation.draws import Uniforms, draw_counts, sharpen
from neuroformer.generation.stepper import Stepper
from neuroformer.model import Neuroformer

RUNAWAY, RUNAWAY_BINS = 20, 100


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How events are drawn; the default is the exact model.

    Attributes:
        temperature: see `sharpen`.
        top_k: see `sharpen`.
        top_p: see `sharpen`.
        most_per_bin: expected events of one unit in one bin at which sampling is given up as running away; a tenth of
            it is warned of.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    most_per_bin: float = 50.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Forced:
    """Events that are put in whatever the model says, beside its own. In any order.

    Attributes:
        stream: (M,) int64.
        bin: (M,) int64, from the first generated bin on.
        unit: (M,) int64, column of the stream's session.
        level: (M,) int64.
    """

    stream: np.ndarray
    bin: np.ndarray
    unit: np.ndarray
    level: np.ndarray

    def __len__(self) -> int:
        """Number of events."""
        return len(self.stream)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampled:
    """Events of B streams, in order of (bin, stream, unit, level).

    Attributes:
        stream: (E,) int64.
        bin: (E,) int64, from the first generated bin on.
        unit: (E,) int64.
        level: (E,) int64.
        forced: (E,) bool, whether the event was put in.
        log_intensity: (B, T, N) float32 of the model in every bin, before temperature and silencing; None unless
            asked for.
    """

    stream: np.ndarray
    bin: np.ndarray
    unit: np.ndarray
    level: np.ndarray
    forced: np.ndarray
    log_intensity: np.ndarray | None = None

    def __len__(self) -> int:
        """Number of events."""
        return len(self.stream)

    @classmethod
    def joined(cls, parts: Sequence[Sampled]) -> Sampled:
        """Stretches that follow one another, of the same streams."""
        intensities = [p.log_intensity for p in parts if p.log_intensity is not None]
        return cls(
            **{
                name: np.concatenate([getattr(part, name) for part in parts])
                for name in ("stream", "bin", "unit", "level", "forced")
            },
            log_intensity=np.concatenate(intensities, 1) if len(intensities) == len(parts) else None,
        )


@dataclass
class _Record:
    """What happened so far, bin by bin, on the model's device."""

    bin: list[int] = field(default_factory=list)
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = field(default_factory=list)
    log_intensity: list[Tensor] = field(default_factory=list)

    def finish(self, streams: np.ndarray) -> Sampled:
        sizes = [len(part[0]) for part in self.parts]
        stream, unit, level, forced = (
            torch.cat([part[k] for part in self.parts]).cpu().numpy() if self.parts else np.zeros(0, np.int64)
            for k in range(4)
        )
        intensity = torch.stack(self.log_intensity, 1).float().cpu().numpy() if self.log_intensity else None
        return Sampled(
            stream=streams[stream],
            bin=np.repeat(np.array(self.bin, np.int64), sizes),
            unit=unit,
            level=level,
            forced=forced.astype(bool),
            log_intensity=intensity,
        )


class Sampler:
    """Streams that go on from given pasts.

    Args:
        model: in evaluation mode.
        batch: a chunk per past; its events before `batch.first_scored` are the past. Events later on are not used.
        row: (B,) the chunk that each stream goes on from; several streams may share one.
        seeds: (B,) one for each stream, see `stream_seed`.
        sampling: how events are drawn.
        silenced: (chunks, N) bool, units that the model may not let fire.
        ceiling: (chunks,) expected events of a unit in a bin above which its intensity does not rise; infinite,
            or None, for the exact model.
        usual: (chunks,) events per bin of all units in training; `RUNAWAY` times as many over `RUNAWAY_BINS` bins end
            the sampling. None: not watched.

    Attributes:
        n_lowered: (B,) cells (bin, unit) of each stream in which the model expected more events than its ceiling.

    Example: `Sampler(model, batch, row=[0] * 10, seeds=range(10)).advance(batch)` draws ten continuations of the first
    chunk's history, as long as its scored part, given its stimulus and behaviour. Calling `advance` again with a batch
    whose first scored bin follows goes on.
    """

    @torch.inference_mode()
    def __init__(
        self,
        model: Neuroformer,
        batch: Batch,
        *,
        row: Sequence[int],
        seeds: Sequence[int],
        sampling: Sampling | None = None,
        silenced: np.ndarray | None = None,
        ceiling: Sequence[float] | None = None,
        usual: Sequence[float] | None = None,
    ) -> None:
        """See the class."""
        assert len(row) == len(seeds)
        self.model, self.sampling = model, sampling or Sampling()
        device = batch.session.device
        self.row = torch.as_tensor(row, dtype=torch.long, device=device)
        self.streams = np.arange(len(row))
        self.n_bins = 0
        self.warned = False
        self.n_lowered = np.zeros(len(row), np.int64)
        self.ceiling = _per_stream(ceiling, self.row)
        self.usual = _per_stream(usual, self.row)
        able = (
            batch.unit_mask
            if silenced is None
            else batch.unit_mask & ~torch.as_tensor(silenced, device=device)
        )
        self.able = able[self.row]
        self.stepper = Stepper(model, batch)
        self.stepper.keep(self.row)
        n_units = batch.unit_mask.sum(1)[self.row].tolist()
        self.uniforms = Uniforms(
            list(seeds),
            n_units=n_units,
            n_padded=batch.unit_row.shape[1],
            n_levels=model.n_levels,
            device=device,
        )

    @torch.inference_mode()
    def keep(self, streams: Sequence[int], row: Sequence[int]) -> None:
        """Go on with some streams alone.

        Args:
            streams: which of those that are left, by their number at the start.
            row: the chunk of the next batch that each of them goes by.
        """
        place = [int(np.flatnonzero(self.streams == stream)[0]) for stream in streams]
        kept = torch.as_tensor(place, device=self.row.device)
        self.stepper.keep(kept)
        self.uniforms.keep(place)
        self.able, self.streams = self.able[kept], self.streams[place]
        self.usual = None if self.usual is None else self.usual[kept]
        self.ceiling = None if self.ceiling is None else self.ceiling[kept]
        self.row = torch.as_tensor(row, dtype=torch.long, device=kept.device)

    @torch.inference_mode()
    def advance(
        self,
        batch: Batch,
        *,
        n_bins: int | None = None,
        forced: Forced | None = None,
        keep_intensity: bool = False,
    ) -> Sampled:
        """Draw the next bins.

        Args:
            batch: stimulus and behaviour; its first scored bin is the next one. Streams of chunks that score fewer
                bins than others stay silent after their end.
            n_bins: how many; by default all that the batch scores.
            forced: events to put in; bins count from the first that this sampler drew.
            keep_intensity: whether to return the log-intensities.

        Raises:
            UserError: the activity runs away.
        """
        n_bins = batch.n_bins - batch.first_scored if n_bins is None else n_bins
        context, shift = self.model.exogenous(batch) if n_bins else (None, None)
        context, shift = (None if x is None else x.transpose(0, 1).contiguous() for x in (context, shift))
        scored = batch.scored[self.row, batch.first_scored :]
        ragged = not bool(scored.all())
        inputs = _by_bin(forced, self.streams, self.n_bins, n_bins, self.row.device)
        record = _Record()
        alone = len(batch.session) == 1
        for t in range(n_bins):
            terms = (None if x is None else x[t] if alone else x[t][self.row] for x in (context, shift))
            log_intensity = self.stepper.log_intensity(*terms)
            if keep_intensity:
                record.log_intensity.append(log_intensity)
            able = self.able & scored[:, t : t + 1] if ragged else self.able
            stream, unit, level, put_in = self._draw(log_intensity, able, inputs.get(t))
            if len(stream):
                record.bin.append(self.n_bins)
                record.parts.append((stream, unit, level, put_in))
            self.stepper.push(stream, unit, level)
            self.n_bins += 1
            if self.n_bins % RUNAWAY_BINS == 0:
                self._watch_population(record)
        return record.finish(self.streams)

    def _draw(
        self, log_intensity: Tensor, able: Tensor, put_in: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Stream, unit and level of the events of one bin, and whether each was put in (0 or 1)."""
        n_units, n_levels = log_intensity.shape[1], self.model.n_levels
        intensity = log_intensity.double().exp().masked_fill(~able, 0.0)
        if self.ceiling is not None:
            high = intensity > self.ceiling.unsqueeze(1)
            if bool(high.any()):
                self.n_lowered[self.streams] += high.sum(1).cpu().numpy()
                intensity = intensity.minimum(self.ceiling.unsqueeze(1))
        self._watch(intensity)
        intensity = sharpen(
            intensity,
            temperature=self.sampling.temperature,
            top_k=self.sampling.top_k,
            top_p=self.sampling.top_p,
        )
        if n_levels > 1:
            intensity = (intensity.unsqueeze(-1) * self.stepper.level_probability()).flatten(1)
        cells, counts = draw_counts(intensity, self.uniforms.next())
        if int(counts.sum()) > len(cells):
            cells = cells.repeat_interleave(counts)
        forced = torch.zeros_like(cells)
        if put_in is not None:
            cell = (put_in[0] * n_units + put_in[1]) * n_levels + put_in[2]
            cells, forced = torch.cat([cells, cell]), torch.cat([forced, torch.ones_like(cell)])
            cells, order = cells.sort(stable=True)
            forced = forced[order]
        if n_levels == 1:
            level, cell = torch.zeros_like(cells), cells
        else:
            level, cell = cells % n_levels, cells // n_levels
        return cell // n_units, cell % n_units, level, forced

    def _watch(self, intensity: Tensor) -> None:
        """Refuse activity that explodes, and warn of activity that may; nothing is clipped."""
        most = float(intensity.max())
        if most < 0.1 * self.sampling.most_per_bin:
            return
        stream, unit = divmod(int(intensity.argmax()), intensity.shape[1])
        seconds = self.n_bins * self.model.bin_s
        found = (
            f"stream {self.streams[stream]}, unit {unit}: {most:.3g} events expected in a bin of "
            f"{self.model.bin_s:g} s after {seconds:g} s"
        )
        if not most < self.sampling.most_per_bin:  # NaN too
            raise UserError(
                f"{found}, the limit is most_per_bin={self.sampling.most_per_bin:g}: the generated activity runs away "
                "from what the model was trained on; give intensities a ceiling (ceiling=validation), generate shorter "
                "stretches, or train longer or with more data"
            )
        if not self.warned:
            warnings.warn(f"{found}: the generated activity may be running away", stacklevel=4)
            self.warned = True

    def _watch_population(self, record: _Record) -> None:
        """Refuse a population that has gone to a rate that training knows nothing of."""
        if self.usual is None or not record.parts:
            return
        first = bisect_left(record.bin, self.n_bins - RUNAWAY_BINS)
        if first == len(record.bin):
            return
        stream = torch.cat([part[0][part[3] == 0] for part in record.parts[first:]])
        rate = torch.bincount(stream, minlength=len(self.usual)) / RUNAWAY_BINS
        wild = rate > RUNAWAY * self.usual + 1
        if bool(wild.any()):
            k = int(wild.nonzero()[0])
            raise UserError(
                f"stream {self.streams[k]}: {float(rate[k]):.3g} events per bin over the last {RUNAWAY_BINS} bins, "
                f"after {self.n_bins * self.model.bin_s:g} s, {float(self.usual[k]):.3g} in training: the generated "
                "activity has run away; generate shorter stretches, or train longer or with more data"
            )


def _per_stream(values: Sequence[float] | None, row: Tensor) -> Tensor | None:
    """(B,) float64 of values (chunks,)."""
    return None if values is None else torch.tensor(values, dtype=torch.float64, device=row.device)[row]


def _by_bin(
    forced: Forced | None, streams: np.ndarray, start: int, n_bins: int, device: torch.device
) -> dict[int, Tensor]:
    """(3, M) stream (as they are now), unit and level of the events to put in, by bin from `start` on."""
    if forced is None or not len(forced):
        return {}
    now = {int(stream): place for place, stream in enumerate(streams)}
    found: dict[int, list[tuple[int, int, int]]] = {}
    for stream, at, unit, level in zip(
        forced.stream, forced.bin - start, forced.unit, forced.level, strict=True
    ):
        if 0 <= at < n_bins and int(stream) in now:
            found.setdefault(int(at), []).append((now[int(stream)], int(unit), int(level)))
    return {at: torch.tensor(sorted(events), device=device).T for at, events in found.items()}


def hide_variables(batch: Batch, given: Sequence[str] | None) -> Batch:
    """The batch with only the named variables known; None: all."""
    if given is None:
        return batch
    rows = torch.ones(len(batch.session), dtype=torch.bool, device=batch.session.device)
    return replace(
        batch,
        variables={k: v if k in given else v.hide(rows) for k, v in batch.variables.items()},
        frames={k: v if k in given else v.hide(rows) for k, v in batch.frames.items()},
    )
