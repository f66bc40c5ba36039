"""An animal whose behaviour follows its traces, and tiny language models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuroformer.frames.session import FrameSession, open_recording, read_session
from neuroformer.session import write_session
from neuroformer.session.types import Events, SessionData, TimeSeries
from neuroformer.settings.backbones import BackbonesConfig
from neuroformer.settings.data import SplitConfig

BIN_S = 0.5


def write_animal(path: Path, *, seed: int = 0, n: int = 400, units: int = 8) -> Path:
    """Slow traces; `speed` is linear in those of two frames ago, with a stretch of NaN; `turn` has two numbers."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, units))
    for t in range(1, n):
        x[t] = 0.8 * x[t - 1] + 0.6 * x[t]
    speed = np.roll(x @ rng.normal(size=units), 2) + 0.1 * rng.normal(size=n)
    speed[50:60] = np.nan
    turn = 3 + 2 * x[:, :2] + 0.1 * rng.normal(size=(n, 2))
    x[100:103] = np.nan
    x[n // 2, 1] = np.nan
    x[:, -1] = 7.0  # says nothing
    at = (np.arange(n) + 0.5) * BIN_S
    times = np.sort(rng.uniform(0, n * BIN_S, 300))
    write_session(
        path,
        SessionData(
            session_id=path.stem, subject_id=path.stem, start=0.0, stop=n * BIN_S, n_units=units,
            events=Events(times=times, units=rng.integers(units, size=300).astype(np.int32)),
            units={"region": np.array(["a", "b"] * (units // 2))},
            traces=TimeSeries(timestamps=at, values=x.astype(np.float32), kind="continuous"),
            behavior={
                "speed": TimeSeries(timestamps=at, values=speed[:, None], kind="continuous", unit="mm/s"),
                "turn": TimeSeries(timestamps=at, values=turn, kind="continuous"),
                "heading": TimeSeries(timestamps=at, values=at[:, None] % 6, kind="continuous", period=6.0),
            },
        ),
    )  # fmt: skip
    return path


@pytest.fixture(scope="session")
def animal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_animal(tmp_path_factory.mktemp("frames") / "worm.h5")


@pytest.fixture(scope="session")
def settings() -> Callable[..., BackbonesConfig]:
    """Small and quick ones."""

    def make(**more: Any) -> BackbonesConfig:
        usual: dict[str, Any] = {
            "sessions": ["-"], "targets": ["speed", "turn"], "out": "-", "bin_s": BIN_S, "window": 6,
            "split": SplitConfig(val=0.15, test=0.2), "steps": 40, "val_every": 10, "dropout": 0.0, "device": "cpu",
        }  # fmt: skip
        return BackbonesConfig(**usual | more)

    return make


@pytest.fixture(scope="session")
def frames(animal: Path, settings: Callable[..., BackbonesConfig]) -> FrameSession:
    config = settings()
    return read_session(open_recording(str(animal), config), config)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`tiny("llama")`, "mixtral" or "bert": folder of a checkpoint of two layers and width 16, weights far from new."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed: extra llm")
    folder = tmp_path_factory.mktemp("checkpoints")
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}

    def make(kind: str) -> Path:
        path = folder / kind
        if not path.exists():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                if kind == "llama":
                    made = transformers.LlamaModel(
                        transformers.LlamaConfig(vocab_size=40, num_key_value_heads=1, **shape)
                    )
                elif kind == "mixtral":
                    made = transformers.MixtralModel(
                        transformers.MixtralConfig(
                            vocab_size=40,
                            num_key_value_heads=1,
                            num_local_experts=4,
                            num_experts_per_tok=2,
                            **shape,
                        )
                    )
                else:
                    made = transformers.BertModel(
                        transformers.BertConfig(vocab_size=40, max_position_embeddings=64, **shape)
                    )
                with torch.no_grad():
                    for parameter in made.parameters():
                        if parameter.ndim >= 2:
                            parameter.mul_(10)
            made.save_pretrained(path)
        return path

    return make
