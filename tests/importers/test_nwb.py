import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.signal

from neuroformer.errors import UserError
from neuroformer.importers import Deconvolution, Naming, NwbOptions, import_nwb
from neuroformer.importers.imported import Imported
from neuroformer.importers.nwb_series import shrink
from neuroformer.session import validate_file, write_session

pynwb = pytest.importorskip("pynwb")
pytestmark = pytest.mark.filterwarnings("ignore")  # pynwb warns of its own future

Fill = Callable[[Any], object]


def write(path: Path, *fills: Fill, session_id: str | None = "day1", subject: str | None = "m7") -> Path:
    file = pynwb.NWBFile(
        session_description="a test", identifier="x", session_start_time=datetime(2020, 1, 1, tzinfo=UTC)
    )
    file.session_id = session_id
    if subject is not None:
        file.subject = pynwb.file.Subject(subject_id=subject, species="Mus musculus")
    for fill in fills:
        fill(file)
    with pynwb.NWBHDF5IO(str(path), "w") as io:
        io.write(file)
    return path


def read(tmp_path: Path, *fills: Fill, options: NwbOptions | None = None, **kwargs: Any) -> Imported:
    """Write an NWB file, import it, and check that it makes a valid session."""
    imported = import_nwb(write(tmp_path / "rec.nwb", *fills, **kwargs), options)
    session = write_session(tmp_path / "session.h5", imported.data, overwrite=True)
    assert validate_file(session) == []
    return imported


def units(file: Any) -> None:
    file.add_unit_column("quality", "of the sorting")
    file.add_unit_column("cell_type", "by waveform")
    device = file.create_device("probe")
    group = file.create_electrode_group("shank", description="", location="", device=device)
    for depth, area in ((0.0, "VISp"), (20.0, "VISl")):
        file.add_electrode(x=1.0, y=depth, z=0.0, location=area, group=group)
    file.add_unit(spike_times=[3.0, 0.5], quality=0.9, cell_type="E", electrodes=[1], electrode_group=group)
    file.add_unit(spike_times=[], quality=0.1, cell_type="I", electrodes=[0, 1], electrode_group=group)
    file.add_unit(spike_times=[0.25], quality=0.5, cell_type="E", electrodes=[0], electrode_group=group)


def test_units_with_their_columns_and_places(tmp_path: Path) -> None:
    data = read(tmp_path, units).data
    np.testing.assert_allclose(data.events.times, [0.25, 0.5, 3.0])
    assert data.events.units.tolist() == [2, 0, 0]
    assert data.n_units == 3
    assert data.units["id"].tolist() == [0, 1, 2]
    assert data.units["region"].tolist() == ["VISl", "VISp", "VISp"]
    assert data.units["position"].tolist() == [[1, 20, 0], [1, 0, 0], [1, 0, 0]]
    assert data.units["quality"].tolist() == [0.9, 0.1, 0.5]
    assert data.units["cell_type"].tolist() == ["E", "I", "E"]
    assert data.units["electrode_group"].tolist() == ["shank"] * 3
    assert (data.session_id, data.subject_id, data.species) == ("day1", "m7", "Mus musculus")
    assert data.description == "a test"


def test_names_fall_back_to_the_file_and_templates_win(tmp_path: Path) -> None:
    data = read(tmp_path, units, session_id=None, subject=None).data
    assert (data.session_id, data.subject_id) == ("rec", "rec")
    options = NwbOptions(session=Naming(session_id="{file}-a", subject_id="z"))
    data = read(tmp_path, units, options=options).data
    assert (data.session_id, data.subject_id) == ("rec-a", "z")


