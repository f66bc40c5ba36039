"""The file of estimates, ``connectivity.h5``: matrices with their units, and the truth where it is known.

SESSION_ID/unit_ids                     (N,) text or integers, as in the session file
SESSION_ID/ESTIMATOR/matrix             (N, N) [source, target], attribute "description"
SESSION_ID/ESTIMATOR/gain               (N, N), with gain_error, where the estimator has a scale
SESSION_ID/ESTIMATOR/lag_profile        (N, N, L), where the estimator has lags
SESSION_ID/ESTIMATOR/lags_s             (L,) seconds
SESSION_ID/ESTIMATOR/p_values           (N, N) two-sided, NaN on the diagonal, where the estimator has a null
SESSION_ID/truth/{weights,delays}       (N, N) [source, target], delays in seconds
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from neuroformer.connectivity.estimate import ConnectivityMap
from neuroformer.connectivity.ranking import off_diagonal
from neuroformer.errors import UserError
from neuroformer.hdf5 import atomic_hdf5

RESERVED = ("truth", "unit_ids")  # what else a session's group holds beside its estimators


@dataclass(frozen=True, kw_only=True, eq=False)
class SessionConnectivity:
    """All estimates for one session, on the same N units in the same order.

    Attributes:
        session_id: As in the session file.
        unit_ids: (N,) text or integers.
        maps: One per estimator.
        weights: (N, N) known signed weights [source, target], or None.
        delays: (N, N) known delays in seconds, or None.
    """

    session_id: str
    unit_ids: np.ndarray
    maps: tuple[ConnectivityMap, ...]
    weights: np.ndarray | None = None
    delays: np.ndarray | None = None

    def __post_init__(self) -> None:
        square = (len(self.unit_ids),) * 2
        names = [estimate.name for estimate in self.maps]
        assert len({*names, *RESERVED}) == len(names) + len(RESERVED), f"estimators are named {names}"
        for name, matrix in [(e.name, e.matrix) for e in self.maps] + [("weights", self.weights)]:
            assert matrix is None or matrix.shape == square, f"{name}: {matrix.shape}, expected {square}"

    @property
    def scorable(self) -> bool:
        """Whether the wiring is known and has both edges and pairs without an edge."""
        if self.weights is None:
            return False
        edge = off_diagonal(self.weights) != 0
        return bool(edge.any() and not edge.all())


def write_connectivity(path: Path, sessions: Sequence[SessionConnectivity]) -> Path:
    """Write the estimates of several sessions into one HDF5 file, whole or not at all."""
    with atomic_hdf5(path) as (file, heed_interrupt):
        for session in sessions:
            heed_interrupt()
            group = file.create_group(session.session_id, track_order=True)
            is_text = session.unit_ids.dtype.kind in "OUS"
            group.create_dataset(
                "unit_ids",
                data=session.unit_ids.astype(object) if is_text else session.unit_ids,
                dtype=h5py.string_dtype() if is_text else None,
            )
            for estimate in session.maps:
                part = group.create_group(estimate.name)
                part.attrs["description"] = estimate.description
                _write(part, "matrix", estimate.matrix)
                for name in ("p_values", "gain", "gain_error"):
                    if getattr(estimate, name) is not None:
                        _write(part, name, getattr(estimate, name))
                if estimate.lag_profile is not None:
                    _write(part, "lag_profile", estimate.lag_profile)
                    _write(part, "lags_s", estimate.lags_s)
            if session.weights is not None:
                _write(group, "truth/weights", session.weights)
            if session.delays is not None:
                _write(group, "truth/delays", session.delays)
    return path


def read_connectivity(path: Path) -> dict[str, SessionConnectivity]:
    """Read every session of a file by `write_connectivity`, keyed by session id; estimates in the order written.

    Raises:
        UserError: The file is missing, not HDF5, or lacks a part.
    """
    try:
        with h5py.File(path, "r") as file:
            return {name: _read_session(name, group) for name, group in file.items()}
    except (OSError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path}: not a readable connectivity file ({error}); "
            "expected one by `neuroformer connectivity`, run it again"
        ) from error


def _write(group: h5py.Group, name: str, values: np.ndarray | None) -> None:
    group.create_dataset(name, data=values, compression="gzip", compression_opts=1, shuffle=True)


def _read(group: h5py.Group, name: str) -> np.ndarray | None:
    return group[name][()] if name in group else None


def _read_session(session_id: str, group: h5py.Group) -> SessionConnectivity:
    ids = group["unit_ids"]
    return SessionConnectivity(
        session_id=session_id,
        unit_ids=ids.asstr()[()].astype(str) if h5py.check_string_dtype(ids.dtype) else ids[()],
        maps=tuple(
            ConnectivityMap(
                name=name,
                matrix=part["matrix"][()],
                lag_profile=_read(part, "lag_profile"),
                lags_s=_read(part, "lags_s"),
                p_values=_read(part, "p_values"),
                gain=_read(part, "gain"),
                gain_error=_read(part, "gain_error"),
                description=part.attrs["description"],
            )
            for name, part in group.items()
            if name not in RESERVED
        ),
        weights=_read(group, "truth/weights"),
        delays=_read(group, "truth/delays"),
    )
