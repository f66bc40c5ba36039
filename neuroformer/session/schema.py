"""The layout of a session file: the names, dtypes and sizes that writer, reader and rules share.

docs/session-file.md says the same to authors of other tools.
"""

import re
from types import MappingProxyType
from typing import Any, Final

import numpy as np

FORMAT: Final = "neuroformer-session"
SCHEMA_VERSION: Final = "1.0"

KINDS: Final = ("continuous", "categorical", "frames")
EMISSIONS: Final = ("poisson", "bernoulli")

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
TRUTH_ARRAYS: Final = ("weights", "delays", "log_likelihood", "block_starts")

TIMES: Final = "events/times"
UNITS: Final = "events/units"
AMPLITUDES: Final = "events/amplitudes"
COUNTS: Final = "events/counts"
INTERVALS: Final = "intervals"
SERIES_GROUPS: Final = ("stimulus", "behavior")

# Everything that may be in a file.
GROUP_PATHS: Final = re.compile(
    r"|events|units|trials|traces|stimulus|behavior|(stimulus|behavior)/[^/]+|truth|truth/extra"
)
ARRAY_PATHS: Final = re.compile(
    r"events/(times|units|amplitudes|counts|index)|units/[^/]+|trials/[^/]+|intervals"
    r"|(traces|(stimulus|behavior)/[^/]+)/(timestamps|values|labels|index)"
    r"|truth/(weights|delays|log_likelihood|block_starts|extra/[^/]+)"
)
TIMESTAMP_PATHS: Final = re.compile(r"(traces|(stimulus|behavior)/[^/]+)/timestamps")

# Kinds of values, as `layout.kind_of` names them, where any dtype of a kind will do.
NUMBER_KINDS: Final = ("float", "integer", "boolean")
VALUE_KINDS: Final = (*NUMBER_KINDS, "text")

# Columns of the unit table whose meaning is fixed: kinds of values and number of dimensions.
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

_DTYPES: Final = {
    TIMES: np.float64,
    UNITS: np.int32,
    AMPLITUDES: np.float32,
    INTERVALS: np.float64,
    "trials/start": np.float64,
    "trials/stop": np.float64,
    "truth/weights": np.float32,
    "truth/delays": np.float32,
    "truth/log_likelihood": np.float64,
    "truth/block_starts": np.float64,
}

# A file keeps every INDEX_STRIDE-th time apart, so that a slice is found by reading one block of times.
INDEX_STRIDE: Final = 4096

# Chunks are read whole: large enough to compress well, small enough that 2 s take little beside themselves.
EVENT_CHUNK: Final = 16_384  # events
CHUNK_BYTES: Final = 128 * 1024  # of all other arrays
STORAGE: Final[MappingProxyType[str, Any]] = MappingProxyType(
    {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True}
)


def is_timestamps(path: str) -> bool:
    """Whether the array at `path` holds the timestamps of a series."""
    return TIMESTAMP_PATHS.fullmatch(path) is not None


def dtype_of(path: str) -> np.dtype | None:
    """The one dtype that the array at `path` may have; None when there is a choice."""
    dtype = np.float64 if is_timestamps(path) else _DTYPES.get(path)
    return None if dtype is None else np.dtype(dtype)


def index_of(path: str) -> str:
    """Where the coarse index of the times at `path` is kept: `index` beside them."""
    return f"{path.rpartition('/')[0]}/index"
