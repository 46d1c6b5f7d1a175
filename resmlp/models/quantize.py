"""Weights of 4 bits in a file like any other: two codes to a byte, and a step for each row.

A matrix W of the network, under its key in the file, is `KEY.codes` and `KEY.step`; a weight is `code * step` of its
row. The paper counts how many of them become 0 in 4 bits (section on sparsity, Figure 3). Whoever reads the file gets
floating-point weights: nothing but this module knows of codes.

R rows, the first dimension of a weight, which are what it computes; C columns, all other dimensions.
"""

from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from resmlp.models.convert import State
from resmlp.utils.checks import demand

CODES, STEP = ".codes", ".step"
LEVELS = 7
"""codes are -7 to 7: symmetric, so that 0 stays 0"""
OFFSET = 8
"""a code c is stored as c + 8, a number of 4 bits"""
SHARES = torch.linspace(0.4, 1.0, 61)
"""steps that are tried, as shares of the one that reaches the row's largest magnitude"""
HALF = torch.finfo(torch.float16)


class Quantized(NamedTuple):
    """A matrix of few values: `codes * step`."""

    codes: Tensor
    """R ... int8, -7 to 7"""
    step: Tensor
    """R float"""

    def weight(self) -> Tensor:
        """R ... float32"""
        return self.codes.float() * rowwise(self.step.float(), self.codes)


def matrices(model: nn.Module) -> dict[str, Tensor]:
    """The weights of all linear layers and convolutions by their names: nearly all that a network is."""
    parts = {name: part for name, part in model.named_modules() if isinstance(part, (nn.Linear, nn.Conv2d))}
    return {f"{name}.weight": part.weight for name, part in parts.items()}


def rowwise(step: Tensor, like: Tensor) -> Tensor:
    """R -> R 1 ..., to be multiplied with `like`, R ..."""
    return step.view(-1, *[1] * (like.ndim - 1))


def nearest(weight: Tensor, step: Tensor) -> Tensor:
    """R ... -> the nearest codes, R ... int8: at most half a step away, but beyond the largest code."""
    step = rowwise(step, weight)
    return (weight / step).nan_to_num(0, 0, 0).round().clamp(-LEVELS, LEVELS).to(torch.int8)


def widest(weight: Tensor) -> Tensor:
    """R ... -> R: the step with which the largest magnitude of each row is code 7, and nothing is cut off."""
    return weight.flatten(1).abs().amax(1) / LEVELS


def best_step(weight: Tensor, importance: Tensor | None = None) -> Tensor:
    """R ... -> R: of some shares of the widest step, that with the least squares of what rounding takes away.

    A smaller step cuts off the few large weights of a row for the sake of the many small ones. `importance`, C, weighs
    the squares. The steps are what the file will hold (`halved`).
    """
    rows = weight.detach().flatten(1).double()  # whose squares do not vanish
    importance = rows.new_ones(rows.shape[1]) if importance is None else importance
    best, least = widest(rows), rows.new_full((len(rows),), torch.inf)
    for share in SHARES.tolist():
        step = halved(widest(rows).float() * share).double()
        error = ((nearest(rows, step) * step[:, None] - rows).square() * importance).sum(1)
        best, least = torch.where(error < least, step, best), torch.minimum(error, least)
    return best.float()


def halved(tensor: Tensor) -> Tensor:
    """The same in 16 bits where each value stays within 1/2048 of itself, else as it is."""
    magnitudes = tensor.abs()[tensor != 0]
    fits = not len(magnitudes) or bool(magnitudes.min() >= HALF.smallest_normal and magnitudes.max() <= HALF.max)
    return tensor.half() if fits else tensor


def pack(codes: Tensor) -> Tensor:
    """R ... int8 -> ceil(R / 2) ... uint8: row 2i in the low bits of row i, row 2i + 1 in the high bits.

    Whatever the shape, no more than half a row is lost.
    """
    even = (codes + OFFSET).to(torch.uint8)
    if len(codes) % 2:
        even = torch.cat([even, torch.full_like(even[:1], OFFSET)])
    return even[0::2] | even[1::2] << 4


def unpack(packed: Tensor, rows: int) -> Tensor:
    """ceil(R / 2) ... uint8 -> R ... int8"""
    both = torch.stack([packed & 15, packed >> 4], dim=1).flatten(0, 1)
    return both[:rows].to(torch.int8) - OFFSET


def packed_state(state: State, quantized: dict[str, Quantized]) -> State:
    """What the file holds: codes and steps of what is quantized, and all else of `state` in 16 bits where that does."""
    rest = {key: halved(tensor).contiguous() for key, tensor in state.items() if key not in quantized}
    codes = {f"{key}{CODES}": pack(found.codes) for key, found in quantized.items()}
    return rest | codes | {f"{key}{STEP}": halved(found.step) for key, found in quantized.items()}


def unpacked_state(file: Path, state: State) -> State:
    """The tensors of `file` with its codes as float32 weights; others as they are.

    Raises `UserError` for codes that no compression wrote.
    """
    found = {key: tensor for key, tensor in state.items() if key.endswith(CODES)}
    rest = {key: tensor for key, tensor in state.items() if key not in found}
    for name, codes in found.items():
        key = name.removesuffix(CODES)
        step = rest.pop(f"{key}{STEP}", None)
        hint = "is the file whole?"
        demand(step is not None, f"{file}: {name} has no {key}{STEP} beside it", hint)
        assert step is not None
        demand(key not in rest, f"{file}: {key} is there twice, as codes and as it is", hint)
        plain = all(tensor.layout == torch.strided and tensor.device.type == "cpu" for tensor in (codes, step))
        fits = plain and codes.dtype == torch.uint8 and codes.ndim > 1 and step.ndim == 1 and step.is_floating_point()
        shapes = f"{tuple(codes.shape)} for {tuple(step.shape)}"
        demand(fits and len(codes) == -(-len(step) // 2), f"{file}: {name} are no codes of 4 bits, {shapes}", hint)
        rest[key] = Quantized(unpack(codes, len(step)), step).weight()
    return rest


class QuantNoise:
    """While it is entered, each weight of `model`'s matrices is rounded to 4 bits with probability `share`.

    For a forward pass and its backward pass; what is left afterwards is bit by bit what was there before. It draws from
    torch's global generator.
    """

    def __init__(self, model: nn.Module, share: float):
        self.weights, self.share = list(matrices(model).values()), share
        self.before: list[Tensor] = []

    @torch.no_grad()
    def __enter__(self) -> None:
        if not self.share:
            return
        self.before = [weight.clone() for weight in self.weights]
        for weight in self.weights:
            weight.copy_(noisy(weight, self.share))

    @torch.no_grad()
    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for weight, before in zip(self.weights, self.before):
            weight.copy_(before)
        self.before = []


def noisy(weight: Tensor, share: float) -> Tensor:
    """R ... -> the same with each weight rounded to 4 bits with probability `share`, by the widest step of its row."""
    step = widest(weight)
    rounded = nearest(weight, step) * rowwise(step, weight)
    return torch.where(torch.rand_like(weight) < share, rounded, weight)
