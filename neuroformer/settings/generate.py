"""Settings of `neuroformer generate`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Literal

STIMULATION = re.compile(r"(?P<unit>.+)@(?P<number>\d+\.?\d*|\.\d+)\s*(?P<hz>hz)?", re.IGNORECASE)
"""What is put in: '12@0.5' is an event of unit 12 after 0.5 s, '12@20Hz' are 20 events per second."""


@dataclass(kw_only=True)
class GenerateConfig:
    """Generate activity from a trained model, as session files like any other.

    Every stretch of a part is generated from the real events before it, with its real stimulus and behaviour.
    """

    run: str
    """Folder of a pretrain or fine-tune run."""
    checkpoint: str = "best"
    """Checkpoint of the run: `best`, `last`, or a file."""
    session: str | None = None
    """The session to imitate, by its id or its file: it gives units, stimulus, behaviour, and the past to go on from.
    May be left out where the run has one session."""
    part: Literal["train", "val", "test"] = "test"
    """Part of the recording whose stretches are generated."""
    duration_s: float | None = None
    """Generate one stretch of this length from where the first stretch of the part begins; by default every stretch of
    the part in its own length."""
    prefix_s: float | None = None
    """Seconds of real activity before each stretch; by default as far as the model looks back, 0 starts from
    silence."""
    streams: int = 1
    """How many times it is generated: a file each."""
    condition: list[str] | None = None
    """Stimulus and behaviour variables that the model is given; by default all that it takes as input, [] none."""
    temperature: float = 1.0
    """Below 1 the likelier units of a bin gain, above 1 the unlikelier, at the same expected number of events; 1 is the
    exact model."""
    top_k: int | None = None
    """Only this many units, the likeliest, may fire in a bin; they take over the events of the others."""
    top_p: float | None = None
    """Only the likeliest units that together expect this share of a bin's events may fire."""
    ceiling: str = "validation"
    """Highest intensity of a unit in Hz. `validation`: the one that real events of the validation part support best;
    `none`: the exact model, whose intensities have no end and may run away; or a number."""
    seed: int = 0
    """Seed of all random numbers."""
    silence: list[str] = field(default_factory=list)
    """Units (by their id in the session) that may not fire; their real events before the stretch stay."""
    stimulate: list[str] = field(default_factory=list)
    """Events to put in beside the model's, UNIT@SECONDS after the start of each stretch or UNIT@RATEHz all the time:
    [12@0.5, 12@0.6, 40@20Hz]."""
    most_per_bin: float = 50.0
    """Expected events of one unit in one bin at which generation is given up as running away; a tenth is warned of."""
    parallel: int = 32
    """Streams at once: more are faster and take more memory."""
    out: str | None = None
    """Folder of the results, by default RUN/generate; or, with streams=1, a file that ends in .h5."""
    session_id: str = "{session}"
    """Session id in the files; {session} is that of the session imitated, {stream} the number of the file. Commands
    that use the model need an id that it knows; a run that trains on several needs an id for each."""
    overwrite: bool = False
    """Replace finished results in `out`."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name, value in (
            ("duration_s", self.duration_s),
            ("temperature", self.temperature),
            ("most_per_bin", self.most_per_bin),
        ):
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name}={value:g}: expected a number above 0")
        if self.ceiling not in ("validation", "none"):
            try:
                above = float(self.ceiling) > 0
            except ValueError:
                above = False
            if not above:
                raise ValueError(f"ceiling={self.ceiling}: expected validation, none, or Hz above 0")
        for name, count in (("streams", self.streams), ("parallel", self.parallel), ("top_k", self.top_k)):
            if count is not None and count < 1:
                raise ValueError(f"{name}={count}: expected 1 or more")
        if self.prefix_s is not None and self.prefix_s < 0:
            raise ValueError(f"prefix_s={self.prefix_s:g}: expected 0 or more seconds")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p:g}: expected a share above 0 and at most 1")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed}: expected 0 or more")
        for entry in self.stimulate:
            if not STIMULATION.fullmatch(entry):
                raise ValueError(
                    f"stimulate: {entry!r}; expected UNIT@SECONDS or UNIT@RATEHz, such as 12@0.5 or 12@20Hz"
                )
        try:
            self.session_id.format(session="", stream=0)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise ValueError(
                f"session_id={self.session_id!r}: expected text with {{session}} and {{stream}} at most"
            ) from error
        if self.out is not None and self.out.endswith(".h5") and self.streams > 1:
            raise ValueError(
                f"out={self.out}, streams={self.streams}: several streams are a file each, name a folder"
            )
