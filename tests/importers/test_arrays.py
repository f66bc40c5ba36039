from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays

from neuroformer.errors import UserError
from neuroformer.importers import Imported, import_arrays, load_mapping
from neuroformer.session import validate_file, write_session


def convert(folder: Path, mapping: str, name: str = "rec.npz", **content: Any) -> Imported:
    """Import an .npz with `content` by a mapping given as YAML; the session it makes must be valid."""
    np.savez(folder / name, **content)
    (folder / "mapping.yaml").write_text(mapping)
    imported = import_arrays(folder / name, load_mapping(folder / "mapping.yaml"))
    written = write_session(folder / "session.h5", imported.data, overwrite=True)
    assert validate_file(written) == []
    return imported


FRAMES = "clock: {rate: fs, samples: n}\nevents: {unit: u, frame: f, amplitude: a}\n"


def test_events_by_frame_stand_in_the_middle_of_their_frame(tmp_path: Path) -> None:
    data = convert(tmp_path, FRAMES, f=[0, 3, 3], u=[2, 1, 0], a=[0.5, 0.25, 1.0], fs=20.0, n=10).data
    np.testing.assert_allclose(data.events.times, [0.025, 0.175, 0.175])
    assert data.events.units.tolist() == [2, 0, 1]
    assert data.events.amplitudes is not None
    assert data.events.amplitudes.tolist() == [0.5, 1.0, 0.25]
    assert (data.start, data.stop, data.n_units) == (0.0, 0.5, 3)
    np.testing.assert_allclose(data.intervals, [[0.0, 0.5]])


@given(
    frames=st.lists(st.integers(0, 5000), min_size=1, max_size=50), rate=st.sampled_from([3.0, 20.0, 30.3])
)
def test_frames_come_back_when_events_are_binned_by_frame(
    tmp_path_factory: pytest.TempPathFactory, frames: list[int], rate: float
) -> None:
    folder = tmp_path_factory.mktemp("frames")
    data = convert(folder, FRAMES, f=frames, u=[0] * len(frames), a=[1.0] * len(frames), fs=rate, n=5001).data
    bins = np.floor((data.events.times - data.start) / (1 / rate)).astype(int)
    assert bins.tolist() == sorted(frames)


def test_frames_out_of_order_are_sorted_and_equal_ones_keep_their_order(tmp_path: Path) -> None:
    imported = convert(tmp_path, FRAMES, f=[5, 2, 2, 2], u=[0, 1, 1, 0], a=[4, 3, 2, 1], fs=10.0, n=10)
    events = imported.data.events
    assert events.units.tolist() == [0, 1, 1, 0]
    assert events.amplitudes is not None
    assert events.amplitudes.tolist() == [1, 3, 2, 4]
    assert imported.notes == ("event times: not in order, sorted",)


def test_matlab_counts_from_one(tmp_path: Path) -> None:
    mapping = "clock: {rate: 10, samples: 4, first: 1}\nevents: {unit: u, frame: f, first_unit: 1}\n"
    data = convert(tmp_path, mapping, f=[1, 4], u=[1, 3]).data
    np.testing.assert_allclose(data.events.times, [0.05, 0.35])
    assert data.events.units.tolist() == [0, 2]
    assert data.events.amplitudes is None


def test_frames_on_a_clock_of_listed_times(tmp_path: Path) -> None:
    mapping = "clock: {timestamps: t, scale: 0.001}\nevents: {unit: u, frame: f}\n"
    data = convert(tmp_path, mapping, t=[0.0, 100.0, 210.0, 300.0], f=[0, 2], u=[0, 1]).data
    np.testing.assert_allclose(data.events.times, [0.05, 0.255])
    np.testing.assert_allclose((data.start, data.stop), (0.0, 0.4))


def test_missing_frames_cut_the_valid_intervals(tmp_path: Path) -> None:
    times = np.r_[np.arange(10) * 0.1, 5 + np.arange(10) * 0.1]
    mapping = "clock: {timestamps: t}\nevents: {unit: u, frame: f}\n"
    data = convert(tmp_path, mapping, t=times, f=[0, 15], u=[0, 0]).data
    np.testing.assert_allclose(data.intervals, [[0.0, 1.0], [5.0, 6.0]])


