"""Checkpoints: read without running code, rebuilt to the last bit, refused in one line."""

import copy
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from neuroformer import __version__
from neuroformer.cli.config import build_config
from neuroformer.data import RecordingsModule
from neuroformer.errors import UserError
from neuroformer.evaluation.trained_run import load_run
from neuroformer.settings.finetune import FinetuneConfig
from neuroformer.training.checkpoint import load_checkpoint, read_checkpoint
from neuroformer.training.finetune import finetune
from neuroformer.training.module import PretrainModule


@pytest.fixture
def content(trained: Path) -> dict[str, Any]:
    return copy.deepcopy(read_checkpoint(trained / "checkpoints/best.ckpt"))


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as error:
        load_checkpoint(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["best", "last"])
def test_a_checkpoint_holds_no_code(trained: Path, name: str) -> None:
    content = torch.load(trained / "checkpoints" / f"{name}.ckpt", weights_only=True)
    about = content["neuroformer"]
    assert about["version"] == __version__
    assert about["settings"]["data"]["bin_s"] == 0.005
    assert [entry["session_id"] for entry in about["vocabulary"]["sessions"]] == ["a"]


def test_a_model_comes_back_as_it_was(
    circuit: Callable[..., Path],
    train: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[PretrainModule] = []
    monkeypatch.setattr(PretrainModule, "on_train_end", lambda module: kept.append(module))
    train(tmp_path, circuit())
    before, run = kept[0].model.eval(), load_run(tmp_path, checkpoint="last")
    assert not run.trained.model.training
    assert run.trained.step == 8
    data: RecordingsModule = run.data
    with torch.no_grad():
        for _, batch in data.in_order("test"):
            assert torch.equal(run.trained.model(batch)[0], before(batch)[0])


def test_a_pickle_that_runs_code_is_refused_and_not_run(trained: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "executed"),)

    path = tmp_path / "trap.ckpt"
    content = read_checkpoint(trained / "checkpoints/best.ckpt")
    torch.save({**content, "hyper_parameters": Trap()}, path)
    assert "code" in refusal(path)
    assert not (tmp_path / "executed").exists()


def test_a_run_whose_checkpoint_holds_code_is_refused_by_what_reads_runs(
    trained: Path, tmp_path: Path, circuit: Callable[..., Path]
) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "executed"),)

    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    content = read_checkpoint(trained / "checkpoints/best.ckpt")
    torch.save({**content, "state_dict": Trap()}, tmp_path / "run/checkpoints/best.ckpt")
    with pytest.raises(UserError, match="holds code"):
        load_run(tmp_path / "run")
    words = [f"run={tmp_path}/run", f"sessions=[{circuit('b', seed=1)}]", f"out={tmp_path}/new"]
    with pytest.raises(UserError, match="holds code"):
        finetune(build_config(FinetuneConfig, words=words))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("kept", [0, 10, 1_000, 0.5, 0.99])
def test_a_truncated_file_is_refused(trained: Path, tmp_path: Path, kept: float) -> None:
    whole = (trained / "checkpoints/best.ckpt").read_bytes()
    path = tmp_path / "short.ckpt"
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    assert "broken" in refusal(path)


def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "absent.ckpt")
    assert "is a folder" in refusal(tmp_path)
    text = tmp_path / "notes.ckpt"
    text.write_text("not a checkpoint\n")
    assert "pretrain.py" in refusal(text)
    archive = tmp_path / "archive.ckpt"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "a")
    assert "pretrain.py" in refusal(archive)
    for foreign in ({"state_dict": {"w": torch.zeros(2)}}, torch.zeros(3), [1, 2], {"neuroformer": 3}):
        path = tmp_path / "foreign.ckpt"
        torch.save(foreign, path)
        assert "neuroformer" in refusal(path)


def drop_vocabulary(content: dict[str, Any]) -> None:
    del content["neuroformer"]["vocabulary"]


def drop_setting(content: dict[str, Any]) -> None:
    del content["neuroformer"]["settings"]["model"]["trunk"]


def drop_data_setting(content: dict[str, Any]) -> None:
    del content["neuroformer"]["settings"]["data"]["split"]


