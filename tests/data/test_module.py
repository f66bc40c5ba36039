from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch

from neuroformer.batch import Batch
from neuroformer.data import PARTS, DataConfig, RecordingsModule, Span, SplitConfig, Vocabulary, find_sessions
from neuroformer.errors import UserError

Write = Callable[..., Path]
CONTEXT = 12


def make_module(
    sessions: list[Path] | list[str], *, vocabulary: Vocabulary | None = None, **settings: object
) -> RecordingsModule:
    grow = bool(settings.pop("grow", True))
    config = DataConfig(
        sessions=[str(s) for s in sessions],
        **{"bin_s": 0.1, "chunk_s": 4.0, "warmup_s": 0.8, "batch_size": 4} | settings,  # type: ignore[arg-type]
    )
    return RecordingsModule(
        config=config, context_bins=CONTEXT, batches_per_epoch=6, vocabulary=vocabulary, grow=grow
    )


def same(a: Batch, b: Batch) -> bool:
    tensors = [f.name for f in fields(Batch) if f.name not in ("variables", "frames")]
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in tensors)


@pytest.fixture
def sessions(write: Write) -> list[Path]:
    return [
        write("a", seconds=60.0, amplitudes=True),
        write("b", n_units=5, intervals=np.array([[0.0, 20.05], [25.0, 60.0]])),
    ]


def test_each_part_in_order_scores_every_bin_once_after_the_whole_context(sessions: list[Path]) -> None:
    data = make_module(sessions, split=SplitConfig(blocks=2))
    for part in PARTS:
        seen = []
        for keys, batch in data.in_order(part):
            assert batch.first_scored == CONTEXT
            for row, key in enumerate(keys):
                recording = data.recordings[key.recording]
                counts = recording.counts(key.span)
                n = counts.shape[1]
                found = batch.counts(scored_only=True)[row, : len(counts), :n]
                np.testing.assert_array_equal(found.numpy(), counts)
                assert int(batch.scored[row].sum()) == len(key.span)
                seen += [(key.recording, key.span.epoch, b) for b in range(key.span.start, key.span.stop)]
        assert seen == [
            (i, span.epoch, b)
            for i, recording in enumerate(data.recordings)
            for span in recording.part(part)
            for b in range(span.start, span.stop)
        ]


def test_validation_sees_the_whole_context_and_training_the_warm_up(sessions: list[Path]) -> None:
    data = make_module(sessions)
    assert all(batch.first_scored == CONTEXT for batch in data.val_dataloader())
    training = list(data.train_dataloader())
    assert len(training) == 6
    assert all(batch.first_scored == 8 for batch in training)
    assert all(len(batch.session) == 4 for batch in training)
    assert {int(s) for batch in training for s in batch.session} == {0, 1}
    assert all(batch.n_bins <= 8 + 40 for batch in training)


def test_batches_of_given_spans(sessions: list[Path]) -> None:
    data = make_module(sessions)
    spans = [Span(epoch=0, start=30, stop=33), Span(epoch=1, start=0, stop=10)]
    for span, batch in zip(spans, data.batches_of(data.recordings[1], spans), strict=True):
        counts = batch.counts(scored_only=True)[0].numpy()
        np.testing.assert_array_equal(counts, data.recordings[1].counts(span))
        assert batch.session.tolist() == [1]


def test_a_worker_under_spawn_reads_the_same_batches(sessions: list[Path]) -> None:
    here, there = make_module(sessions), make_module(sessions, workers=1)
    loader = there.train_dataloader()
    assert loader.multiprocessing_context.get_start_method() == "spawn"
    for a, b in zip(here.train_dataloader(), loader, strict=True):
        assert same(a, b)


class Onlooker(L.LightningModule):
    """Learns nothing and remembers its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.batches: list[Batch] = []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.batches.append(batch)
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore")  # Lightning's, of its own dependencies and of a loader without workers
def test_lightning_takes_every_epoch_the_next_stretch_of_batches(
    sessions: list[Path], tmp_path: Path
) -> None:
    data, onlooker = make_module(sessions), Onlooker()
    L.Trainer(
        max_epochs=3,
        limit_val_batches=0,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
    ).fit(onlooker, datamodule=data)
    loader = make_module(sessions).train_dataloader()
    expected: list[Batch] = []
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        expected += list(loader)
    assert len(onlooker.batches) == 18
    assert all(same(a, b) for a, b in zip(onlooker.batches, expected, strict=True))
    assert not same(expected[0], expected[6])


def test_new_sessions_extend_a_vocabulary_and_leave_its_rows(sessions: list[Path]) -> None:
    vocabulary = make_module(sessions[:1]).vocabulary
    before = vocabulary["a"]
    data = make_module(sessions, vocabulary=vocabulary)
    assert [e.session_id for e in data.vocabulary] == ["a", "b"]
    assert data.vocabulary["a"] is before
    assert data.vocabulary.offset("b") == 3


def test_session_that_the_model_does_not_know_is_refused(sessions: list[Path]) -> None:
    vocabulary = make_module(sessions[:1]).vocabulary
    with pytest.raises(UserError, match="'b' is not in the model's vocabulary"):
        make_module(sessions, vocabulary=vocabulary, grow=False)


def test_other_bins_than_the_models_are_refused(sessions: list[Path]) -> None:
    vocabulary = make_module(sessions[:1]).vocabulary
    with pytest.raises(UserError, match=r"data\.bin_s=0\.2: the model was trained on bins of 0\.1 s"):
        make_module(sessions, vocabulary=vocabulary, bin_s=0.2)


def test_other_units_under_a_known_name_are_refused(sessions: list[Path], write: Write) -> None:
    vocabulary = make_module(sessions[:1]).vocabulary
    changed = write("other", session_id="a", n_units=7)
    with pytest.raises(UserError, match=r"other\.h5: 7 units, but the model knows session 'a' with 3"):
        make_module([changed], vocabulary=vocabulary)


def test_two_files_of_one_session_are_refused(write: Write) -> None:
    files = [write("a"), write("b", session_id="a")]
    with pytest.raises(UserError, match=r"b\.h5: session_id 'a' is also that of .*a\.h5"):
        make_module(files)


def test_wildcards_find_sessions_once_and_in_order(sessions: list[Path], write: Write) -> None:
    folder = sessions[0].parent
    odd = write("c[1]")
    found = find_sessions([str(sessions[1]), f"{folder}/?.h5", str(odd), f"{folder}/./a.h5"])
    assert found == [sessions[1], sessions[0], odd]


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        ([], r"data\.sessions is empty.*name session files"),
        (["nowhere/*.h5"], r"no file matches 'nowhere/\*\.h5'"),
    ],
)
def test_nothing_to_read_is_refused(patterns: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_sessions(patterns)


def test_a_missing_file_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"nowhere\.h5"):
        make_module(["nowhere.h5"])
