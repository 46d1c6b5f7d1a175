"""Attention between the tokens of sentences, for the Transformer and the decoder of ResMLP.

B sentences, H heads, D channels, N tokens of queries and S tokens of keys and values.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def split_heads(x: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """B N parts*D -> `parts` tensors B H N D/H"""
    return x.unflatten(2, (parts, heads, -1)).permute(2, 0, 3, 1, 4).unbind()


def join_heads(x: Tensor) -> Tensor:
    """B H N D/H -> B N D"""
    return x.transpose(1, 2).flatten(2)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """q B H N D/H, k and v B H S D/H -> B N D: softmax(q k' / sqrt(D/H)) v; `mask` is true for keys that are read.

    On a CPU bf16 is computed in fp32: the backward pass of torch's bf16 kernel takes 30 ms, that of fp32 takes 5 (torch
    2.15, 59 sentences of 17 tokens, 256 channels, one core).
    """
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:
        with torch.autocast("cpu", enabled=False):
            return attend(q.float(), k.float(), v.float(), mask, causal).to(q.dtype)
    return join_heads(F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal))
