"""The two sublayers of the paper as single steps of autograd, which save memory and passes over the tokens in training.

The default autograd keeps about 14 N D numbers an image for the backward pass of a block; these steps keep 6. B images,
N tokens, D channels; `a`, `b` are alpha and beta of the Affine, `g` is gamma of LayerScale, `k` is the factor of
DropPath for each image.

Token sublayer (equation 2), `y = x + k g (A (a x + b) + c)`. Scales of channels commute with A, which mixes tokens, so
`u = (g a) x + g b` is computed before the product, and `y = x + k A u + k c g^T`. The backward pass, with y' the
gradient of y, `G = k A^T y'` and `R = sum_B k y'` (N D):

    x' = y' + (g a) G        A' = sum_B k y' u^T        c' = R g
    S = sum_BN G x           T = sum_BN G = R^T (A 1)
    a' = g S                 b' = g T                   g' = a S + b T + R^T c

It keeps x, N D, and computes u from it again.

Channel sublayer (equation 3), `y = x + k g (W2 h + c2)`, `h = gelu(p)`, `p = W1 (a x + b) + c1`. Both diagonals go into
the matrices, `V1 = W1 a` and `V2 = g W2`, without a pass over the tokens. With z = k y', R = sum_BN z,
`p' = gelu'(p) (V2^T z)` and P = sum_BN p', the products `Q2 = sum_BN z h^T` and `Q1 = sum_BN p' x^T` give the rest:

    x' = y' + V1^T p'        W1' = Q1 a + P b^T         c1' = P
    a' = sum_rows W1 Q1      b' = W1^T P
    W2' = g Q2               c2' = g R                  g' = sum_columns W2 Q2 + c2 R

It keeps x and p, 5 N D, and computes h from p again, in a hundredth of the time of the products.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from resmlp.nn.layers import Affine, DropPath, LayerScale, Mlp
from resmlp.nn.mixers import LinearMixer
from resmlp.utils.hardware import instruction_set

Gradients = tuple[Tensor | None, ...]

DTYPES = (torch.float32, torch.float64, torch.bfloat16)
"""not fp16: the `g a x` of a LayerScale that starts at 1e-4 would underflow"""


def applies(x: Tensor, norm: nn.Module, fn: nn.Module, scale: nn.Module, drop_path: nn.Module) -> bool:
    """Whether `step` can compute these parts: those of the paper, all trainable, without hooks.

    It cannot while a compiler or a tracer reads the network: these need the plain form, and fuse it themselves.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch._C._are_functorch_transforms_active():
        return False
    if type(x) is not Tensor or x.dim() != 3 or not x.numel() or not torch.is_grad_enabled():
        return False
    if (type(norm), type(scale), type(drop_path)) != (Affine, LayerScale, DropPath) or type(fn) not in STEPS:
        return False
    if isinstance(fn, Mlp):
        linear = type(fn.fc1) is type(fn.fc2) is nn.Linear
        if not (linear and type(fn.act) is nn.GELU and fn.act.approximate == "none"):
            return False
    watched = any(map(_is_watched, [norm, *fn.modules(), scale, drop_path]))
    return not (watched or nn.modules.module._has_any_global_hook()) and _are_plain(x, _parameters(norm, fn, scale))


def step(x: Tensor, norm: nn.Module, fn: nn.Module, scale: nn.Module, drop_path: Any) -> Tensor:
    """B N D, parts to which this `applies` -> B N D: `x + drop_path(scale(fn(norm(x))))`

    Under autocast the products have its dtype, and all else that of the parameters.
    """
    device, parameters = x.device.type, _parameters(norm, fn, scale)
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else parameters[0].dtype
    keep = drop_path.factors(len(x), parameters[0])
    with torch.autocast(device, enabled=False):  # the steps cast themselves, also in the backward pass
        return STEPS[type(fn)].apply(x.contiguous(), keep, dtype, *parameters)


def _parameters(norm: Any, fn: Any, scale: Any) -> list[Tensor]:
    """The parameters, in the order of the arguments of a step."""
    layers = [fn.fc1, fn.fc2] if isinstance(fn, Mlp) else [fn]
    return [norm.alpha, norm.beta, scale.gamma, *(part for layer in layers for part in (layer.weight, layer.bias))]


