from collections.abc import Callable
from pathlib import Path

import pytest

from neuroformer.data import Recording, SplitConfig, open_sessions


def test_few_files_are_open_at_once_and_all_can_be_read(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_sessions, "MOST", 2)
    paths = [write(name) for name in "abcd"]
    recordings = [Recording(p, bin_s=0.1, split=SplitConfig(), context_bins=5) for p in paths]
    spans = [recording.part("train")[0] for recording in recordings]
    expected = [len(recording.tokens(span)) for recording, span in zip(recordings, spans, strict=True)]
    for _ in range(2):
        found = [len(recording.tokens(span)) for recording, span in zip(recordings, spans, strict=True)]
        assert found == expected
        still_open = [recording.session._handle is not None for recording in recordings]
        assert still_open == [False, False, True, True]