def rename_data_setting(content: dict[str, Any]) -> None:
    content["neuroformer"]["settings"]["data"]["bin_width"] = 0.005


def add_setting(content: dict[str, Any]) -> None:
    content["neuroformer"]["settings"]["model"]["trunk"]["depth"] = 3


def drop_weights(content: dict[str, Any]) -> None:
    del content["state_dict"]["model.bias"]


def drop_state(content: dict[str, Any]) -> None:
    del content["state_dict"]


def resize(content: dict[str, Any]) -> None:
    content["state_dict"]["model.bias"] = torch.zeros(2)


@pytest.mark.parametrize(
    "change",
    [
        drop_vocabulary,
        drop_setting,
        drop_data_setting,
        rename_data_setting,
        add_setting,
        drop_weights,
        drop_state,
        resize,
    ],
)
def test_a_checkpoint_of_another_version_says_which(
    content: dict[str, Any], tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    change(content)
    content["neuroformer"]["version"] = "0.0.7"
    path = tmp_path / "old.ckpt"
    torch.save(content, path)
    message = refusal(path)
    assert "written by neuroformer 0.0.7" in message
    assert "install that version or pretrain again" in message


def test_a_run_can_be_moved(trained: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(trained, tmp_path / "elsewhere")
    assert load_run(moved).trained.vocabulary["a"].n_units == 6


def test_a_flipped_bit_of_a_weight_is_noticed(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "flipped.ckpt"
    data = bytearray((trained / "checkpoints/best.ckpt").read_bytes())
    with zipfile.ZipFile(trained / "checkpoints/best.ckpt") as archive:
        member = next(
            info for info in archive.infolist() if "/data/" in info.filename and info.file_size > 64
        )
        weights = archive.read(member)
    data[data.index(weights) + 7] ^= 1
    path.write_bytes(data)
    assert "broken" in refusal(path)


def forget_version(content: dict[str, Any]) -> None:
    del content["neuroformer"]["version"]


def spoil_step(content: dict[str, Any]) -> None:
    content["global_step"] = "many"


def spoil_weights(content: dict[str, Any]) -> None:
    content["state_dict"]["model.bias"] = content["state_dict"]["model.bias"] * float("nan")


def cast_weights(content: dict[str, Any]) -> None:
    content["state_dict"]["model.bias"] = content["state_dict"]["model.bias"].int()


def miscount_units(content: dict[str, Any]) -> None:
    content["neuroformer"]["vocabulary"]["sessions"][0]["train_counts"].pop()


def disorder_levels(content: dict[str, Any]) -> None:
    content["neuroformer"]["vocabulary"]["sessions"][0]["level_edges"] = [2.0, 1.0]


@pytest.mark.parametrize(
    "change", [forget_version, spoil_step, spoil_weights, cast_weights, miscount_units, disorder_levels]
)
def test_parts_that_contradict_each_other_are_refused(
    content: dict[str, Any], tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    change(content)
    path = tmp_path / "forged.ckpt"
    torch.save(content, path)
    assert "cannot rebuild its model" in refusal(path)


def test_exchanged_tensors_are_noticed(trained: Path, tmp_path: Path) -> None:
    """Each member of the archive agrees with its own checksum; the digest covers the whole."""
    path = tmp_path / "exchanged.ckpt"
    with zipfile.ZipFile(trained / "checkpoints/best.ckpt") as source, zipfile.ZipFile(path, "w") as target:
        names = [info.filename for info in source.infolist()]
        of_size: dict[int, list[str]] = {}
        for info in source.infolist():
            if "/data/" in info.filename:
                of_size.setdefault(info.file_size, []).append(info.filename)
        pairs = [same for same in of_size.values() if len({source.read(name) for name in same}) > 1]
        one, other = next(
            (a, b) for same in pairs for a in same for b in same if source.read(a) != source.read(b)
        )
        exchanged = {one: other, other: one}
        for name in names:
            target.writestr(name, source.read(exchanged.get(name, name)))
    torch.load(path, weights_only=True)  # PyTorch sees nothing
    with pytest.raises(UserError, match=r"exchanged\.ckpt: its content is not what was written"):
        load_checkpoint(path)