def test_observation_and_invalid_times_make_the_valid_intervals(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        file.add_unit(spike_times=[1.0, 9.0], obs_intervals=[[0.0, 4.0], [5.0, 12.0]])
        file.add_unit(spike_times=[2.0], obs_intervals=[[0.5, 10.0]])
        file.add_invalid_time_interval(6.0, 7.0)

    data = read(tmp_path, fill).data
    np.testing.assert_allclose(data.intervals, [[0.5, 4.0], [5.0, 6.0], [7.0, 10.0]])
    assert (data.start, data.stop) == (0.5, 10.0)


def test_trials_keep_plain_columns_in_order_of_time(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        for name in ("side", "contrast", "rewarded"):
            file.add_trial_column(name, name)
        file.add_trial_column("licks", "ragged", index=True)
        file.add_trial(4.0, 5.0, side="left", contrast=0.5, rewarded=True, licks=[4.1, 4.2])
        file.add_trial(1.0, 2.0, side="right", contrast=1.0, rewarded=False, licks=[])
        file.add_trial(7.0, np.nan, side="left", contrast=0.0, rewarded=False, licks=[])

    imported = read(tmp_path, units, fill)
    trials = imported.data.trials
    assert trials["start"].tolist() == [1.0, 4.0]
    assert trials["stop"].tolist() == [2.0, 5.0]
    assert trials["side"].tolist() == ["right", "left"]
    assert trials["contrast"].tolist() == [1.0, 0.5]
    assert trials["rewarded"].tolist() == [False, True]
    assert "licks" not in trials
    assert imported.data.stop == 5.0
    assert "trials: 1 rows without start or stop, left out" in imported.notes


def test_behaviour_comes_in_physical_units_on_its_own_clock(tmp_path: Path) -> None:
    xy = np.arange(10.0).reshape(5, 2)

    def fill(file: Any) -> None:
        module = file.create_processing_module("behavior", "b")
        position = pynwb.behavior.Position(name="Position")
        position.create_spatial_series(
            "xy", xy, reference_frame="corner", rate=10.0, starting_time=2.0, conversion=0.01, offset=1.0
        )
        pupil = pynwb.behavior.PupilTracking(name="PupilTracking")
        pupil.create_timeseries("diameter", [2.0, np.nan, 4.0], unit="mm", timestamps=[0.0, 1.5, 1.0])
        states = pynwb.behavior.BehavioralEpochs(name="Epochs")
        states.create_interval_series("running", data=[1, -1, 1], timestamps=[1.0, 2.0, 3.0])
        for container in (position, pupil, states):
            module.add(container)
        file.add_acquisition(
            pynwb.TimeSeries(
                name="wheel", data=np.arange(4)[:, None], unit="n.a.", timestamps=[0.0, 1.0, 1.0, 2.0]
            )
        )
        file.add_acquisition(
            pynwb.misc.AnnotationSeries(name="notes", data=["on", "off", "on"], timestamps=[0.0, 1.0, 2.0])
        )
        file.add_acquisition(pynwb.TimeSeries(name="camera", data=np.zeros((3, 4, 4)), unit="px", rate=1.0))

    imported = read(tmp_path, units, fill)
    behavior = imported.data.behavior
    assert set(behavior) == {"xy", "diameter", "running", "wheel", "notes"}
    np.testing.assert_allclose(behavior["xy"].timestamps, 2 + np.arange(5) / 10)
    np.testing.assert_allclose(behavior["xy"].values, xy * 0.01 + 1)
    assert behavior["xy"].unit == "meters"
    np.testing.assert_array_equal(behavior["diameter"].values, [2, 4, np.nan])
    assert behavior["diameter"].timestamps.tolist() == [0, 1, 1.5]
    assert behavior["diameter"].unit == "mm"
    assert behavior["running"].labels == ("none", "running")
    assert behavior["running"].values.tolist() == [1, 0, 1]
    assert behavior["wheel"].values.tolist() == [0, 1, 3]
    assert behavior["wheel"].unit == ""
    assert behavior["notes"].labels == ("off", "on")
    assert behavior["notes"].values.tolist() == [1, 0, 1]
    notes = "\n".join(imported.notes)
    assert "diameter/timestamps: not in order" in notes
    assert "wheel/timestamps: 1 samples at the time of another" in notes
    assert "shape (3, 4, 4), left out" in notes


def test_stimulus_values_frames_and_indexed_pictures(tmp_path: Path, rng: np.random.Generator) -> None:
    film = rng.integers(0, 255, (6, 8, 10), dtype=np.uint8)
    pictures = rng.random((3, 4, 6))

    def fill(file: Any) -> None:
        file.add_stimulus(pynwb.TimeSeries(name="speed", data=[0.0, 2.0], unit="deg", timestamps=[0.0, 1.0]))
        file.add_stimulus(pynwb.image.ImageSeries(name="film", data=film, unit="n.a.", rate=2.0))
        images = [pynwb.image.GrayscaleImage(name=f"p{i}", data=pictures[i]) for i in range(3)]
        order = pynwb.base.ImageReferences(name="order_of_images", data=[images[i] for i in (2, 0, 1)])
        templates = pynwb.base.Images(name="templates", images=images, order_of_images=order)
        file.add_stimulus_template(templates)
        file.add_stimulus(
            pynwb.image.IndexSeries(
                name="shown",
                data=np.array([0, 2, 2], dtype=np.uint32),
                timestamps=[0.5, 1.5, 2.5],
                indexed_images=templates,
                unit="N/A",
            )
        )

    imported = read(tmp_path, units, fill)
    stimulus = imported.data.stimulus
    assert stimulus["speed"].unit == "deg"
    assert stimulus["film"].kind == "frames"
    np.testing.assert_array_equal(stimulus["film"].values, film)
    np.testing.assert_allclose(stimulus["film"].timestamps, np.arange(6) / 2)
    np.testing.assert_allclose(stimulus["shown"].values, pictures[[2, 1, 1]])
    assert imported.notes == ()

    imported = read(tmp_path, units, fill, options=NwbOptions(frame_size=5, skip=["shown"]))
    stimulus = imported.data.stimulus
    assert set(stimulus) == {"speed", "film"}
    blocks = film.reshape(6, 4, 2, 5, 2).astype(float).mean(axis=(2, 4))
    np.testing.assert_array_equal(stimulus["film"].values, np.rint(blocks).astype(np.uint8))
    assert imported.notes == ("film: frames of 8×10 pixels averaged down to 4×5 (nwb.frame_size)",)


def test_frames_are_averaged_in_whole_blocks() -> None:
    frames = np.arange(2 * 5 * 7 * 3, dtype=np.float32).reshape(2, 5, 7, 3)
    small = shrink(frames, 4)
    assert small.shape == (2, 2, 3, 3)
    np.testing.assert_allclose(small[1, 0, 2], frames[1, :2, 4:6].mean(axis=(0, 1)))
    assert shrink(frames, 7) is frames
    assert shrink(frames, 0) is frames
    assert shrink(np.ones((1, 2, 40)), 10).shape == (1, 1, 10)


def test_other_intervals_become_states_or_are_chosen_as_trials(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        file.add_epoch(0.0, 2.0, ["sleep"])
        file.add_epoch(3.0, 10.0, ["run", "light"])
        table = file.create_time_intervals(name="grating_presentations", description="g")
        table.add_column("orientation", "deg")
        table.add_row(start_time=1.0, stop_time=2.0, orientation=90.0)
        table.add_row(start_time=2.0, stop_time=3.0, orientation=45.0)

    data = read(tmp_path, units, fill).data
    epochs = data.behavior["epochs"]
    assert epochs.labels == ("none", "sleep", "run+light")
    assert epochs.timestamps.tolist() == [0, 2, 3]
    assert epochs.values.tolist() == [1, 0, 2]
    assert data.stimulus["grating_presentations"].labels == ("none", "grating_presentations")
    assert not data.trials
    assert (data.start, data.stop) == (0, 10)
    data = read(tmp_path, units, fill, options=NwbOptions(trials="grating_presentations")).data
    assert data.trials["orientation"].tolist() == [90, 45]
    with pytest.raises(UserError, match=r"no table of intervals 'gratings', expected one of epochs"):
        read(tmp_path, units, fill, options=NwbOptions(trials="gratings"))


def calcium(jumps: np.ndarray, decay: float, step: float) -> Fill:
    """Fluorescence and dF/F of an imaging plane; dF/F is stored in percent."""
    traces = scipy.signal.lfilter([1], [1, -np.exp(-step / decay)], jumps, axis=0)
    traces += np.random.default_rng(1).normal(0, 0.05, traces.shape)

    def fill(file: Any) -> None:
        device = file.create_device("scope")
        channel = pynwb.ophys.OpticalChannel(name="green", description="", emission_lambda=510.0)
        plane = file.create_imaging_plane(
            name="plane",
            optical_channel=channel,
            description="",
            device=device,
            excitation_lambda=920.0,
            indicator="GCaMP6f",
            location="V1",
        )
        segmentation = pynwb.ophys.ImageSegmentation()
        rois = segmentation.create_plane_segmentation("", plane, name="rois")
        rois.add_column("iscell", "probability")
        for unit in range(traces.shape[1]):
            rois.add_roi(pixel_mask=[(unit, unit, 1.0)], iscell=0.1 * unit)
        module = file.create_processing_module("ophys", "o")
        module.add(segmentation)
        region = rois.create_roi_table_region("all", region=list(range(traces.shape[1])))
        for container, name in (
            (pynwb.ophys.Fluorescence(name="Fluorescence"), "raw"),
            (pynwb.ophys.DfOverF(name="DfOverF"), "dff"),
        ):
            module.add(container)
            container.create_roi_response_series(
                name,
                100 * traces,
                rois=region,
                unit="dF/F",
                rate=1 / step,
                starting_time=5.0,
                conversion=0.01,
            )

    return fill


def test_calcium_traces_become_events_and_are_kept(tmp_path: Path, rng: np.random.Generator) -> None:
    jumps = 1.0 * (rng.random((2000, 4)) < 0.01)
    imported = read(
        tmp_path, calcium(jumps, 0.7, 0.05), options=NwbOptions(deconvolution=Deconvolution(decay=0.7))
    )
    data = imported.data
    assert data.traces is not None
    assert data.traces.values.shape == (2000, 4)
    np.testing.assert_allclose(data.traces.timestamps, 5 + 0.05 * np.arange(2000))
    assert data.traces.values.std() < 1  # conversion was applied
    assert data.traces.unit == "dF/F"
    assert data.units["iscell"].tolist() == pytest.approx([0, 0.1, 0.2, 0.3])
    frames = np.round((data.events.times - 5.025) / 0.05).astype(int)
    found = set(zip(frames.tolist(), data.events.units.tolist(), strict=True))
    true = {(int(frame), int(unit)) for frame, unit in np.argwhere(jumps > 0)}
    assert len(found & true) > 0.95 * max(len(found), len(true))
    assert data.events.amplitudes == pytest.approx(np.ones(len(found)), abs=0.3)
    np.testing.assert_allclose((data.start, data.stop), (5.0, 105.0))
    assert imported.notes == ("traces: read dff, not raw; nwb.traces=NAME chooses another",)


def test_sorted_units_come_before_traces_unless_told(tmp_path: Path, rng: np.random.Generator) -> None:
    imaging = calcium(1.0 * (rng.random((500, 2)) < 0.02), 0.7, 0.05)
    imported = read(tmp_path, units, imaging)
    assert imported.data.n_units == 3
    assert imported.data.traces is None
    assert "nwb.events=traces reads them instead" in imported.notes[0]
    options = NwbOptions(events="traces", traces="raw", deconvolution=Deconvolution(decay=0.7))
    assert read(tmp_path, units, imaging, options=options).data.n_units == 2
    with pytest.raises(UserError, match=r"nwb\.traces: no RoiResponseSeries 'f', expected one of raw, dff"):
        read(tmp_path, imaging, options=NwbOptions(traces="f"))
    with pytest.raises(UserError, match=r"no units with spike times; try nwb\.events=traces"):
        read(tmp_path, imaging, options=NwbOptions(events="units"))


def nan_spikes(file: Any) -> None:
    file.add_unit(spike_times=[1.0, np.nan])


def backward(file: Any) -> None:
    file.add_unit(spike_times=[1.0])
    file.add_trial(3.0, 2.0)


def silent(file: Any) -> None:
    file.add_unit(spike_times=[])


def nan_behaviour_times(file: Any) -> None:
    units(file)
    file.add_acquisition(pynwb.TimeSeries(name="wheel", data=[1, 2], unit="cm", timestamps=[0.0, np.nan]))


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (nan_spikes, "units/spike_times: 1 of 2 times are NaN or infinite"),
        (backward, "trials: 1 rows of negative duration (row 0: 3 to 2 s)"),
        (silent, "the session is empty: no spike in any unit"),
        (nan_behaviour_times, "wheel/timestamps: 1 of 2 times are NaN or infinite"),
        (lambda file: None, "neither units with spike times nor calcium traces"),
    ],
)
def test_faults_of_the_content_are_named(tmp_path: Path, fill: Fill, message: str) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path, fill)
    assert message in str(error.value)


def test_broken_files_and_a_missing_package_name_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.nwb", units)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="no readable NWB file"):
        import_nwb(path)
    with h5py.File(tmp_path / "b.nwb", "w") as file:
        file["x"] = 1
    with pytest.raises(UserError, match="no readable NWB file"):
        import_nwb(tmp_path / "b.nwb")
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(UserError, match=r"pip install 'neuroformer\[nwb\]'"):
        import_nwb(path)
