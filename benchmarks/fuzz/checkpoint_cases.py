"""Damaged and forged checkpoints: refused, or the very model that was saved; code in them never runs."""

import copy
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.fuzz.byte_mutations import damage
from benchmarks.fuzz.outcomes import Outcome, refused, unclear
from benchmarks.fuzz.yaml_mutations import VALUES, places
from neuroformer.cli.config import build_config
from neuroformer.errors import UserError
from neuroformer.session import write_session
from neuroformer.settings.training import PretrainConfig
from neuroformer.training.checkpoint import load_checkpoint, read_checkpoint
from neuroformer.training.run import pretrain
from simulate import CircuitConfig, simulate_circuit, to_session

TINY = (
    "data.chunk_s=0.5",
    "data.warmup_s=0.2",
    "data.batch_size=8",
    "model.trunk.width=8",
    "model.trunk.heads=2",
    "model.trunk.window_s=0.05",
    "model.trunk.state=8",
    "model.trunk.time_constants_s=[0.02,0.05]",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "optim.steps=4",
    "val_every=2",
)
EXECUTED = "executed"


class Trap:
    """An object whose pickle makes a folder when it is loaded."""

    def __init__(self, folder: str) -> None:
        """Take the folder to make."""
        self.folder = folder

    def __reduce__(self) -> Any:
        """What a pickle of this runs."""
        return os.mkdir, (self.folder,)


def write_checkpoint(folder: Path) -> Path:
    """Train a tiny model for a moment."""
    made = simulate_circuit(CircuitConfig(units=4, duration_s=20.0))
    session = write_session(folder / "a.h5", to_session(made, session_id="a"))
    words = [f"data.sessions=[{session}]", f"out={folder / 'run'}", *TINY]
    pretrain(build_config(PretrainConfig, words=words))
    return folder / "run" / "checkpoints" / "best.ckpt"


class CheckpointCases:
    """Checkpoints: bytes, members of the archive, tensors, settings, vocabulary, code."""

    name = "checkpoint"

    def __init__(self, folder: Path) -> None:
        """Train the model that is saved."""
        path = write_checkpoint(folder)
        self.data = path.read_bytes()
        self.content = read_checkpoint(path)
        self.weights = load_checkpoint(path).model.state_dict()

    def __call__(self, rng: np.random.Generator, folder: Path) -> Outcome:
        """One case."""
        path = folder / "model.ckpt"
        kind = rng.random()
        if kind < 0.3:
            data, what = damage(self.data, rng)
            path.write_bytes(data)
        elif kind < 0.45:
            what = self._members(path, rng)
        else:
            content = copy.deepcopy(self.content)
            what = _change(content, rng, folder)
            torch.save(content, path)
        found = judge(path, self.weights)
        return Outcome(found.status, found.what, what)

    def _members(self, path: Path, rng: np.random.Generator) -> str:
        path.write_bytes(self.data)
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
        name = sorted(members)[int(rng.integers(len(members)))]
        other = sorted(members)[int(rng.integers(len(members)))]
        whole = members[name]
        match int(rng.integers(5)):
            case 0:
                del members[name]
                what = f"{name} dropped"
            case 1:
                members[f"{name}x"] = members.pop(name)
                what = f"{name} renamed"
            case 2:
                members[name] = members[other]
                what = f"{name} is {other}"
            case 3:
                members[name], what = damage(members[name], rng)
                what = f"{name}: {what}"
            case _:
                members[name] = b"cos\nmkdir\n(S'executed'\ntR."
                what = f"{name} with code"
        # A forger writes checksums that fit, so that other weights cannot be told from true ones: tensors are cut only.
        if "/data/" in name and what.startswith(f"{name}: "):
            members[name] = whole[:-1]
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, data)
        return what


def _change(content: dict[str, Any], rng: np.random.Generator, folder: Path) -> str:
    about, tensors = content["neuroformer"], content["state_dict"]
    match int(rng.integers(8)):
        case 0:
            content[("hyper_parameters", "state_dict", "neuroformer")[int(rng.integers(3))]] = Trap(
                str(folder / EXECUTED)
            )
            return "code"
        case 1 | 2:
            name = sorted(tensors)[int(rng.integers(len(tensors)))]
            return f"{name} {_change_tensor(tensors, name, rng)}"
        case 3 | 4:
            found = list(places(about["vocabulary"]))
            return _set(about["vocabulary"], found[int(rng.integers(len(found)))], rng)
        case 5:
            found = list(places(about["settings"]["model"]))
            return _set(about["settings"]["model"], found[int(rng.integers(len(found)))], rng)
        case 6:
            found = [(name,) for name in about]
            return _set(about, found[int(rng.integers(len(found)))], rng)
        case _:
            found = [(name,) for name in ("state_dict", "neuroformer", "global_step")]
            return _set(content, found[int(rng.integers(3))], rng)


def _change_tensor(tensors: dict[str, Any], name: str, rng: np.random.Generator) -> str:
    tensor = tensors[name]
    kind = int(rng.integers(8))
    if kind == 0:
        tensors[name] = tensor.to(
            (torch.float64, torch.float16, torch.int32, torch.complex64)[int(rng.integers(4))]
        )
    elif kind == 1:
        tensors[name] = tensor[None]
    elif kind == 2:
        tensors[name] = tensor.reshape(-1)[:-1]
    elif kind == 3 and tensor.is_floating_point():
        tensors[name] = torch.full_like(tensor, float("nan"))
    elif kind == 4 and tensor.is_floating_point():
        tensors[name] = torch.full_like(tensor, float("inf"))
    elif kind == 5:
        tensors[name] = tensor.tolist()
    elif kind == 6:
        del tensors[name]
    else:
        tensors[f"{name}x"] = tensors.pop(name)
    return f"tensor {kind}"


def _set(owner: Any, place: tuple[Any, ...], rng: np.random.Generator) -> str:
    for key in place[:-1]:
        owner = owner[key]
    where = ".".join(map(str, place))
    if rng.random() < 0.25:
        del owner[place[-1]]
        return f"{where} dropped"
    owner[place[-1]] = copy.deepcopy(VALUES[int(rng.integers(len(VALUES)))])
    return f"{where} = {str(owner[place[-1]])[:40]!r}"


def judge(path: Path, weights: dict[str, torch.Tensor]) -> Outcome:
    """Load a checkpoint."""
    try:
        model = load_checkpoint(path).model.state_dict()
    except UserError as error:
        found = refused(str(error), [str(path)])
    else:
        same = model.keys() == weights.keys() and all(
            torch.equal(model[name], w) for name, w in weights.items()
        )
        found = Outcome("unchanged") if same else unclear("loaded, with other weights")
    if (path.parent / EXECUTED).exists() or Path(EXECUTED).exists():
        return unclear("code in the file was executed")
    return found
