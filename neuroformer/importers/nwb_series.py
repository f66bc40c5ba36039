"""Series of an NWB file: behaviour, and stimuli with their frames."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from neuroformer.errors import UserError
from neuroformer.importers.array_file import finite
from neuroformer.importers.clocks import Ticks, ordered_ticks
from neuroformer.importers.naming import tidy_name
from neuroformer.importers.nwb_options import NwbOptions
from neuroformer.session import TimeSeries

# Raw data that are neither behaviour nor stimulus; what derives from them counts as well.
RAW = ("ElectricalSeries", "PatchClampSeries", "DecompositionSeries", "ImageSeries", "AbstractFeatureSeries")
NO_UNIT = ("n.a.", "N/A", "NA", "unknown", "no unit", "n/a")
BLOCK = 256  # frames averaged down at a time


def sample_ticks(series: Any, n: int, notes: list[str]) -> Ticks:
    """When the `n` samples of an NWB series were taken."""
    what = f"{series.name}/timestamps"
    if series.timestamps is not None:
        times = finite(np.asarray(series.timestamps[()], dtype=np.float64), what)
        if len(times) != n:
            raise UserError(
                f"{what}: {len(times)} times for {n} samples, expected one a sample; correct the file"
            )
        return ordered_ticks(times, what, notes)
    if not series.rate or not series.rate > 0:
        raise UserError(
            f"{series.name}: has neither timestamps nor a rate, so that its times are unknown; "
            "correct the file, or leave it out with nwb.skip"
        )
    return ordered_ticks((series.starting_time or 0.0) + np.arange(n) / series.rate, what, notes)


class SeriesReader:
    """Reads the series of one file and keeps notes of what it leaves out."""

    def __init__(self, options: NwbOptions, notes: list[str]) -> None:
        self.options = options
        self.notes = notes

    def behavior(self, file: Any) -> dict[str, TimeSeries]:
        """Every series of numbers or text in acquisition and processing, except raw and traces."""
        found: dict[str, TimeSeries] = {}
        modules = [file.acquisition, *(module.data_interfaces for module in file.processing.values())]
        for containers in modules:
            for container in containers.values():
                for series in _series_in(container):
                    self._add(found, series, container.name, frames=False)
        return found

    def stimulus(self, file: Any) -> dict[str, TimeSeries]:
        """Every series among the stimuli: values, text, and frames."""
        found: dict[str, TimeSeries] = {}
        for container in file.stimulus.values():
            for series in _series_in(container):
                self._add(found, series, container.name, frames=True)
        return found

    def _add(self, found: dict[str, TimeSeries], series: Any, container: str, *, frames: bool) -> None:
        kinds = {cls.__name__ for cls in type(series).__mro__}
        name = tidy_name(series.name)
        if "RoiResponseSeries" in kinds or series.name in self.options.skip:
            return
        if name in found:
            name = f"{tidy_name(container)}_{name}"
        if frames and kinds & {"IndexSeries", "ImageSeries"}:
            read = self._indexed(series) if "IndexSeries" in kinds else self._frames(series)
        elif kinds & set(RAW) or "IndexSeries" in kinds:
            self.notes.append(f"{series.name}: a raw recording ({type(series).__name__}), left out")
            return
        elif "IntervalSeries" in kinds:
            read = self._states(series)
        else:
            read = self._values(series)
        if read is not None:
            found[name] = read

    def _values(self, series: Any) -> TimeSeries | None:
        values = np.asarray(series.data[()])
        if values.dtype.kind in "OSU":
            return self._text(series, values)
        if values.dtype.kind not in "biuf" or values.ndim not in (1, 2) or not values.size:
            self.notes.append(f"{series.name}: {values.dtype} of shape {values.shape}, left out")
            return None
        ticks = sample_ticks(series, len(values), self.notes)
        numbers = ticks.pick(values).astype(np.float64) * (series.conversion or 1.0) + (series.offset or 0.0)
        numbers[~np.isfinite(numbers)] = np.nan
        if numbers.ndim == 2 and numbers.shape[1] == 1:
            numbers = numbers[:, 0]
        if np.isnan(numbers).all():
            self.notes.append(f"{series.name}: never measured, left out")
            return None
        unit = "" if series.unit in NO_UNIT else series.unit
        return TimeSeries(
            timestamps=ticks.times, values=numbers.astype(np.float32), kind="continuous", unit=unit
        )

    def _text(self, series: Any, values: np.ndarray) -> TimeSeries | None:
        words = np.array(
            [word.decode() if isinstance(word, bytes) else str(word) for word in values.reshape(-1)]
        )
        if not words.size:
            return None
        ticks = sample_ticks(series, len(words), self.notes)
        labels, codes = np.unique(ticks.pick(words), return_inverse=True)
        return TimeSeries(
            timestamps=ticks.times,
            values=codes.astype(np.int32),
            kind="categorical",
            labels=tuple(labels.tolist()),
        )

    def _states(self, series: Any) -> TimeSeries | None:
        """An IntervalSeries: +k where the k-th kind of interval begins, -k where it ends."""
        data = np.asarray(series.data[()], dtype=np.int64)
        if not data.size:
            return None
        ticks = sample_ticks(series, len(data), self.notes)
        codes = np.maximum(ticks.pick(data), 0)
        kinds = range(1, int(codes.max()) + 1)
        labels = ("none", series.name) if len(kinds) <= 1 else ("none", *map(str, kinds))
        return TimeSeries(
            timestamps=ticks.times, values=codes.astype(np.int16), kind="categorical", labels=labels
        )

    def _frames(self, series: Any) -> TimeSeries | None:
        if series.external_file is not None or series.data is None or series.data.ndim not in (3, 4):
            self.notes.append(f"{series.name}: its frames are not in the file, left out")
            return None
        size = self.options.frame_size
        data = series.data
        parts = [shrink(np.asarray(data[i : i + BLOCK]), size) for i in range(0, len(data), BLOCK)]
        frames = np.concatenate(parts) if parts else np.empty((0, 0, 0))
        return self._shown(series, frames, np.arange(len(frames)), data.shape[1:3])

    def _indexed(self, series: Any) -> TimeSeries | None:
        """Pictures shown one by one, by their number among templates."""
        if series.indexed_images is not None:
            container = series.indexed_images
            order = container.order_of_images
            images = list(order.data) if order is not None else list(container.images.values())
            pictures = [np.asarray(image.data[()]) for image in images]
        elif series.indexed_timeseries is not None and series.indexed_timeseries.data is not None:
            pictures = list(np.asarray(series.indexed_timeseries.data[()]))
        else:
            pictures = []
        shown = np.asarray(series.data[()], dtype=np.int64)
        if len({picture.shape for picture in pictures}) != 1 or not shown.size:
            self.notes.append(f"{series.name}: its pictures are missing or differ in size, left out")
            return None
        if shown.max() >= len(pictures) or shown.min() < 0:
            raise UserError(
                f"{series.name}: shows picture {shown.max()}, expected 0 to {len(pictures) - 1}; "
                "correct the file, or leave it out with nwb.skip"
            )
        stack = np.stack(pictures)
        return self._shown(series, shrink(stack, self.options.frame_size), shown, stack.shape[1:3])

    def _shown(
        self, series: Any, pictures: np.ndarray, shown: np.ndarray, size: tuple[int, ...]
    ) -> TimeSeries | None:
        if not len(shown):
            return None
        ticks = sample_ticks(series, len(shown), self.notes)
        if pictures.shape[1:3] != tuple(size):
            before, after = "×".join(map(str, size)), "×".join(map(str, pictures.shape[1:3]))
            self.notes.append(
                f"{series.name}: frames of {before} pixels averaged down to {after} (nwb.frame_size)"
            )
        return TimeSeries(timestamps=ticks.times, values=pictures[ticks.pick(shown)], kind="frames")


def _series_in(container: Any) -> Iterator[Any]:
    """A series itself, or the series in a container such as Position or EyeTracking."""
    if hasattr(container, "timestamps") and hasattr(container, "data"):
        yield container
    elif not hasattr(container, "colnames"):
        for child in container.children:
            yield from _series_in(child)


def shrink(frames: np.ndarray, longest: int) -> np.ndarray:
    """Average frames (T, H, W[, C]) in square blocks until no side exceeds `longest` pixels (0: never).

    What does not fill a block at the right and lower edge is cut. Whole numbers stay whole.
    """
    block = -(-max(frames.shape[1:3]) // longest) if longest else 1
    if block <= 1:
        return frames
    n, height, width = frames.shape[:3]
    rows, columns = max(height // block, 1), max(width // block, 1)
    tall, wide = min(block, height), min(block, width)
    cut = frames[:, : rows * tall, : columns * wide].reshape(n, rows, tall, columns, wide, *frames.shape[3:])
    mean = cut.mean(axis=(2, 4))
    return np.rint(mean).astype(frames.dtype) if frames.dtype.kind in "iu" else mean.astype(frames.dtype)
