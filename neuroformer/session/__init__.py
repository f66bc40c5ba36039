"""The session: one recording of one animal, in memory and as an HDF5 file that is read slice by slice.

Example:
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> events = Events(times=np.array([0.5, 1.25, 7.0]), units=np.array([0, 1, 0]))
    >>> data = SessionData(
    ...     session_id="day1", subject_id="mouse1", start=0.0, stop=10.0, n_units=2, events=events
    ... )
    >>> path = write_session(Path(tempfile.mkdtemp()) / "day1.h5", data)
    >>> validate_file(path)
    []
    >>> with Session(path) as session:
    ...     session.events(1.0, 8.0).times
    array([1.25, 7.  ])
"""

from neuroformer.session.reader import Session
from neuroformer.session.schema import SCHEMA_VERSION
from neuroformer.session.types import Events, Fault, SeriesInfo, SessionData, TimeSeries, Truth
from neuroformer.session.validation import validate_file
from neuroformer.session.writer import write_session

__all__ = [
    "SCHEMA_VERSION",
    "Events",
    "Fault",
    "SeriesInfo",
    "Session",
    "SessionData",
    "TimeSeries",
    "Truth",
    "validate_file",
    "write_session",
]
