"""Runs our Triton kernels through Triton's interpreter, on the CPU, and prints how far they are from float64, as JSON.

A process of its own: TRITON_INTERPRET is read when triton is first imported.
"""

import json
import sys

import torch
import torch.nn.functional as F
from torch import Tensor

from resmlp.inference.triton_layers import ChannelMlp8, with_kernels
from resmlp.models import create_model
from resmlp.models.folding import fold
from resmlp.nn import kernels


def among_nans(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Random numbers, before and behind which lies what must not be read."""
    size = torch.Size(shape).numel()
    buffer = torch.full((size + 2048,), float("nan")).to(dtype)
    buffer[1024:-1024] = torch.randn(size).to(dtype)
    return buffer[1024:-1024].view(shape)


def errors(found: Tensor, eager: Tensor, exact: Tensor) -> list[float]:
    """The largest error of the kernel and of eager torch, over the largest number."""
    return [float((each.double() - exact).abs().max() / exact.abs().max()) for each in (found, eager)]


def mixed(x: Tensor, weight: Tensor, gain: Tensor | None, bias: Tensor | None) -> Tensor:
    """The formula, of any precision."""
    return x + (1 if gain is None else gain) * (weight @ x) + (0 if bias is None else bias)


def token_mix(shape: tuple[int, int, int], dtype: torch.dtype, terms: str) -> list[float]:
    """gain: of D; map: bias of N D; row: bias of D"""
    _, tokens, dim = shape
    x, weight = among_nans(shape, dtype), (torch.randn(tokens, tokens) / tokens**0.5).to(dtype)
    gain = torch.randn(dim).to(dtype) if "gain" in terms else None
    bias = among_nans((tokens, dim) if "map" in terms else (dim,), dtype) if "map" in terms or "row" in terms else None
    if "strided" in terms:
        x, bias = (part.mT.contiguous().mT for part in (x, bias))
    exact = mixed(*(part if part is None else part.double() for part in (x, weight, gain, bias)))
    return errors(kernels.token_mix(x, kernels.padded(weight), gain, bias), mixed(x, weight, gain, bias), exact)


def mlp(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """The formula, of any precision."""
    return x + F.linear(F.gelu(F.linear(x, w1, b1)), w2, b2)


def channel_mlp(dim: int, hidden: int, dtype: torch.dtype) -> list[float]:
    """Of 3 x 7 rows, which fill no block."""
    x, b1, b2 = among_nans((3, 7, dim), dtype), torch.randn(hidden).to(dtype), torch.randn(dim).to(dtype)
    w1, w2 = ((torch.randn(shape) / shape[1] ** 0.5).to(dtype) for shape in ((hidden, dim), (dim, hidden)))
    exact = mlp(*(part.double() for part in (x, w1, b1, w2, b2)))
    return errors(kernels.channel_mlp(x, w1, b1, w2, b2), mlp(x, w1, b1, w2, b2), exact)


def channel_mlp8(dim: int, hidden: int, size: float) -> list[float]:
    """The branch's relative error by norm, and that of a weight in e4m3."""
    x, b1, b2 = size * among_nans((3, 7, dim), torch.bfloat16), torch.randn(hidden) * size, torch.randn(dim) * size
    w1, w2 = ((torch.randn(shape) / shape[1] ** 0.5).bfloat16() for shape in ((hidden, dim), (dim, hidden)))
    b1, b2 = b1.bfloat16(), b2.bfloat16()
    found = kernels.channel_mlp8(x, *kernels.eight_bits(w1), b1, *kernels.eight_bits(w2), b2)
    exact = mlp(*(part.double() for part in (x, w1, b1, w2, b2)))
    error = (found.double() - exact).norm() / (exact - x.double()).norm()
    eight, scale = kernels.eight_bits(w1)
    rounding = (eight.double() * scale.double()[:, None] - w1.double()).norm() / w1.double().norm()
    return [float(error), float(rounding)]


def traced(network: torch.nn.Module, images: Tensor) -> float:
    """By how much what torch.compile makes of it differs; it must be one graph."""
    return float((torch.compile(network, backend="aot_eager", fullgraph=True)(images) - network(images)).abs().max())


def network(dim: int, dtype: torch.dtype) -> dict:
    """A whole one, folded, with kernels in 16 and in 8 bits."""
    options = {"img_size": 40, "patch_size": 8, "num_classes": 10, "depth": 2, "layer_scale": 1.0}
    model = create_model("resmlp_s12", dim=dim, **options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    images = torch.randn(3, 3, 40, 40)
    exact, half = model.double()(images.double()), fold(model.to(dtype))
    fused, eight = with_kernels(half), with_kernels(half, ChannelMlp8)
    with torch.inference_mode():
        eager, found = half(images.to(dtype)), fused(images.to(dtype))
        rough = eight(images.to(dtype))
    return {
        "errors": errors(found, eager, exact.detach()),
        "traced": traced(fused, images.to(dtype)) if dtype is torch.bfloat16 else 0.0,
        "eight": float((rough.double() - exact).norm() / exact.norm()),
        "parts": [type(part).__name__ for block in fused.blocks for part in block],
        "left": next(fused.parameters()).requires_grad,
    }


@torch.no_grad()
def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    half, brain = torch.float16, torch.bfloat16
    mixes = {
        "all": ((2, 21, 48), half, "gain map"),
        "bf16": ((2, 21, 48), brain, "gain map"),
        "strided": ((2, 21, 48), half, "gain map strided"),
        "row": ((2, 21, 48), half, "gain row"),
        "no gain": ((2, 21, 48), half, "map"),
        "no bias": ((2, 21, 48), brain, "gain"),
        "neither": ((2, 21, 48), half, ""),
        "one tile": ((1, 16, 16), half, "gain map"),
        "ragged": ((3, 33, 20), half, "gain map"),
    }
    mlps = {"1 chunk": (32, 64, half), "3 chunks": (96, 32, half), "bf16": (96, 32, brain), "5 chunks": (160, 96, half)}
    networks = {"fp16": network(32, half), "bf16": network(32, brain), "narrow": network(24, half)}
    x, weight = torch.randn(2, 5, 16).half(), kernels.padded(torch.randn(5, 5).half())
    found = {
        "token_mix": {name: token_mix(*case) for name, case in mixes.items()},
        "channel_mlp": {name: channel_mlp(*case) for name, case in mlps.items()},
        "channel_mlp8": {f"{dim} {size}": channel_mlp8(dim, 64, size) for dim, size in ((32, 1e-3), (96, 1), (96, 50))},
        "network": networks,
        "opcheck": torch.library.opcheck(kernels.token_mix, (x, weight, None, None), raise_exception=False),
    }
    json.dump(found, sys.stdout)


main()
