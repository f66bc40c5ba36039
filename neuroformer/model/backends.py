"""Ways to compute the attention of packed tokens, by name. All give the same numbers.

`sdpa` runs everywhere. `flex` (PyTorch's FlexAttention: the windows become a sparse pattern of blocks in one compiled
kernel) and `xformers` (its memory-efficient kernels: rows that lie within one window become a block-diagonal mask) need
a CUDA device for training; a model trained with them is evaluated with `sdpa` where there is none.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from neuroformer.errors import UserError
from neuroformer.model.attention import Attend
from neuroformer.model.packing import Packed


def make_attend(name: str, packed: Packed, like: Tensor, *, training: bool) -> Attend:
    """The attention of packed tokens by one of the backends.

    Args:
        name: `sdpa`, `flex` or `xformers`.
        packed: the tokens.
        like: their device and type.
        training: whether there will be a backward pass.

    Raises:
        UserError: the backend cannot train here.
    """
    if name != "sdpa" and like.device.type != "cuda":
        if training:
            raise UserError(
                f"model.trunk.attention={name}: expected a CUDA device, found {like.device.type}; "
                "use model.trunk.attention=sdpa"
            )
        name = "sdpa"
    return {"sdpa": sdpa, "flex": flex, "xformers": xformers}[name](packed, like.dtype)


def sdpa(packed: Packed, dtype: torch.dtype) -> Attend:
    """PyTorch's scaled-dot-product attention, over blocks of queries."""
    blocks = packed.blocks
    bias = blocks.bias.to(dtype)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        found = F.scaled_dot_product_attention(
            blocks.queries(q), blocks.keys(k), blocks.keys(v), attn_mask=bias.to(q.dtype)
        )
        return blocks.tokens(found)

    return attend


def flex(packed: Packed, dtype: torch.dtype) -> Attend:
    """FlexAttention: blocks of pairs that no window reaches are left out."""
    from torch.nn.attention.flex_attention import create_block_mask

    oldest = packed.oldest

    def looks(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key >= oldest[query]) & (key <= query)

    n = len(oldest)
    mask = create_block_mask(looks, None, None, n, n, device=str(oldest.device))
    attention = _flex_attention(compiled=oldest.is_cuda)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.transpose(0, 1).unsqueeze(0) for x in (q, k, v))  # (1, H, M, C)
        found: Tensor = attention(q, k, v, block_mask=mask)
        return found[0].transpose(0, 1).flatten(1)

    return attend


@cache
def _flex_attention(*, compiled: bool) -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True) if compiled else flex_attention


def xformers(packed: Packed, dtype: torch.dtype) -> Attend:
    """Memory-efficient attention of xformers: a block-diagonal mask where it says all, else the windows as a bias."""
    attention = _import("xformers.ops").memory_efficient_attention
    mask = block_diagonal(packed)
    blocks = packed.blocks

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if mask is not None:
            whole: Tensor = attention(q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0), attn_bias=mask)
            return whole[0].flatten(1)
        # Its kernels want (G, Q, H, C), and rows of the bias that start at multiples of 8.
        queries, keys, values = blocks.queries(q), blocks.keys(k), blocks.keys(v)
        n_keys = blocks.bias.shape[-1]
        room = F.pad(blocks.bias.to(q.dtype), (0, -n_keys % 8))[..., :n_keys]
        bias = room.expand(-1, q.shape[1], -1, -1)
        found = attention(*(x.transpose(1, 2) for x in (queries, keys, values)), attn_bias=bias)
        return blocks.tokens(found.transpose(1, 2))

    return attend


def block_diagonal(packed: Packed) -> Any:
    """The mask as xformers' `BlockDiagonalCausalMask`; None where windows cut it further."""
    first = packed.oldest == torch.arange(len(packed.oldest), device=packed.oldest.device)
    starts = first.nonzero().squeeze(1)  # of a row, or of a token that looks at itself alone
    own = starts[first.cumsum(0) - 1] if len(starts) else packed.oldest
    if not torch.equal(own, packed.oldest):
        return None
    lengths = torch.diff(starts, append=starts.new_tensor([len(first)])).tolist()
    return _import("xformers.ops.fmha.attn_bias").BlockDiagonalCausalMask.from_seqlens(lengths)


def _import(name: str) -> Any:
    try:
        return __import__(name, fromlist=["_"])
    except ImportError as error:
        raise UserError(
            f"model.trunk.attention=xformers: the package xformers cannot be imported ({error}); "
            "pip install 'neuroformer[xformers]', or use model.trunk.attention=sdpa"
        ) from error
