"""BatchNorm with the statistics of all processes, on any device. B samples, C channels.

`torch.nn.SyncBatchNorm` works on GPUs only. Here the mean and the sum of squares of each process are computed around
its own mean and combined in float64 (Chan et al. 1979), so that the result is that of one process but for rounding.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from resmlp.nn.layers import TokenBatchNorm


def synchronize_batch_norm(network: nn.Module, device: torch.device) -> None:
    """Give each BatchNorm of `network` the statistics of all processes in training, in place: those of torch on CUDA.

    Subclasses of torch's BatchNorm with a forward pass of their own are not changed, except `TokenBatchNorm`.
    """
    for name, part in list(network.named_children()):
        kind: Any = SYNCHRONIZED.get(type(part))
        if kind is None:
            synchronize_batch_norm(part, device)
        elif device.type == "cuda" and kind is not SynchronizedTokenBatchNorm:
            setattr(network, name, nn.SyncBatchNorm.convert_sync_batchnorm(part))
        else:
            part.__class__ = kind  # keeps parameters, buffers and hooks


class _Synchronized(_BatchNorm):
    """The forward pass of a BatchNorm whose statistics are those of all processes."""

    def forward(self, x: Tensor) -> Tensor:
        """B C ... -> B C ..."""
        in_batch = self.training or self.running_mean is None
        if not in_batch or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(x)
        self._check_input_dim(x)  # type: ignore[no-untyped-call]
        result, mean, variance, count = _Normalize.apply(x, self.weight, self.bias, self.eps)
        if self.training and self.running_mean is not None:
            self._follow(mean, variance * (count / (count - 1)))
        return result

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics, as torch does; `variance` is unbiased."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


class SynchronizedBatchNorm1d(nn.BatchNorm1d, _Synchronized):
    """`nn.BatchNorm1d` over all processes."""


class SynchronizedBatchNorm2d(nn.BatchNorm2d, _Synchronized):
    """`nn.BatchNorm2d` over all processes."""


class SynchronizedTokenBatchNorm(TokenBatchNorm, SynchronizedBatchNorm1d):
    """`TokenBatchNorm` over all processes."""


SYNCHRONIZED: dict[type[nn.Module], type[_Synchronized]] = {
    nn.BatchNorm1d: SynchronizedBatchNorm1d,
    nn.BatchNorm2d: SynchronizedBatchNorm2d,
    TokenBatchNorm: SynchronizedTokenBatchNorm,
}


class _Normalize(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, with the statistics of all processes, and these."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, float]:
        """x B C ... -> the same shape; mean C and biased variance C in float64; the number of values of a channel."""
        mean, variance, count = moments(x)
        scale = (variance + eps).rsqrt()
        normalized = _normalized(x, mean, scale)
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.count, ctx.has_bias = count, bias is not None
        if weight is not None:
            normalized = normalized * _broadcast(weight, x)
        if bias is not None:
            normalized = normalized + _broadcast(bias, x)
        ctx.mark_non_differentiable(mean, variance)
        return normalized.to(x.dtype), mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        """The gradients of x, of weight and of bias; the last two of this process alone, as of other layers."""
        x, weight, mean, scale = ctx.saved_tensors
        normalized, gradient = _normalized(x, mean, scale), gradient.to(_computed(x.dtype))
        others = _others(x)
        own = torch.stack(
            [gradient.sum(others, dtype=torch.float64), (gradient * normalized).sum(others, dtype=torch.float64)]
        )
        means = own.clone()
        dist.all_reduce(means)
        means /= ctx.count
        result = gradient - _broadcast(means[0], x) - normalized * _broadcast(means[1], x)
        result = result * _broadcast(scale if weight is None else scale * weight, x)
        of_weight = None if weight is None else own[1].to(weight.dtype)
        of_bias = own[0].to(_computed(x.dtype)) if ctx.has_bias else None
        return result.to(x.dtype), of_weight, of_bias, None


def moments(x: Tensor) -> tuple[Tensor, Tensor, float]:
    """The mean C and the biased variance C in float64, and the number of values, of x B C ... over all processes."""
    others, values = _others(x), x.to(_computed(x.dtype))
    count = float(x.numel() // x.shape[1])
    near = values.mean(others)
    centered = values - _broadcast(near, x)
    rest = centered.sum(others, dtype=torch.float64)  # the mean was rounded
    squares = centered.square().sum(others, dtype=torch.float64) - rest.square() / count
    own = torch.stack([torch.full_like(rest, count), near + rest / count, squares])
    every = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(every, own)
    counts, means, squares = torch.stack(every).unbind(1)  # processes x C each
    total = counts.sum(0)
    mean = (counts * means).sum(0) / total
    variance = (squares + counts * (means - mean).square()).sum(0) / total
    return mean, variance, float(total[0])


def _computed(dtype: torch.dtype) -> torch.dtype:
    """The type to compute in: at least float32."""
    return torch.promote_types(dtype, torch.float32)


def _others(x: Tensor) -> list[int]:
    """All dimensions but that of the channels."""
    return [dim for dim in range(x.dim()) if dim != 1]


def _broadcast(values: Tensor, x: Tensor) -> Tensor:
    """C -> 1 C 1 ..., in the type to compute x B C ... in"""
    return values.to(_computed(x.dtype)).view(1, -1, *[1] * (x.dim() - 2))


def _normalized(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return (x - _broadcast(mean, x)) * _broadcast(scale, x)
