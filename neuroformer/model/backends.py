"""Ways to compute the attention of packed tokens. All give the same numbers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from neuroformer.model.attention import Attend
from neuroformer.model.packing import Packed


def sdpa(packed: Packed, dtype: torch.dtype) -> Attend:
    """PyTorch's scaled-dot-product attention, over blocks of queries."""
    blocks = packed.blocks
    bias = blocks.bias.to(dtype)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        found = F.scaled_dot_product_attention(
            blocks.queries(q), blocks.keys(k), blocks.keys(v), attn_mask=bias
        )
        return blocks.tokens(found)

    return attend