def _is_watched(module: nn.Module) -> bool:
    """Whether the module has hooks, or a `forward` of its own, which must be called."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, kind) for kind in hooks) or "forward" in vars(module)


def _are_plain(x: Tensor, parameters: Sequence[Any]) -> bool:
    """Whether all are trainable dense tensors on one device, with dtypes that `step` supports."""
    dtype, device = parameters[0].dtype, x.device
    if not torch.amp.is_autocast_available(device.type):  # as "meta"
        return False
    if torch.is_autocast_enabled(device.type):
        supported = dtype == torch.float32 and torch.get_autocast_dtype(device.type) == torch.bfloat16
        supported = supported and x.dtype in (torch.float32, torch.bfloat16)
    else:
        supported = x.dtype == dtype and dtype in DTYPES
    return (
        supported
        and x.requires_grad
        and all(
            type(part) in (Tensor, nn.Parameter)
            and part.requires_grad
            and part.dtype == dtype
            and part.device == device
            for part in parameters
        )
    )


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, base: Tensor | None = None) -> Tensor:
    """`x W' + bias + base`, for fp32 by oneDNN on a CPU with AVX-512: there MKL takes a tenth longer on an AMD.

    With AVX2 alone oneDNN takes a fifth longer (torch 2.15).
    """
    if x.device.type == "cpu" and x.dtype == torch.float32 and _PREFERS_ONEDNN:
        if base is None:
            return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return torch.ops.mkldnn._linear_pointwise.binary(x, base, weight, bias, "add")
    product = F.linear(x, weight, bias)
    if base is None:
        return product
    return product.add_(base) if product.dtype == base.dtype else base + product


_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
"""inductor uses the same operators; they have no public name"""
_PREFERS_ONEDNN = _HAS_ONEDNN and instruction_set("fp32") == "avx512f"


def _plain_tokens(x: Tensor, alpha: Tensor, beta: Tensor, gamma: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return gamma * F.linear(torch.addcmul(beta, alpha, x).transpose(1, 2), weight, bias).transpose(1, 2)


def _plain_channels(x: Tensor, alpha: Tensor, beta: Tensor, gamma: Tensor, *mlp: Tensor) -> Tensor:
    weight1, bias1, weight2, bias2 = mlp
    hidden = F.gelu(F.linear(torch.addcmul(beta, alpha, x), weight1, bias1))
    return gamma * F.linear(hidden, weight2, bias2)


def _backward_of(plain: Callable[..., Tensor]) -> Callable[..., Any]:
    """Turns the gradients of a step into its `backward`, which runs without autocast.

    For gradients of gradients, the graph of the plain form is used instead.
    """

    def wrap(gradients: Callable[[Any, Tensor], Gradients]) -> Callable[[Any, Tensor], Gradients]:
        def backward(ctx: Any, grad: Tensor) -> Gradients:
            if torch.is_grad_enabled():
                return _differentiable(ctx, grad, plain)
            with torch.autocast(grad.device.type, enabled=False):
                return gradients(ctx, grad.contiguous())

        return backward

    return wrap


def _differentiable(ctx: Any, grad: Tensor, plain: Callable[..., Tensor]) -> Gradients:
    x, keep, *others = ctx.saved_tensors
    inputs = [x, *others[: len(ctx.needs_input_grad) - 3]]
    with torch.autocast(x.device.type, ctx.dtype, enabled=ctx.dtype != inputs[1].dtype):
        branch = plain(*inputs)
        y = x + (branch if keep is None else keep * branch)
    d_x, *d_parameters = torch.autograd.grad(y, inputs, grad, create_graph=True)
    return d_x, None, None, *d_parameters


class _Tokens(Function):
    """Equation 2, as derived at the top of the file."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Tensor | None, dtype: torch.dtype, *parameters: Tensor) -> Tensor:
        alpha, beta, gamma, weight, bias = parameters
        ctx.save_for_backward(x, keep, *parameters)
        ctx.dtype = dtype
        u = torch.addcmul(gamma * beta, gamma * alpha, x).to(dtype)
        shift = torch.outer(bias, gamma)  # N D
        y = x + shift if keep is None else torch.addcmul(x, keep, shift)
        mix = _mix(weight, keep, len(x), dtype)
        return y.baddbmm_(mix, u) if y.dtype == dtype else y.add_(torch.bmm(mix, u))

    @staticmethod
    @_backward_of(_plain_tokens)
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        x, keep, alpha, beta, gamma, weight, bias = ctx.saved_tensors
        gain, offset = gamma * alpha, gamma * beta
        u = torch.addcmul(offset, gain, x).to(ctx.dtype)
        low = grad.to(ctx.dtype)
        products = torch.bmm(low, u.transpose(1, 2))  # B N N
        if keep is None:
            d_weight, received = products.sum(0).to(weight.dtype), grad.sum(0)
        else:
            d_weight, received = (keep * products).sum(0), torch.tensordot(keep.flatten(), grad, 1)
        del u, products
        sent = torch.bmm(_mix(weight, keep, len(x), ctx.dtype).transpose(1, 2), low)  # G
        d_x = torch.addcmul(grad, sent, gain)
        d_gain = (sent.mul_(x) if sent.dtype == x.dtype else sent * x).sum((0, 1))  # S
        d_offset = weight.sum(1) @ received  # T
        d_gamma = alpha * d_gain + beta * d_offset + bias @ received
        return d_x, None, None, gamma * d_gain, gamma * d_offset, d_gamma, d_weight, received @ gamma


