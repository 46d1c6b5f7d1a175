"""Both sublayers of a folded network as one Triton kernel each, for inference on a CUDA device in 16 bits, or 8.

`token_mix` is x + s * (A x) + M over the tokens, `channel_mlp` is x + W2 gelu(W1 x + b1) + b2. The hidden layer of the
second is never written to memory: a program keeps R rows of x and of the sum, and computes H hidden units at a time.
Sums are in 32 bits. Both are operators of torch (`torch.ops.resmlp`), so torch.compile and CUDA graphs support them.
With TRITON_INTERPRET=1 in the environment they run on the CPU, for tests.

B images, N tokens, D channels.
"""
# ruff: noqa: N803  (constants of the compiler are in capitals, as in Triton)
# mypy: disable-error-code="assignment, var-annotated"

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.runtime.interpreter import InterpretedFunction

FP8 = torch.float8_e4m3fn
LARGEST: tl.constexpr = tl.constexpr(448.0)  # of e4m3
INTERPRETED: tl.constexpr = tl.constexpr(triton.knobs.runtime.interpret)
SHARED = 227 * 1024  # bytes of shared memory for a program on Hopper
REGISTERS = 232  # registers of a thread for sums, of 255
MOST_DIM = 768


@triton.jit
def _gelu(x):
    """The exact GELU."""
    return 0.5 * x * (1 + tl.math.erf(x * 0.7071067811865476))


@triton.jit
def _scale_of(largest):
    """The scale of each row: divided by it, the largest magnitude of the row is the largest number of e4m3."""
    return tl.maximum(largest, 1e-12) / LARGEST


@triton.jit
def _dot(a, b, total):
    """`total + a @ b`. The interpreter cannot multiply bf16; in fp32 the products are exact."""
    if INTERPRETED:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, total)


