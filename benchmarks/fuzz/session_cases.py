"""Damaged session files, read as `neuroformer validate`, `neuroformer info` and training read them."""

import json
from pathlib import Path

import numpy as np

from benchmarks.fuzz.byte_mutations import damage
from benchmarks.fuzz.outcomes import Outcome, refused, unclear
from benchmarks.fuzz.session_mutations import mutate
from benchmarks.fuzz.session_oracle import Content, broken_rules, content_of_data, content_of_file
from benchmarks.fuzz.session_samples import write_samples
from neuroformer.cli.info import summarise
from neuroformer.errors import UserError
from neuroformer.session import Session, validate_file


class SessionCases:
    """Session files: half damaged byte by byte, half changed through HDF5."""

    name = "session"

    def __init__(self, folder: Path) -> None:
        """Write the sound samples."""
        self.samples = write_samples(folder)
        self.contents = {name: content_of_file(folder / f"{name}.h5") for name in self.samples}

    def __call__(self, rng: np.random.Generator, folder: Path) -> Outcome:
        """One case."""
        sample = sorted(self.samples)[int(rng.choice(3, p=[0.6, 0.2, 0.2]))]
        path = folder / "session.h5"
        if rng.random() < 0.4:
            data, what = damage(self.samples[sample], rng)
            path.write_bytes(data)
        else:
            path.write_bytes(self.samples[sample])
            (folder / "other.h5").write_bytes(self.samples[sample])
            what = mutate(path, rng)
        found = judge(path, self.contents[sample])
        return Outcome(found.status, found.what, f"{sample}: {what}")


def judge(path: Path, original: Content) -> Outcome:
    """Whether a file is refused in clear words, or sound."""
    faults = validate_file(path)
    if any(not fault.message or not fault.cure for fault in faults):
        return unclear(f"a fault without message or cure: {faults}")
    refusal = refused("\n".join(map(str, faults))) if faults else None
    if refusal is not None and refusal.status == "unclear":
        return refusal
    read = _read(path, must=not faults)
    if read is not None:
        return read
    if refusal is not None:
        return refusal
    content = content_of_file(path)
    if broken := broken_rules(content, stored=True):
        return unclear(f"accepted, but {broken[:3]}")
    return Outcome("unchanged" if content.same_as(original) else "valid")


def _read(path: Path, *, must: bool) -> Outcome | None:
    """What is wrong with how the file is read; None when nothing is.

    Args:
        path: the file.
        must: whether it has no fault, so that a refusal is one.
    """
    try:
        with Session(path) as session:
            data = session.load()
    except UserError as error:
        found = refused(str(error), [str(path)])
        if must or found.status == "unclear":
            return unclear(f"sound, but refused by the reader: {error}") if must else found
        return None
    content = content_of_data(data)
    if broken := broken_rules(content, stored=False):
        return unclear(f"the reader gives what breaks the rules: {broken[:3]}")
    middle = (data.start + data.stop) / 2
    try:
        with Session(path) as session:
            some = session.events(data.start, middle).times
            rest = session.events(middle, data.stop).times
            json.dumps(summarise(session))
    except UserError as error:
        found = refused(str(error), [str(path)])
        return unclear(f"sound, but refused by the reader: {error}") if must else found
    if not np.array_equal(np.concatenate([some, rest]), data.events.times):
        return unclear("slices of events are not the events")
    return None
