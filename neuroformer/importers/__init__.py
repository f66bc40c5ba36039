"""Foreign recordings, read into sessions: NWB files, and arrays in NumPy, MATLAB and HDF5 files.

>>> import tempfile
>>> from pathlib import Path
>>> import numpy as np
>>> path = Path(tempfile.mkdtemp()) / "fish7.npz"
>>> np.savez(path, t_ms=np.array([120.0, 80.5]), neuron=np.array([1, 0]))
>>> mapping = ArrayMapping(events=EventList(time="t_ms", unit="neuron", scale=0.001))
>>> imported = import_arrays(path, mapping)
>>> imported.data.events.times, imported.notes
(array([0.0805, 0.12  ]), ('event times: not in order, sorted',))
"""

from neuroformer.importers.arrays import import_arrays
from neuroformer.importers.imported import Imported
from neuroformer.importers.mapping import (
    ArrayMapping,
    BinCounts,
    Clock,
    Deconvolution,
    EventList,
    Naming,
    Series,
    Span,
    SpikeTimes,
    Traces,
    Trials,
    Units,
)
from neuroformer.importers.mapping_file import load_mapping
from neuroformer.importers.nwb import import_nwb
from neuroformer.importers.nwb_options import NwbOptions

__all__ = [
    "ArrayMapping",
    "BinCounts",
    "Clock",
    "Deconvolution",
    "EventList",
    "Imported",
    "Naming",
    "NwbOptions",
    "Series",
    "Span",
    "SpikeTimes",
    "Traces",
    "Trials",
    "Units",
    "import_arrays",
    "import_nwb",
    "load_mapping",
]
