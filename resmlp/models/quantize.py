"""Weights in 4 or 8 bits: rounding to codes, files with codes, and rounding at random in training (Quant-Noise).

A weight is `code * step`, with codes -7 to 7 and one step for each row of its matrix. The paper counts the weights that
become 0 in 4 bits (section on sparsity, Figure 3). In a file, the matrix KEY is stored as `KEY.codes`, two codes in a
byte, and `KEY.step`; a reader gets floating-point weights, and only this module knows of codes. In 8 bits codes are
-127 to 127, one in a byte (int8).

R rows of a weight, its first dimension, one for each output; C columns, all other dimensions.
"""

from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from resmlp.models.weight_formats import State
from resmlp.utils.checks import demand

CODES, STEP = ".codes", ".step"
LEVELS = 7
"""codes are -7 to 7; the range is symmetric, so 0 stays 0"""
LEVELS_8 = 127
"""the same in 8 bits"""
OFFSET = 8
"""a code c is stored as c + 8, in 4 bits"""
SHARES = torch.linspace(0.4, 1.0, 61)
"""candidates for a step, as shares of the step for the full range of the row"""
HALF = torch.finfo(torch.float16)


class Quantized(NamedTuple):
    """A matrix as `codes * step`."""

    codes: Tensor
    """R ... int8, -7 to 7, or -127 to 127 in 8 bits"""
    step: Tensor
    """R float"""
    bits: int = 4

    def weight(self) -> Tensor:
        """R ... float32"""
        return self.codes.float() * rowwise(self.step.float(), self.codes)


def matrices(model: nn.Module) -> dict[str, Tensor]:
    """The weights of all linear layers and convolutions, by their keys."""
    parts = {name: part for name, part in model.named_modules() if isinstance(part, (nn.Linear, nn.Conv2d))}
    return {f"{name}.weight": part.weight for name, part in parts.items()}


def rowwise(step: Tensor, like: Tensor) -> Tensor:
    """R -> R 1 ..., which multiplies the rows of `like`, R ..."""
    return step.view(-1, *[1] * (like.ndim - 1))


def nearest(weight: Tensor, step: Tensor) -> Tensor:
    """R ... -> the nearest codes, R ... int8; larger weights are clipped to the largest code."""
    step = rowwise(step, weight)
    return (weight / step).nan_to_num(0, 0, 0).round().clamp(-LEVELS, LEVELS).to(torch.int8)


def full_range_step(weight: Tensor) -> Tensor:
    """R ... -> R: the step with which the largest magnitude of each row is code 7, so that nothing is clipped."""
    return weight.flatten(1).abs().amax(1) / LEVELS


def best_step(weight: Tensor, importance: Tensor | None = None) -> Tensor:
    """R ... -> R: the step with the least squared rounding error among `SHARES` of the full-range step.

    A smaller step clips the few large weights of a row and is more exact for the many small ones. `importance`, C, are
    weights of the squares. The steps are rounded as in a file (`to_half`).
    """
    rows = weight.detach().flatten(1).double()  # in which squares do not underflow
    importance = rows.new_ones(rows.shape[1]) if importance is None else importance
    best, least = full_range_step(rows), rows.new_full((len(rows),), torch.inf)
    for share in SHARES.tolist():
        step = to_half(full_range_step(rows).float() * share).double()
        error = ((nearest(rows, step) * step[:, None] - rows).square() * importance).sum(1)
        best, least = torch.where(error < least, step, best), torch.minimum(error, least)
    return best.float()


def in_8_bits(weight: Tensor) -> Quantized:
    """The matrix, R ..., in 8 bits: the largest magnitude of each row is code 127, so that nothing is clipped."""
    step = to_half(weight.detach().float().flatten(1).abs().amax(1) / LEVELS_8)
    codes = (weight.detach() / rowwise(step.float(), weight)).nan_to_num(0, 0, 0).round().clamp(-LEVELS_8, LEVELS_8)
    return Quantized(codes.to(torch.int8), step, bits=8)


def to_half(tensor: Tensor) -> Tensor:
    """The tensor in fp16 if this changes no value by more than 1/2048 of it, else unchanged."""
    magnitudes = tensor.abs()[tensor != 0]
    fits = not len(magnitudes) or bool(magnitudes.min() >= HALF.smallest_normal and magnitudes.max() <= HALF.max)
    return tensor.half() if fits else tensor


def pack(codes: Tensor) -> Tensor:
    """R ... int8 -> ceil(R / 2) ... uint8: row 2i in the low bits of row i, row 2i + 1 in the high bits.

    For any shape, at most half a row is padding.
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
    """The tensors of a file: codes and steps of `quantized`, and all other tensors of `state` by `to_half`."""
    rest = {key: to_half(tensor).contiguous() for key, tensor in state.items() if key not in quantized}
    codes = {
        f"{key}{CODES}": pack(matrix.codes) if matrix.bits == 4 else matrix.codes for key, matrix in quantized.items()
    }
    return rest | codes | {f"{key}{STEP}": to_half(matrix.step) for key, matrix in quantized.items()}


def unpacked_state(file: Path, state: State) -> State:
    """The tensors `state` of a file, with codes turned into float32 weights.

    Raises `UserError`, with the name of `file`, for codes that `packed_state` does not write.
    """
    packed = {key: tensor for key, tensor in state.items() if key.endswith(CODES)}
    rest = {key: tensor for key, tensor in state.items() if key not in packed}
    for name, codes in packed.items():
        key = name.removesuffix(CODES)
        step = rest.pop(f"{key}{STEP}", None)
        hint = "the file may be incomplete: copy it again"
        demand(step is not None, f"{file}: {name} has no {key}{STEP}", hint)
        assert step is not None
        demand(key not in rest, f"{file} has {key} twice, as codes and as weights", hint)
        plain = all(tensor.layout == torch.strided and tensor.device.type == "cpu" for tensor in (codes, step))
        fits = plain and codes.ndim > 1 and step.ndim == 1 and step.is_floating_point()
        rows = {torch.uint8: -(-len(step) // 2), torch.int8: len(step)}.get(codes.dtype) if fits else None
        shapes = f"{tuple(codes.shape)} for steps {tuple(step.shape)}"
        demand(fits and rows == len(codes), f"{file}: {name} is not in codes of 4 or 8 bits, shape {shapes}", hint)
        rest[key] = Quantized(codes if codes.dtype == torch.int8 else unpack(codes, len(step)), step).weight()
    return rest


class QuantNoise:
    """Quant-Noise: while entered, each weight of the matrices of `model` is rounded to 4 bits with probability `share`.

    Enter it for a forward pass and its backward pass. Afterwards the weights are bit-identical to those before. Random
    numbers are from the global generator of torch.
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
            weight.copy_(with_quant_noise(weight, self.share))

    @torch.no_grad()
    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for weight, before in zip(self.weights, self.before):
            weight.copy_(before)
        self.before = []


def with_quant_noise(weight: Tensor, share: float) -> Tensor:
    """R ... -> R ..., each weight rounded to 4 bits with probability `share`, with the full-range step of its row."""
    step = full_range_step(weight)
    rounded = nearest(weight, step) * rowwise(step, weight)
    return torch.where(torch.rand_like(weight) < share, rounded, weight)