def test_units_by_id_become_rows_of_the_table_of_units(tmp_path: Path) -> None:
    mapping = "events: {unit: u, time: t, unit_is: id}\nunits: {columns: {region: area}}\n"
    data = convert(tmp_path, mapping, t=[1.0, 2.0, 3.0], u=[203, 14, 203], area=["CA1", "CA3"]).data
    assert data.units["id"].tolist() == [14, 203]
    assert data.events.units.tolist() == [1, 0, 1]
    listed = "events: {unit: u, time: t, unit_is: id}\nunits: {id: ids}\n"
    data = convert(tmp_path, listed, t=[1.0, 2.0], u=[203, 14], ids=[300, 203, 14]).data
    assert data.n_units == 3
    assert data.events.units.tolist() == [1, 2]
    with pytest.raises(UserError, match=r"events\.unit: id 7 is not among units\.id 'ids'"):
        convert(tmp_path, listed, t=[1.0], u=[7], ids=[1, 2])


@pytest.mark.parametrize("form", ["ends", "padded", "pattern"])
def test_spike_times_by_unit_in_each_form(tmp_path: Path, form: str) -> None:
    content: dict[str, Any]
    if form == "ends":
        spec, content = (
            "{key: flat, ends: ends, scale: 0.001}",
            {
                "flat": [100.0, 300.0, 200.0],
                "ends": [2, 2, 3],
            },
        )
    elif form == "padded":
        nan = np.nan
        spec, content = "{key: m, scale: 0.001}", {"m": [[100.0, 300.0], [nan, nan], [200.0, nan]]}
    else:
        spec = "{key: 'unit_*', scale: 0.001}"
        content = {"unit_10": [200.0], "unit_2": np.empty(0), "unit_1": [100.0, 300.0]}
    data = convert(tmp_path, f"spike_times: {spec}", **content).data
    np.testing.assert_allclose(data.events.times, [0.1, 0.2, 0.3])
    assert data.events.units.tolist() == [0, 2, 0]
    assert data.n_units == 3
    assert data.start == pytest.approx(0.1)
    assert data.stop == pytest.approx(0.301)


def test_spike_times_out_of_order_are_sorted_with_a_note(tmp_path: Path) -> None:
    imported = convert(tmp_path, "spike_times: {key: 'u*'}", u0=[3.0, 1.0], u1=[2.0])
    assert imported.data.events.times.tolist() == [1.0, 2.0, 3.0]
    assert imported.notes == ("spike times: not in order in 1 units, sorted",)


@settings(max_examples=20)
@given(
    counts=numpy_arrays(np.uint8, st.tuples(*[st.integers(1, 4)] * 3), elements=st.integers(0, 5)),
    width=st.sampled_from([0.01, 0.02, 1 / 30]),
    absolute=st.booleans(),
)
def test_binned_counts_come_back_from_the_events(
    tmp_path_factory: pytest.TempPathFactory, counts: np.ndarray, width: float, absolute: bool
) -> None:
    if not counts.any():
        return
    n_trials, _, n_bins = counts.shape
    starts = 65.279 + 3.1 * np.arange(n_trials)
    mapping = f"counts: {{key: c, bin: w{', start: t' if absolute else ''}}}"
    data = convert(tmp_path_factory.mktemp("counts"), mapping, c=counts, w=width, t=starts).data
    found = np.zeros_like(counts)
    for trial, (start, stop) in enumerate(data.intervals):
        assert stop - start == pytest.approx(n_bins * width)
        inside = (data.events.times >= start) & (data.events.times < stop)
        bins = np.floor((data.events.times[inside] - start) / width).astype(int)
        np.add.at(found, (trial, data.events.units[inside], bins), 1)
    np.testing.assert_array_equal(found, counts)
    assert len(data.intervals) == n_trials
    assert (
        data.intervals[1:, 0] > data.intervals[:-1, 1]
    ).all()  # no stretch reaches over a border of trials
    if absolute:
        np.testing.assert_allclose(data.trials["start"], starts)


def test_events_of_one_unit_in_one_bin_stand_apart(tmp_path: Path) -> None:
    data = convert(tmp_path, "counts: {key: c, axes: [bin, unit], bin: 0.1}", c=[[3], [0], [1]]).data
    np.testing.assert_allclose(data.events.times, [0.1 / 6, 0.05, 0.5 / 6, 0.25])
    assert not data.trials


