"""Bound the rounding error of a float32 computation against a float64 reference, on any processor.

Processors differ in the order of a sum, in fused multiply-adds and in the polynomial of an exponential, so a tolerance
measured on one processor may fail on another. The standard model of floating-point arithmetic holds on all of them
(N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, sections 2.2 and 3.1): an operation returns
the exact result times 1 + d, |d| <= u = 2^-24. The error of a sum of n products is then at most
gamma(n) (|a_1 b_1| + ... + |a_n b_n|) in any order, with gamma(n) = n u / (1 - n u).

A network is a sequence of such sums. To first order, an error e of an intermediate value z changes an output y by
(dy/dz) e. The error of y is therefore at most the sum over all z of |dy/dz| gamma(n) (|a_1 b_1| + ...), which a
backward pass in float64 computes. The bound lets no two errors cancel: processors stay about a hundred times below it,
and bfloat16, with a u 2^16 times as large, exceeds it. The bound does not detect a relative error of a thousandth in
one weight of a deep network; compare such networks in float64.
"""

import copy
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from resmlp.config.preprocessing import Preprocessing

SLACK = 2  # factor on the bound: covers the higher orders, and folded networks with larger intermediate values
EXP = 40  # roundings of one exponential: in torch's attention its error is 20 units in the last place
ELEMENTWISE = "add addcmul batch_norm div gelu hardswish mul silu sub"  # operations of at most 8 roundings
EXACT = (  # operations without rounding
    "cat double dropout embedding expand flatten get getitem masked_fill permute relu sort split stack to transpose "
    "tril unbind unflatten unsqueeze"
)


def gamma(n: int) -> float:
    """Higham's gamma(n) for float32: the bound on the relative error of n roundings."""
    return n * 2.0**-24 / (1 - n * 2.0**-24)


def rounding_bound(name: str, func: Callable[..., Tensor], output: Tensor, args: tuple, kwargs: dict) -> Tensor:
    """Bound on the error that one operation adds to its `output`, of the same shape.

    Raises:
        KeyError: The operation is not known. Add it to this function.
    """
    x, n = args[0], output.shape[-1]
    if name == "softmax":
        return gamma(n + 2 * EXP) * output
    if name == "log_softmax":
        return gamma(n + 2 * EXP) + gamma(8) * (x.abs() + output.abs())
    absolute = tree_map_only(Tensor, lambda y: y.abs() if y.is_floating_point() else y, (args, kwargs))
    (size, *others), kwargs = absolute
    if name == "layer_norm":  # the mean may be much larger than the differences from it
        scale = kwargs["weight"] / x.var(-1, correction=0, keepdim=True).sqrt()
        return gamma(2 * n + 8) * ((size + size.mean(-1, keepdim=True)) * scale + kwargs["bias"])
    if name == "batch_norm":  # the running mean is subtracted
        others[0] = -others[0]
    if name in ELEMENTWISE.split():
        roundings = 8
    else:
        roundings = {
            "linear": lambda: others[0].shape[-1] + 1,
            "conv2d": lambda: others[0][0].numel() + 1,
            "matmul": lambda: x.shape[-1],
            "mean": lambda: x.numel() // output.numel() + 1,
        }[name]()
    return gamma(roundings) * (torch.add if name == "sub" else func)(size, *others, **kwargs)


class RecordRounding(TorchFunctionMode):
    """Record the rounding bound of every float64 operation.

    A zero with a gradient is added to each output. Its gradient is the derivative by that intermediate value.
    """

    def __init__(self):
        super().__init__()
        self.zeros, self.bounds = [], []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name, kwargs = func.__name__.strip("_"), kwargs or {}
        if func is F.scaled_dot_product_attention:
            with self:  # records the operations inside
                return attention(*args, **kwargs)
        output = func(*args, **kwargs)
        if name in EXACT.split() or not isinstance(output, Tensor) or output.dtype != torch.float64:
            return output
        with torch.no_grad():
            self.bounds.append(rounding_bound(name, func, output, args, kwargs))
        self.zeros.append(torch.zeros_like(output, requires_grad=True))
        return output + self.zeros[-1]


def attention(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
    """Scaled dot-product attention in elementary operations."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril() if is_causal else attn_mask
    return (scores if mask is None else scores.masked_fill(~mask, -math.inf)).softmax(-1) @ v


def on_pixels(
    model: nn.Module, preprocessing: Preprocessing, last: Callable[[Tensor], Tensor] | None = None
) -> Callable[[Tensor], Tensor]:
    """Float64 function of pixels from 0 to 255 (B 3 H W): normalize, apply `model`, then `last`."""
    exact = copy.deepcopy(model).double()
    mean, std = (
        torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (preprocessing.mean, preprocessing.std)
    )

    def compute(pixels: Tensor) -> Tensor:
        outputs = exact((pixels / 255 - mean) / std)
        return outputs if last is None else last(outputs)

    return compute


@torch.enable_grad()
def assert_rounded(output: Tensor, compute: Callable[..., Tensor], *inputs: Tensor, worst: int = 3) -> None:
    """Assert that `output` equals `compute(*inputs)` up to float32 rounding.

    The reference is computed in float64. `compute` is a module (a float64 copy of it is made) or a function that
    computes in the precision of its inputs. The `worst` elements with the largest errors are each compared with their
    own bound. The bound must be small, otherwise the assertion would mean nothing.
    """
    exact = copy.deepcopy(compute).double() if isinstance(compute, nn.Module) else compute
    inputs = tuple(x.double() if x.is_floating_point() else x for x in inputs)
    with RecordRounding() as record:
        reference = exact(*inputs)
    assert output.shape == reference.shape
    errors, size = (output - reference).detach().abs().flatten(), reference.detach().abs().max()
    for i in errors.topk(min(worst, len(errors))).indices.tolist():
        slopes = torch.autograd.grad(reference.flatten()[i], record.zeros, retain_graph=True, materialize_grads=True)
        bound = SLACK * sum((slope.abs() * step).sum() for slope, step in zip(slopes, record.bounds))
        assert errors[i] <= bound, f"error {errors[i]:.1e} above the float32 bound {bound:.1e} (outputs to {size:.1e})"
        assert bound < 0.1 * size, f"float32 bound {bound:.1e} too large for outputs to {size:.1e}: use other inputs"
