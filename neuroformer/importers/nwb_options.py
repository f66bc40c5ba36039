"""What can be chosen when an NWB file is read."""

from dataclasses import dataclass, field
from typing import Literal

from neuroformer.importers.mapping import Deconvolution, Naming


@dataclass(kw_only=True)
class NwbOptions:
    """Choices for NWB files; the defaults suit most."""

    events: Literal["auto", "units", "traces"] = "auto"
    """Where events come from: the table of sorted `units`, or calcium `traces`; auto takes units where there
    are any."""
    traces: str = ""
    """Name of the RoiResponseSeries to read; by default DfOverF before Fluorescence, the first that is
    neither neuropil nor already deconvolved."""
    trials: str = "trials"
    """Name of the table of intervals that is read as trials."""
    frame_size: int = 64
    """Longest side of stimulus frames [pixels]; larger ones are averaged down. 0 keeps them as they are."""
    skip: list[str] = field(default_factory=list)
    """Names of stimulus and behaviour series to leave out."""
    deconvolution: Deconvolution = field(default_factory=Deconvolution)
    """How events are found in calcium traces."""
    session: Naming = field(default_factory=Naming)
    """Ids, species and description; by default those in the file, and the file's name where it has none."""