def test_bin_times_that_disagree_with_the_width_are_refused(tmp_path: Path) -> None:
    counts = np.ones((2, 1, 3), int)
    times = np.array([[0, 0.02, 0.04], [1, 1.02, 1.04]])
    with pytest.raises(UserError, match=r"0\.02 to 0\.02 s apart, but counts\.bin is 0\.01 s"):
        convert(tmp_path, "counts: {key: c, bin: 0.01, start: t}", c=counts, t=times)
    with pytest.raises(UserError, match="no counts, expected 0, 1, 2"):
        convert(tmp_path, "counts: {key: c, bin: 0.01}", c=counts - 2.5)


@pytest.mark.parametrize("many", [2.0**52, 3e5, 1.7e308])
def test_counts_that_no_recording_has_are_refused(tmp_path: Path, many: float) -> None:
    with pytest.raises(
        UserError, match=r"'c' holds up to .* in a bin and .* expected at most 1e\+05 and 2e\+09"
    ):
        convert(tmp_path, "counts: {key: c, axes: [bin, unit], bin: 0.1}", c=[[3.0], [many], [many]])


SPIKES = "events: {unit: u, time: t}\n"
TWO = {"t": [0.5, 9.5], "u": [0, 1]}


def test_continuous_behaviour_in_physical_units_with_what_is_missing(tmp_path: Path) -> None:
    mapping = SPIKES + (
        "behavior:\n"
        "  position: {key: p, clock: {rate: 10}, scale: 96, offset: 1, unit: cm, missing: [-1],"
        " valid: [0, 1]}\n"
        "  gaze: {keys: [gx, gy], clock: {timestamps: tg, scale: 0.001}, unit: deg, period: 360}\n"
        "  never: {key: nan, clock: {rate: 10}}\n"
    )
    imported = convert(
        tmp_path,
        mapping,
        **TWO,
        p=[0.0, 0.5, np.nan, -1.0, 7.0],
        gx=[1, 2],
        gy=[3, 4],
        tg=[0, 500],
        nan=[np.nan] * 3,
    )
    position, gaze = imported.data.behavior["position"], imported.data.behavior["gaze"]
    np.testing.assert_allclose(position.values, [1, 49, np.nan, np.nan, np.nan])
    np.testing.assert_allclose(position.timestamps, [0.05, 0.15, 0.25, 0.35, 0.45])
    assert position.unit == "cm"
    assert gaze.values.tolist() == [[1, 3], [2, 4]]
    assert gaze.timestamps.tolist() == [0, 0.5]
    assert gaze.period == 360
    assert set(imported.data.behavior) == {"position", "gaze"}
    assert imported.notes == (
        "behavior.position: 1 of 5 samples outside 0 … 1, made missing",
        "behavior.never: never measured, left out",
    )


def test_categories_by_value_by_code_and_by_text(tmp_path: Path) -> None:
    mapping = SPIKES + (
        "clock: {rate: 10}\n"
        "stimulus:\n"
        "  side: {key: s, kind: categorical, values: [-1, 1], labels: [left, right]}\n"
        "  state: {key: c, kind: categorical, labels: [rest, run]}\n"
        "  word: {key: w, kind: categorical}\n"
    )
    stimulus = convert(
        tmp_path, mapping, **TWO, s=[-1.0, 1.0, np.nan], c=[0, 1, 1], w=["go", "", "stop"]
    ).data.stimulus
    assert stimulus["side"].values.tolist() == [0, 1, -1]
    assert stimulus["side"].labels == ("left", "right")
    assert stimulus["state"].values.tolist() == [0, 1, 1]
    assert stimulus["word"].labels == ("go", "stop")
    assert stimulus["word"].values.tolist() == [0, -1, 1]
    with pytest.raises(UserError, match=r"stimulus\.side\.values: 2\.0 is none of \[-1, 1\]"):
        convert(tmp_path, mapping, **TWO, s=[-1.0, 2.0], c=[0, 1], w=["a", "b"])


def test_frames_and_values_per_trial(tmp_path: Path, rng: np.random.Generator) -> None:
    film = rng.integers(0, 255, (4, 6, 5), dtype=np.uint8)
    mapping = SPIKES + (
        "trials: {start: s, duration: 2, columns: {choice: c}}\n"
        "stimulus:\n"
        "  film: {key: film, kind: frames, clock: {rate: 2}}\n"
        "  contrast: {keys: [l, r], per: trial}\n"
    )
    data = convert(
        tmp_path, mapping, **TWO, film=film, s=[1.0, 4.0], c=["a", "b"], l=[0.5, 1.0], r=[0, 0.25]
    ).data
    np.testing.assert_array_equal(data.stimulus["film"].values, film)
    assert data.stimulus["contrast"].timestamps.tolist() == [1.0, 4.0]
    assert data.stimulus["contrast"].values.tolist() == [[0.5, 0.0], [1.0, 0.25]]
    assert data.trials["stop"].tolist() == [3.0, 6.0]
    assert data.trials["choice"].tolist() == ["a", "b"]


