"""Linear layers on a CPU whose matrix is stored once in the layout of its products, in fp32, bf16 or int8."""

import warnings

import torch
from torch import Tensor, nn

from resmlp.config.precision import Precision
from resmlp.utils.hardware import cpu_flags

POINTWISE: dict[type, str] = {
    nn.Identity: "none",
    nn.GELU: "gelu",
    nn.ReLU: "relu",
    nn.SiLU: "swish",
    nn.Hardswish: "hardswish",
}
"""activation -> its name in oneDNN"""


def packed(linear: nn.Linear, act: nn.Module | None = None, precision: Precision = "fp32") -> nn.Module:
    """`act(linear(x))`, float32 to float32, in fp32 and bf16 by oneDNN if it supports the layer."""
    act = nn.Identity() if act is None else act
    if precision == "int8":
        return nn.Sequential(Int8Linear(linear), act)
    if not packable(linear.weight):
        return nn.Sequential(linear, act)
    return PackedLinear(linear, POINTWISE[type(act)], torch.bfloat16 if precision == "bf16" else torch.float32)


def packable(weight: Tensor) -> bool:
    """Whether oneDNN can store the matrix. Inductor uses the same operators; they have no public name."""
    has_onednn = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return has_onednn and weight.device.type == "cpu" and weight.dtype == torch.float32


class PackedLinear(nn.Module):
    """`act(W x + b)`, with W in the layout of oneDNN; x and W are rounded to `dtype`, sums are of 32 bits."""

    def __init__(self, linear: nn.Linear, act: str, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().to(dtype))
        self.bias = None if linear.bias is None else linear.bias.detach().to(dtype)
        self.act, self.dtype = act, dtype

    def forward(self, x: Tensor) -> Tensor:
        """... D_in -> ... D_out"""
        y = torch.ops.mkldnn._linear_pointwise(x.to(self.dtype), self.weight, self.bias, self.act, [], "none")
        return y.to(x.dtype)


class Int8Linear(nn.Module):
    """`W x + b` with W in 8 bits, one scale for each row, and x in 8 bits with one scale for each call."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        weight = linear.weight.detach().float()
        scales = (weight.abs().amax(1) / 127).clamp(min=torch.finfo(torch.float32).tiny).double()
        with warnings.catch_warnings():
            # deprecated (pytorch#184982) without a peer for few rows: oneDNN's qlinear takes 4 times as long for 4 rows
            warnings.simplefilter("ignore", UserWarning)
            zeros = torch.zeros(len(scales), dtype=torch.long)
            codes = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        torch.backends.quantized.engine = "x86" if "x86" in torch.backends.quantized.supported_engines else "qnnpack"
        self.weight = torch.ops.quantized.linear_prepack(codes, linear.bias)
        # without VNNI two products are added in 16 bits: with 7 bits of x the sum cannot saturate
        self.reduce_range = not cpu_flags() & {"avx512_vnni", "avx_vnni"}

    def forward(self, x: Tensor) -> Tensor:
        """... D_in -> ... D_out"""
        return torch.ops.quantized.linear_dynamic(x.float(), self.weight, self.reduce_range).to(x.dtype)