@triton.jit
def _token_mix_kernel(
    x, weight, gain, bias, out, tokens, dim, width, bias_row, images,
    GAIN: tl.constexpr, BIAS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """ROWS tokens by COLUMNS channels of one image; consecutive tiles have the same channels and share x."""
    tile, down = tl.program_id(0), tl.cdiv(tokens, ROWS)
    across = tl.cdiv(dim, COLUMNS)
    n = tile % down * ROWS + tl.arange(0, ROWS)
    d = tile // down % across * COLUMNS + tl.arange(0, COLUMNS)
    start = (tile // (down * across)).to(tl.int64) * tokens * dim
    step = tl.arange(0, STEP)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(0, tokens, STEP):
        m = first + step
        # rows of A are filled with zeros up to `width`, a multiple of 16, so that whole words are masked
        a = tl.load(weight + n[:, None] * width + m[None, :], (n < tokens)[:, None] & (m < width)[None, :], 0.0)
        b = tl.load(x + start + m[:, None] * dim + d[None, :], (m < tokens)[:, None] & (d < dim)[None, :], 0.0)
        total = _dot(a, b, total)
    at, inside = n[:, None] * dim + d[None, :], (n < tokens)[:, None] & (d < dim)[None, :]
    if GAIN:
        total *= tl.load(gain + d, d < dim, 0.0).to(tl.float32)[None, :]
    if BIAS:
        total += tl.load(bias + n[:, None] * bias_row + d[None, :], inside, 0.0).to(tl.float32)
    total += tl.load(x + start + at, inside, 0.0).to(tl.float32)
    tl.store(out + start + at, total.to(out.dtype.element_ty), inside)


@triton.jit
def _channel_mlp_kernel(
    x, w1, scale1, b1, w2, scale2, b2, out, rows, filled,
    DIM: tl.constexpr, HIDDEN: tl.constexpr, CHUNK: tl.constexpr, EIGHT: tl.constexpr,
    ROWS: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """ROWS rows of x with all channels, in chunks whose length is a power of two, which Triton requires.

    With EIGHT the operands are e4m3: each row of x, of a block of the hidden layer and of the weights has a scale.
    """
    row, c, step = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS), tl.arange(0, CHUNK), tl.arange(0, STEP)
    inside, at = (row < rows)[:, None], row[:, None] * DIM + c[None, :]
    inputs, totals = (), ()
    for k in tl.static_range(DIM // CHUNK):
        inputs += (tl.load(x + at + k * CHUNK, inside, 0.0),)
        totals += (tl.zeros((ROWS, CHUNK), tl.float32),)
    if EIGHT:
        largest = tl.zeros((ROWS,), tl.float32)
        for k in tl.static_range(DIM // CHUNK):
            largest = tl.maximum(largest, tl.max(tl.abs(inputs[k].to(tl.float32)), 1))
        input_scale = _scale_of(largest)
        rounded = ()
        for k in tl.static_range(DIM // CHUNK):
            rounded += ((inputs[k].to(tl.float32) / input_scale[:, None]).to(tl.float8e4nv),)
        inputs = rounded
    for first in range(0, HIDDEN, STEP):
        h = first + step
        hidden = tl.zeros((ROWS, STEP), tl.float32)
        for k in tl.static_range(DIM // CHUNK):
            hidden = _dot(inputs[k], tl.load(w1 + h[None, :] * DIM + (k * CHUNK + c)[:, None]), hidden)
        if EIGHT:
            hidden *= input_scale[:, None] * tl.load(scale1 + h)[None, :]
        hidden = _gelu(hidden + tl.load(b1 + h).to(tl.float32)[None, :])
        updated = ()
        if EIGHT:
            scale = _scale_of(tl.max(tl.abs(hidden), 1))
            eighth = (hidden / scale[:, None]).to(tl.float8e4nv)
            for k in tl.static_range(DIM // CHUNK):
                w = tl.load(w2 + (k * CHUNK + c)[None, :] * HIDDEN + h[:, None])
                part = _dot(eighth, w, tl.zeros((ROWS, CHUNK), tl.float32))
                updated += (totals[k] + part * scale[:, None],)
        else:
            operand = hidden.to(x.dtype.element_ty)
            for k in tl.static_range(DIM // CHUNK):
                w = tl.load(w2 + (k * CHUNK + c)[None, :] * HIDDEN + h[:, None])
                updated += (_dot(operand, w, totals[k]),)
        totals = updated
    for k in tl.static_range(DIM // CHUNK):
        total = totals[k]
        if EIGHT:
            total *= tl.load(scale2 + k * CHUNK + c)[None, :]
        total += tl.load(b2 + k * CHUNK + c).to(tl.float32)[None, :]
        total += tl.load(x + at + k * CHUNK, inside, 0.0).to(tl.float32)  # loaded again, not kept in registers
        tl.store(out + at + k * CHUNK, total.to(out.dtype.element_ty), inside)


Sizes = dict[str, int]


def mix_configs() -> list[triton.Config]:
    """Tiles of a token product."""
    tiles = [(256, 64, 32, 8, 3), (256, 128, 32, 8, 3), (128, 128, 32, 8, 3), (128, 64, 64, 4, 3)]
    tiles += [(64, 128, 32, 4, 4), (64, 64, 32, 4, 4), (32, 32, 64, 4, 3)]  # for a single image, which has few tiles
    return [_config({"ROWS": r, "COLUMNS": c, "STEP": s}, warps, stages) for r, c, s, warps, stages in tiles]


def mlp_configs() -> list[triton.Config]:
    """Blocks of a channel MLP; `fitting` removes those that are too large for a width."""
    blocks = [(32, 32, 4, 1), (32, 32, 8, 1), (64, 64, 8, 1), (64, 64, 8, 2), (64, 32, 8, 3), (64, 16, 8, 2)]
    blocks += [(64, 16, 4, 2), (64, 32, 4, 2), (128, 16, 8, 3), (128, 32, 8, 2)]  # no spilling in the loop at 384
    return [_config({"ROWS": rows, "STEP": step}, warps, stages) for rows, step, warps, stages in blocks]


def _config(sizes: Sizes, warps: int, stages: int) -> triton.Config:
    return triton.Config(sizes, num_warps=warps, num_stages=stages)


def shared_bytes(dim: int, rows: int, step: int, stages: int, itemsize: int = 2) -> int:
    """Bytes of shared memory of a `channel_mlp` program: rows of x, and `stages` blocks of both weights."""
    return itemsize * dim * (rows + 2 * step * (stages if stages > 1 else 0)) + itemsize * 128 * step


def sums(dim: int, rows: int, step: int, warps: int, itemsize: int = 2) -> float:
    """Registers of a thread for sums: of the output, of a block of the hidden layer and, in 8 bits, of a chunk."""
    return rows * (dim + step + (chunk_of(dim) if itemsize == 1 else 0)) / (32 * warps)


def fitting(configs: list[triton.Config], arguments: dict[str, Any], **constants: Any) -> list[triton.Config]:
    """The configs with sums that fit the registers and operands that fit shared memory; the first if none fits."""
    values = arguments | constants
    dim, hidden, itemsize = values["DIM"], values["HIDDEN"], values["w1"].element_size()

    def fits(config: triton.Config) -> bool:
        block = (dim, config.kwargs["ROWS"], config.kwargs["STEP"])
        enough = shared_bytes(*block, config.num_stages, itemsize) <= SHARED
        possible = hidden % block[2] == 0 and itemsize * block[2] >= 32  # bytes that a product of tensor cores needs
        return enough and possible and sums(*block, config.num_warps, itemsize) <= REGISTERS

    return [config for config in configs if fits(config)] or configs[:1]


def _tuned(kernel: Any, configs: list[triton.Config], key: list[str], prune: Callable[..., Any] | None = None) -> Any:
    """The kernel, autotuned by measurement for each `key`. In the interpreter it has one small tile."""
    if isinstance(kernel, InterpretedFunction):
        small = dict.fromkeys(configs[0].kwargs, 16)
        return triton.autotune([triton.Config(small)], key=[])(kernel)
    return triton.autotune(configs, key, prune_configs_by={"early_config_prune": prune} if prune else None)(kernel)


_mix = _tuned(_token_mix_kernel, mix_configs(), ["tokens", "dim", "images"])
_mlp = _tuned(_channel_mlp_kernel, mlp_configs(), ["DIM", "HIDDEN", "EIGHT", "filled"], fitting)


def chunk_of(dim: int) -> int:
    """The largest power of two up to 128 that divides `dim`."""
    return min(dim & -dim, 128)


def fits_mlp(dim: int, hidden: int) -> bool:
    """Whether `channel_mlp` supports these widths: D up to 768, and both multiples of 32."""
    return dim <= MOST_DIM and dim % 32 == 0 and hidden % 32 == 0


def padded(weight: Tensor) -> Tensor:
    """N N -> N N', rows filled with zeros up to a multiple of 16, as `token_mix` requires."""
    return torch.nn.functional.pad(weight, (0, -weight.shape[1] % 16)).contiguous()


def eight_bits(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A weight as e4m3, with the float32 scale of each row."""
    scale = weight.float().abs().amax(dim=1).clamp(min=1e-12) / LARGEST.value
    return (weight.float() / scale[:, None]).to(FP8), scale


@torch.library.custom_op("resmlp::token_mix", mutates_args=())
def token_mix(x: Tensor, weight: Tensor, gain: Tensor | None, bias: Tensor | None) -> Tensor:
    """`x + gain * (A x) + bias`: B N D -> B N D; `weight` is `padded` A, `gain` D, `bias` D or N D; None: 1 and 0."""
    x, bias = x.contiguous(), None if bias is None else bias.contiguous()
    (batch, tokens, dim), out = x.shape, torch.empty_like(x)
    bias_row = dim if bias is not None and bias.ndim == 2 else 0

    def grid(sizes: Sizes) -> tuple[int]:
        return (batch * triton.cdiv(tokens, sizes["ROWS"]) * triton.cdiv(dim, sizes["COLUMNS"]),)

    arguments = (x, weight, x if gain is None else gain, x if bias is None else bias, out, tokens, dim)
    size = (weight.stride(0), bias_row, triton.next_power_of_2(batch))
    with torch.cuda.device_of(x):
        _mix[grid](*arguments, *size, GAIN=gain is not None, BIAS=bias is not None)
    return out


@torch.library.custom_op("resmlp::channel_mlp", mutates_args=())
def channel_mlp(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """`x + W2 gelu(W1 x + b1) + b2`: B N D -> B N D; W1 is hidden x D, W2 D x hidden. See `fits_mlp`."""
    return _launch_mlp(x, w1, b1, b1, w2, b2, b2)


@torch.library.custom_op("resmlp::channel_mlp8", mutates_args=())
def channel_mlp8(x: Tensor, w1: Tensor, scale1: Tensor, b1: Tensor, w2: Tensor, scale2: Tensor, b2: Tensor) -> Tensor:
    """As `channel_mlp`, with both products in e4m3; weights and scales are those of `eight_bits`."""
    return _launch_mlp(x, w1, scale1, b1, w2, scale2, b2)


def _launch_mlp(x: Tensor, w1: Tensor, scale1: Tensor, b1: Tensor, w2: Tensor, scale2: Tensor, b2: Tensor) -> Tensor:
    x = x.contiguous()
    (hidden, dim), out = w1.shape, torch.empty_like(x)
    rows = x.numel() // dim
    with torch.cuda.device_of(x):
        _mlp[lambda sizes: (triton.cdiv(rows, sizes["ROWS"]),)](
            x, w1, scale1, b1, w2, scale2, b2, out, rows, triton.next_power_of_2(rows),
            DIM=dim, HIDDEN=hidden, CHUNK=chunk_of(dim), EIGHT=w1.dtype == FP8,
        )  # fmt: skip
    return out


@token_mix.register_fake
@channel_mlp.register_fake
@channel_mlp8.register_fake
def _same_shape(x: Tensor, *others: Tensor | None) -> Tensor:
    return x.new_empty(x.shape)
