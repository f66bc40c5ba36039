"""The layout of a session file: the names, dtypes and limits that writer, reader and rules share.

docs/session-file.md tells the same to authors of other tools.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any, Final

import numpy as np

FORMAT: Final = "neuroformer-session"
SCHEMA_VERSION: Final = "1.0"

KINDS: Final = ("continuous", "categorical", "frames")
EMISSIONS: Final = ("poisson", "bernoulli")

# Root attributes and the type of each; all are written, text may be empty but for the ids.
ROOT_ATTRIBUTES: Final = MappingProxyType(
    {
        "session_id": str,
        "subject_id": str,
        "species": str,
        "description": str,
        "source": str,
        "start": float,
        "stop": float,
        "n_units": int,
    }
)
TRUTH_ATTRIBUTES: Final = MappingProxyType({"block_s": float, "dt": float, "emission": str, "hidden": int})

TIMES: Final = "events/times"
UNITS: Final = "events/units"
AMPLITUDES: Final = "events/amplitudes"
COUNTS: Final = "events/counts"
INTERVALS: Final = "intervals"

# Groups that hold one series (traces) or one series a name (stimulus, behavior).
SERIES_GROUPS: Final = ("stimulus", "behavior")

# Arrays that must have exactly one dtype, by path.
DTYPES: Final = MappingProxyType(
    {
        TIMES: np.dtype(np.float64),
        UNITS: np.dtype(np.int32),
        AMPLITUDES: np.dtype(np.float32),
        INTERVALS: np.dtype(np.float64),
        "trials/start": np.dtype(np.float64),
        "trials/stop": np.dtype(np.float64),
        "truth/weights": np.dtype(np.float32),
        "truth/delays": np.dtype(np.float32),
        "truth/log_likelihood": np.dtype(np.float64),
        "truth/block_starts": np.dtype(np.float64),
    }
)
TIMESTAMPS_DTYPE: Final = np.dtype(np.float64)


def is_timestamps(path: str) -> bool:
    """Whether `path` holds the timestamps of a series."""
    parts = path.split("/")
    return parts[-1] == "timestamps" and (parts[0] == "traces" or (parts[0] in SERIES_GROUPS and len(parts) == 3))


# Columns of the unit table whose meaning is fixed: kinds allowed (as `layout.kind_of` names them) and dimensions.
UNIT_COLUMNS: Final[MappingProxyType[str, tuple[tuple[str, ...], int]]] = MappingProxyType(
    {
        "id": (("text", "integer"), 1),
        "region": (("text",), 1),
        "cell_type": (("text",), 1),
        "label": (("text",), 1),
        "position": (("float",), 2),
        "global_id": (("integer",), 1),
    }
)

# Every INDEX_STRIDE-th time is kept apart, so that a slice is found without bisecting the compressed file.
INDEX: Final = "index"
INDEX_STRIDE: Final = 4096

# Chunks: a few seconds of a large recording, small enough that a 2 s slice decompresses little beside itself.
EVENT_CHUNK: Final = 16_384  # events
SERIES_CHUNK_BYTES: Final = 128 * 1024
COMPRESSION: Final[MappingProxyType[str, Any]] = MappingProxyType(
    {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True}
)

# Everything that may be in a file; a misspelt group would otherwise be passed over in silence.
GROUP_PATHS: Final = re.compile(
    r"|events|units|trials|traces|stimulus|behavior|(stimulus|behavior)/[^/]+|truth|truth/extra"
)
ARRAY_PATHS: Final = re.compile(
    r"events/(times|units|amplitudes|counts|index)|units/[^/]+|trials/[^/]+|intervals"
    r"|(traces|(stimulus|behavior)/[^/]+)/(timestamps|values|labels|index)"
    r"|truth/(weights|delays|log_likelihood|block_starts|extra/[^/]+)"
)
