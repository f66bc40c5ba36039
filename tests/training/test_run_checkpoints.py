"""Writing checkpoints: whole or not at all, also when the disk is full."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from neuroformer.errors import UserError
from neuroformer.training.checkpoint import read_checkpoint
from neuroformer.training.run_checkpoints import AtomicCheckpointIO

Train = Callable[..., dict[str, Any]]


def test_a_full_disk_ends_the_run_and_leaves_the_checkpoint_before(
    circuit: Callable[..., Path], train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, writes = torch.save, [0]

    def fill(content: Any, file: Any) -> None:
        writes[0] += 1
        if writes[0] > 2:  # best.ckpt and last.ckpt of the first validation are written
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(content, file)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fill)
        with pytest.raises(
            UserError, match=r"\.ckpt: not written, no space left on the disk \(.* MB free in"
        ):
            train(tmp_path, circuit())
    assert {file.name for file in (tmp_path / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert read_checkpoint(tmp_path / "checkpoints/last.ckpt")["global_step"] == 2
    assert train(tmp_path, circuit(), "resume=auto")["steps"] == 8


def test_a_checkpoint_is_replaced_whole(tmp_path: Path) -> None:
    io, path = AtomicCheckpointIO(), tmp_path / "a" / "last.ckpt"
    io.save_checkpoint({"neuroformer": {}, "x": torch.zeros(3)}, path)
    with pytest.raises(TypeError):
        io.save_checkpoint({"neuroformer": {}, "x": (lock for lock in "")}, path)  # cannot be pickled
    assert torch.equal(io.load_checkpoint(path)["x"], torch.zeros(3))
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]
    io.remove_checkpoint(path)
    assert not path.exists()


def test_code_in_a_checkpoint_is_refused_whatever_is_asked_for(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "executed"),)

    torch.save({"neuroformer": {}, "x": Trap()}, tmp_path / "trap.ckpt")
    with pytest.raises(UserError, match="holds code"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "trap.ckpt", weights_only=False)
    assert not (tmp_path / "executed").exists()