class _Channels(Function):
    """Equation 3, as derived at the top of the file."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Tensor | None, dtype: torch.dtype, *parameters: Tensor) -> Tensor:
        alpha, beta, gamma, weight1, bias1, weight2, bias2 = parameters
        before = _linear(x.to(dtype), (weight1 * alpha).to(dtype), torch.addmv(bias1, weight1, beta).to(dtype))
        ctx.save_for_backward(x, keep, *parameters, before)
        ctx.dtype = dtype
        matrix, shift = (gamma.unsqueeze(1) * weight2).to(dtype), (gamma * bias2).to(dtype)
        hidden = F.gelu(before)
        if keep is None:
            return _linear(hidden, matrix, shift, x.to(gamma.dtype))
        return torch.addcmul(x, keep, _linear(hidden, matrix, shift))

    @staticmethod
    @_backward_of(_plain_channels)
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        x, keep, alpha, beta, gamma, weight1, bias1, weight2, bias2, before = ctx.saved_tensors
        kept = grad if keep is None else keep * grad
        received = kept.sum((0, 1))  # R
        kept, rows = kept.to(ctx.dtype), x.to(ctx.dtype).flatten(0, 1)
        outer = (kept.flatten(0, 1).T @ F.gelu(before).flatten(0, 1)).to(weight2.dtype)  # Q2
        d_gamma = (weight2 * outer).sum(1) + bias2 * received
        d_weight2 = outer.mul_(gamma.unsqueeze(1))
        inner = _linear(kept, (gamma.unsqueeze(1) * weight2).to(ctx.dtype).T)
        torch.ops.aten.gelu_backward.grad_input(inner, before, grad_input=inner)  # p', in place of V2' z
        d_bias1 = inner.sum((0, 1)).to(bias1.dtype)
        outer = (inner.flatten(0, 1).T @ rows).to(weight1.dtype)  # Q1
        d_alpha = (weight1 * outer).sum(0)
        d_weight1 = outer.mul_(alpha).addr_(d_bias1, beta)
        d_x = _linear(inner, (weight1 * alpha).to(ctx.dtype).T, base=grad)
        d_beta = d_bias1 @ weight1
        return d_x, None, None, d_alpha, d_beta, d_gamma, d_weight1, d_bias1, d_weight2, gamma * received


STEPS: dict[type[nn.Module], type[Function]] = {LinearMixer: _Tokens, Mlp: _Channels}


def _mix(weight: Tensor, keep: Tensor | None, images: int, dtype: torch.dtype) -> Tensor:
    """A of each image, times its factor: B N N"""
    return (weight if keep is None else keep * weight).to(dtype).expand(images, -1, -1)
