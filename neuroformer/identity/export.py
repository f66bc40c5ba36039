"""The learned embedding of every unit with what is known of it, as one .npz and one .csv."""

from __future__ import annotations

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuroformer.errors import UserError
from neuroformer.files import atomic_path
from neuroformer.identity.units import UnitTable

_FIXED = ("session", "subject", "unit", "unit_id", "position", "rate", "global_id", "confidence")


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitEmbeddings:
    """Parts of the learned embedding and the units that they belong to.

    Attributes:
        units: N units.
        parts: (N, D) float32 by name of the part, as `embedding.unit_parts` has them.
    """

    units: UnitTable
    parts: dict[str, np.ndarray]

    def matrix(self, names: list[str]) -> np.ndarray:
        """(N, D) of the named parts side by side; parts that the model does not have are left out."""
        found = [self.parts[name] for name in names if name in self.parts]
        return np.concatenate(found, 1) if found else np.zeros((len(self.units), 0), np.float32)


def write_embeddings(folder: str | Path, embeddings: UnitEmbeddings, *, name: str = "embeddings") -> None:
    """Write FOLDER/NAME.npz (everything, `read_embeddings` reads it) and FOLDER/NAME.csv (for spreadsheets and R)."""
    folder, units = Path(folder), embeddings.units
    arrays = {key: getattr(units, key) for key in _FIXED}
    arrays |= {f"column:{key}": values for key, values in units.columns.items()}
    arrays |= {f"part:{key}": values for key, values in embeddings.parts.items()}
    with atomic_path(folder / f"{name}.npz") as temporary:
        np.savez_compressed(temporary, **arrays)
    with (
        atomic_path(folder / f"{name}.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        heads = [f"{key}_{k}" for key, values in embeddings.parts.items() for k in range(values.shape[1])]
        known = ("confidence", "x", "y", "z", "rate_hz", "global_id")
        writer.writerow(["session_id", "subject_id", "unit", "unit_id", *units.columns, *known, *heads])
        numbers = (
            np.concatenate(list(embeddings.parts.values()), 1)
            if embeddings.parts
            else np.zeros((len(units), 0))
        )
        for i in range(len(units)):
            writer.writerow(
                [units.session[i], units.subject[i], units.unit[i], units.unit_id[i]]
                + [values[i] for values in units.columns.values()]
                + [_text(x) for x in (units.confidence[i], *units.position[i], units.rate[i])]
                + [units.global_id[i], *map(_text, numbers[i])]
            )


def _text(number: float) -> str:
    return f"{number:.6g}" if np.isfinite(number) else ""


def read_embeddings(path: str | Path) -> UnitEmbeddings:
    """Read what `write_embeddings` wrote.

    Args:
        path: the .npz file.

    Raises:
        UserError: the file is missing or is something else.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        units = UnitTable(
            columns={k.partition(":")[2]: v for k, v in arrays.items() if k.startswith("column:")},
            **{key: arrays[key] for key in _FIXED},
        )
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; expected the embeddings.npz of neuroformer identity"
        ) from None
    except (ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: not a file of unit embeddings; expected the embeddings.npz of neuroformer identity"
        ) from error
    parts = {k.partition(":")[2]: v for k, v in arrays.items() if k.startswith("part:")}
    return UnitEmbeddings(units=units, parts=parts)
