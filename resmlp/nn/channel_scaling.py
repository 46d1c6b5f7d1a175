"""Scales and shifts of channels, folded into the products next to them: the algebra of `resmlp.models.folding`.

`D(x) = a x + b` for each channel folds into a matrix over the channels before or after it. A matrix over the tokens is
the same for every channel and cannot take it: there `D2(A D1(x) + c)` becomes `s * (A x) + M`, with s of each
channel and M of each token and channel. M is the output of the branch for zeros. That holds for every mixer that is
linear in x, also for a convolution at the border.

B images, N tokens, D channels.
"""

from typing import NamedTuple

from torch import Tensor, nn

from resmlp.nn.layers import Affine


class Diagonal(NamedTuple):
    """`gain * x + bias` for each channel, D each."""

    gain: Tensor
    bias: Tensor

    def after(self, first: "Diagonal") -> "Diagonal":
        """`first`, then this."""
        return Diagonal(self.gain * first.gain, self.gain * first.bias + self.bias)

    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        return bool((self.gain == 1).all() & (self.bias == 0).all())

    def affine(self) -> Affine:
        """The Affine of these values."""
        affine = Affine(len(self.gain)).requires_grad_(False)
        affine.alpha.data, affine.beta.data = self
        return affine


class Branch(NamedTuple):
    """A folded branch: `gain * fn(x) + bias`."""

    fn: nn.Module
    gain: Tensor | None = None
    """D; None: 1"""
    bias: Tensor | None = None
    """D, or N D; None: 0"""


def linear_of(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """The linear layer of these tensors."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear


def fold_before(first: Diagonal, linear: nn.Linear) -> nn.Linear:
    """W (a x + b) + c as one layer: W diag(a) and W b + c."""
    bias = linear.weight @ first.bias
    return linear_of(linear.weight * first.gain, bias if linear.bias is None else bias + linear.bias)


def fold_after(linear: nn.Linear, last: Diagonal) -> nn.Linear:
    """a (W x + c) + b as one layer: diag(a) W and a c + b."""
    return linear_of(last.gain.unsqueeze(1) * linear.weight, last.gain * linear.bias + last.bias)


def fold_ends(fn: nn.Module, enter: str, leave: str, first: Diagonal, last: Diagonal) -> Branch:
    """`last(fn(first(x)))`, into two linear layers over channels: the one that reads the input, the one that writes."""
    setattr(fn, enter, fold_before(first, fn.get_submodule(enter)))  # type: ignore[arg-type]
    setattr(fn, leave, fold_after(fn.get_submodule(leave), last))  # type: ignore[arg-type]
    return Branch(fn)


def fold_matrix(fn: nn.Linear, first: Diagonal, last: Diagonal) -> Branch:
    """`last(fn(first(x)))` of a matrix over tokens: `s * (A x) + M`."""
    bias = of_zeros(fn, first, last, fn.in_features)
    fn.bias = None  # type: ignore[assignment]
    return Branch(fn, last.gain * first.gain, bias)


def fold_around(fn: nn.Module, first: Diagonal, last: Diagonal) -> Branch:
    """`last(fn(first(x)))` where `fn` takes neither in, as an MLP over tokens with its activation: both stay.

    `first` does not move behind the first matrix: there it would act on the hidden layer, larger than the input.
    """
    if first.is_identity():
        return Branch(fn, last.gain, last.bias)
    return Branch(nn.Sequential(first.affine(), fn), last.gain, last.bias)


def of_zeros(fn: nn.Module, first: Diagonal, last: Diagonal, tokens: int) -> Tensor:
    """The output of a branch for zeros, which is its constant part: N D."""
    return last.gain * fn(first.bias.expand(1, tokens, -1))[0] + last.bias