def test_the_larger_of_two_columns_names_the_trial(tmp_path: Path) -> None:
    trials = "trials: {start: s, duration: 1, compare: {side: {keys: [l, r], labels: [left, right]}}}\n"
    arrays = TWO | {"s": [1.0, 2.0, 3.0, 4.0], "l": [0.5, 0.0, 0.25, np.nan], "r": [0.25, 1.0, 0.25, 1.0]}
    assert convert(tmp_path, SPIKES + trials, **arrays).data.trials["side"].tolist() == [
        "left",
        "right",
        "",
        "",
    ]
    for wrong, message in (
        ("keys: [l], labels: [left]", r"compare\.side: found 1 keys and 1 labels, expected two"),
        ("keys: [l, r], labels: [left]", r"compare\.side: found 2 keys and 1 labels"),
        ("keys: [l, c], labels: [left, right]", r"compare\.side\.keys: 'c' has shape \(2,\)"),
        ("keys: [l, w], labels: [left, right]", r"compare\.side\.keys: 'w' has shape \(4,\) and type <U1"),
    ):
        mapping = SPIKES + "trials: {start: s, duration: 1, compare: {side: {" + wrong + "}}}\n"
        with pytest.raises(UserError, match=message):
            convert(tmp_path, mapping, **arrays, c=[1.0, 2.0], w=["a", "b", "c", "d"])


