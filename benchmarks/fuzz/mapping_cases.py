"""Mapping files of `neuroformer convert` made wrong, run against small recordings of the kinds that they describe."""

import contextlib
import io
from pathlib import Path

import numpy as np

from benchmarks.fuzz.outcomes import Outcome, refused, unclear
from benchmarks.fuzz.session_oracle import broken_rules, content_of_file
from benchmarks.fuzz.setting_cases import CONFIGS, EXECUTED
from benchmarks.fuzz.yaml_mutations import mutate
from neuroformer.cli.command import run_command
from neuroformer.cli.convert import COMMAND
from neuroformer.session import validate_file

LIST = """
session: {file_name: '(?P<mouse>M\\d+)_day(?P<day>\\d+)', session_id: '{mouse}_day{day}', species: Mus musculus}
clock: {rate: fs, samples: n_frames}
events: {frame: event_frame, unit: event_neuron, amplitude: event_amp}
units: {count: n_units, columns: {region: region}}
behavior:
  position: {key: position, scale: 96, unit: cm, valid: [0, 1]}
  state: {key: state, kind: categorical, values: [0, 1], labels: [rest, run]}
  heading: {keys: [x, y], clock: {timestamps: t_eye, scale: 0.001}, unit: px, missing: [-1]}
stimulus:
  film: {key: film, kind: frames, clock: {rate: 10, start: 0.5}}
trials: {label: trial, between: [0]}
intervals: trials
misaligned: {M3_day2: [1]}
"""
SPIKES = """
session: {session_id: '{file}', subject_id: rat}
spike_times: {key: "unit_*", scale: 0.001}
trials: {start: starts, duration: 2.0, columns: {side: side}, compare: {larger: {keys: [left, right], labels: [l, r]}}}
stimulus: {contrast: {keys: [left, right], per: trial}}
span: {start: 0, stop: 30}
"""
COUNTS = """
counts: {key: spikes, axes: [trial, unit, bin], bin: 0.05, gap: 0.5}
units: {columns: {region: region}}
"""
TRACES = """
clock: {timestamps: t}
traces: {key: dff, axes: [time, unit], unit: dF/F, deconvolution: {decay: 0.7, threshold: 2.0, baseline_window: 20}}
behavior: {velocity: {key: v, unit: cm/s}}
"""


def write_recordings(folder: Path) -> list[tuple[str, str]]:
    """A small recording for each mapping: name of the recording and text of the mapping."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(4)
    frames = np.sort(rng.integers(0, 200, 120))
    np.savez(
        folder / "M3_day2.npz",
        fs=20.0,
        n_frames=200,
        n_units=5,
        event_frame=frames,
        event_neuron=rng.integers(0, 5, 120),
        event_amp=rng.random(120),
        region=np.array(["CA1"] * 5),
        position=rng.random(200),
        state=rng.integers(0, 2, 200),
        x=rng.random(50),
        y=rng.random(50),
        t_eye=np.arange(50) * 200.0,
        film=rng.integers(0, 255, (90, 4, 3), dtype=np.uint8),
        trial=np.repeat([0, 1, 2, 0, 3], 40),
        starts=np.array([1.0, 5.0]),
    )
    np.savez(
        folder / "rat7.npz",
        **{f"unit_{k}": np.sort(rng.uniform(0, 29_000, 40)) for k in range(3)},
        starts=np.arange(10) * 2.5,
        side=np.array(["l", "r"] * 5),
        left=rng.random(10),
        right=rng.random(10),
    )
    np.savez(folder / "trials.npz", spikes=rng.poisson(0.1, (6, 4, 10)), region=np.array(["V1"] * 4))
    calcium = np.convolve(rng.random(300) < 0.05, np.exp(-np.arange(20) / 7.0))[:300]
    np.savez(
        folder / "worm.npz",
        t=np.arange(300) * 0.1,
        dff=np.stack([calcium, calcium[::-1]], axis=1) + 0.05 * rng.normal(size=(300, 2)),
        v=rng.random(300),
    )
    pairs = [("M3_day2.npz", LIST), ("rat7.npz", SPIKES), ("trials.npz", COUNTS), ("worm.npz", TRACES)]
    shipped = [path.read_text(encoding="utf-8") for path in sorted((CONFIGS / "convert").glob("*.yaml"))]
    return pairs * 3 + [(pairs[k % 4][0], text) for k, text in enumerate(shipped)]


class MappingCases:
    """Mapping files."""

    name = "mapping"

    def __init__(self, folder: Path) -> None:
        """Write the recordings."""
        self.folder = folder
        self.pairs = write_recordings(folder)

    def __call__(self, rng: np.random.Generator, folder: Path) -> Outcome:
        """One case."""
        name, text = self.pairs[int(rng.integers(len(self.pairs)))]
        data, what = mutate(text, rng)
        (folder / "mapping.yaml").write_bytes(data)
        found = judge(self.folder / name, folder)
        return Outcome(found.status, found.what, f"{name}: {what}")


def judge(recording: Path, folder: Path) -> Outcome:
    """Convert a recording by `mapping.yaml` in a folder."""
    out, before = folder / "out", set(folder.parent.iterdir())
    errors = io.StringIO()
    with (
        contextlib.redirect_stderr(errors),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.chdir(folder),
    ):
        code = run_command(COMMAND, [str(recording), f"mapping={folder / 'mapping.yaml'}", f"out={out}"])
    if (folder / EXECUTED).exists():
        return unclear("code in the file was executed")
    made = sorted(out.glob("*.h5")) if out.exists() else []
    if set(folder.parent.iterdir()) - before or {path.name for path in folder.iterdir()} - {
        "mapping.yaml",
        "out",
    }:
        return unclear("wrote outside of its folder")
    if code:
        if made or (out.exists() and any(out.iterdir())):
            return unclear(f"refused, but left {[path.name for path in out.iterdir()]}")
        return refused(errors.getvalue().strip(), ["mapping.yaml", recording.name])
    if len(made) != 1:
        return unclear(f"{len(made)} files, and no word")
    faults = validate_file(made[0]) or broken_rules(content_of_file(made[0]), stored=True)
    return unclear(f"made a file with faults: {faults[:3]}") if faults else Outcome("valid")