def test_trials_from_the_label_of_each_sample_become_intervals(tmp_path: Path) -> None:
    mapping = FRAMES + "trials: {label: k, between: [0]}\nintervals: trials\n"
    data = convert(
        tmp_path, mapping, f=[1, 8], u=[0, 1], a=[1, 1], fs=10.0, n=10, k=[1, 1, 1, 0, 0, 2, 2, 2, 3, 3]
    ).data
    assert data.trials["label"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(data.trials["start"], [0, 0.5, 0.8])
    np.testing.assert_allclose(data.intervals, [[0, 0.3], [0.5, 0.8], [0.8, 1.0]])


def test_misaligned_trials_lose_behaviour_and_keep_activity(tmp_path: Path) -> None:
    mapping = FRAMES + (
        "trials: {label: k}\nmisaligned: {rec: [2]}\n"
        "behavior: {x: {key: x}, s: {key: x, kind: categorical}}\n"
    )
    content = {"f": [1, 4], "u": [0, 1], "a": [1, 1], "fs": 10.0, "n": 6, "k": [1, 1, 1, 2, 2, 2]}
    imported = convert(tmp_path, mapping, x=np.arange(6.0), **content)
    np.testing.assert_array_equal(imported.data.behavior["x"].values, [0, 1, 2, np.nan, np.nan, np.nan])
    assert imported.data.behavior["s"].values.tolist() == [0, 1, 2, -1, -1, -1]
    assert len(imported.data.events) == 2
    assert imported.data.trials["label"].tolist() == [1, 2]
    assert "trial 2: stimulus and behaviour made missing" in imported.notes[0]
    with pytest.raises(UserError, match=r"misaligned\.rec: no trial 7, expected some of \[1, 2\]"):
        convert(tmp_path, mapping.replace("[2]", "[7]"), x=np.arange(6.0), **content)


def test_ids_come_from_the_name_of_the_file(tmp_path: Path) -> None:
    mapping = SPIKES + (
        "session:\n"
        "  file_name: (?P<mouse>M\\d+)_d(?P<day>\\d+)\n"
        '  session_id: "{mouse}-day{day}"\n'
        '  subject_id: "{mouse}"\n'
        "  species: Mus musculus\n"
        '  description: "{file} of {folder}"\n'
    )
    data = convert(tmp_path, mapping, "M12_d3_raw.npz", **TWO).data
    assert (data.session_id, data.subject_id, data.species) == ("M12-day3", "M12", "Mus musculus")
    assert data.description == f"M12_d3_raw of {tmp_path.name}"
    with pytest.raises(UserError, match=r"session\.file_name: the name 'other' does not match"):
        convert(tmp_path, mapping, "other.npz", **TWO)
    wrong = mapping.replace("-day{day}", "{dya}")
    with pytest.raises(
        UserError, match=r"session\.session_id: cannot fill .*among \{file\}, \{folder\}, \{mouse\}"
    ):
        convert(tmp_path, wrong, "M12_d3.npz", **TWO)


def test_span_crops_events_and_given_intervals_are_taken(tmp_path: Path) -> None:
    mapping = SPIKES + "span: {start: 0, stop: end}\nintervals: valid\n"
    valid = [[4.0, 20.0], [1.0, 2.0]]
    imported = convert(tmp_path, mapping, t=[0.5, 9.5, 12.0], u=[0, 1, 0], end=10.0, valid=valid)
    assert imported.data.events.times.tolist() == [0.5, 9.5]
    np.testing.assert_array_equal(imported.data.intervals, [[1, 2], [4, 10]])
    assert imported.notes == ("1 events outside the recorded 0 to 10 s, left out",)


def test_silent_units_are_counted_by_the_table_of_units(tmp_path: Path) -> None:
    assert convert(tmp_path, SPIKES + "units: {count: 5}", **TWO).data.n_units == 5
    assert convert(tmp_path, SPIKES + "units: {count: n}", **TWO, n=4).data.n_units == 4
    data = convert(tmp_path, SPIKES + "units: {columns: {cell_type: c}}", **TWO, c=["E", "I", "E"]).data
    assert data.n_units == 3
    assert data.units["cell_type"].tolist() == ["E", "I", "E"]


@pytest.mark.parametrize(
    ("mapping", "content", "message"),
    [
        ("clock: {rate: 1}", {}, "found none as the source of events, expected one of events, spike_times"),
        (SPIKES + "spike_times: {key: t}", TWO, "found events and spike_times as the source of events"),
        ("events: {unit: u}", TWO, "expected either events.time or events.frame"),
        (SPIKES, {"t": [1.0, np.nan], "u": [0, 0]}, "1 of 2 times are NaN or infinite (the first in row 1)"),
        (SPIKES, {"t": [1.0, 2.0], "u": [0, -1]}, "1 rows that are no unit (row 1 is -1), expected 0 to 0"),
        (SPIKES + "units: {count: 2}", {"t": [1.0], "u": [2]}, "(row 0 is 2), expected 0 to 1"),
        (SPIKES, {"t": [1.0, 2.0], "u": [0]}, "events.unit: has 1 rows for 2 events"),
        (SPIKES, {"t": [1.0], "u": [0.5]}, "row 0 is 0.5, expected whole numbers"),
        (SPIKES, {"t": ["a"], "u": [0]}, "holds text, expected numbers"),
        (SPIKES, {"t": np.empty(0), "u": np.empty(0)}, "the session is empty"),
        (SPIKES + "trials: {start: a, stop: b}", {**TWO, "a": [1, 5], "b": [2, 4]}, "(row 1: 5 to 4 s)"),
        (SPIKES + "trials: {start: a}", {**TWO, "a": [1]}, "either trials.stop or trials.duration"),
        (SPIKES + "intervals: iv", {**TWO, "iv": [[2.0, 1.0]]}, "intervals: 1 of negative or no duration"),
        (SPIKES + "intervals: trials", TWO, "are to be the trials, but there are none"),
        (SPIKES + "span: {start: 5, stop: 2}", TWO, "expected a positive duration"),
        (SPIKES + "behavior: {x: {key: t}}", TWO, "expected either clock.timestamps or clock.rate"),
        (
            SPIKES + "behavior: {x: {key: x, clock: {timestamps: t}}}",
            {**TWO, "x": [1.0]},
            "'t' has 2 times, but an array on this clock has 1 rows",
        ),
        (
            FRAMES,
            {"f": [10], "u": [0], "a": [1], "fs": 10, "n": 10},
            "1 of 1 events lie outside the 10 frames",
        ),
        (FRAMES, {"f": [1], "u": [0], "a": [1], "fs": 0, "n": 10}, "found 0.0 samples per second"),
        ("spike_times: {key: t}", TWO, "expected (units, spikes) or a list; give spike_times.ends"),
        ("spike_times: {key: t, ends: e}", {"t": [1.0, 2.0], "e": [3]}, "ends at 3 and 't' has 2 rows"),
    ],
)
def test_faults_name_the_key_what_was_found_and_what_is_expected(
    tmp_path: Path, mapping: str, content: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as error:
        convert(tmp_path, mapping, **content)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
