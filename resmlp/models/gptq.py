"""Weights that are rounded or left out one column after the other, those that follow taking up what is lost.

Of a product W x, W of R rows and C columns, the error over inputs X is `tr((W - Q) H (W - Q)^T)` with H = X^T X. When
column j of W becomes that of Q, the least error is reached by moving the columns that are left by a closed form in
the inverse of H (optimal brain surgeon, Hassibi and Stork 1993); in one fixed order its Cholesky factor has all that is
needed (GPTQ, Frantar et al. 2023, and SparseGPT by the same authors for weights that are left out).
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

DAMPING = 0.01
"""added to the diagonal of H, as a share of its mean: inputs that depend on each other leave it without an inverse"""

Round = Callable[[Tensor, int], Tensor]
"""column R of W, its number -> the same column of Q"""


class Moments(TorchFunctionMode):
    """While it is entered, sums `X^T X` for each weight that is multiplied with: by its name, C C.

    It watches the two functions that all products of weights go through, whatever module calls them.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.names = {id(parameter): name for name, parameter in model.named_parameters()}
        self.found: dict[str, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Sees a call, and lets it go on."""
        kwargs = kwargs or {}
        if func in (F.linear, F.conv2d) and len(args) > 1 and (name := self.names.get(id(args[1]))):
            with torch.no_grad():
                inputs = args[0].flatten(0, -2) if func is F.linear else _columns(*args, **kwargs)
                if inputs is not None:
                    self.found[name] = self.found.get(name, 0) + inputs.T @ inputs
        return func(*args, **kwargs)


def _columns(
    images: Tensor,
    weight: Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    """The rows that a convolution is a product of; None where each group has its own."""
    if groups > 1 or isinstance(padding, str):
        return None
    parts = F.unfold(images, weight.shape[2:], dilation, padding, stride)  # B C places
    return parts.transpose(1, 2).flatten(0, 1)


@torch.no_grad()
def moments(model: nn.Module, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """`X^T X` of the inputs of each weight of `model` while it sees `batches`, B 3 H W each; on the CPU."""
    with Moments(model) as seen:
        for images in batches:
            model(images)
    return {name: moment.cpu() for name, moment in seen.found.items()}


def rounded(weight: Tensor, moment: Tensor, round_column: Round) -> Tensor:
    """Q for W, R C, and H, C C: `round_column` is asked for each column once, that of the largest inputs first."""
    moment = moment.double()
    diagonal = moment.diagonal()
    order = diagonal.argsort(descending=True)
    damped = moment + torch.diag(torch.full_like(diagonal, DAMPING * diagonal.mean().item() or 1.0))
    inverse = torch.linalg.inv(damped[order][:, order])
    factor = torch.linalg.cholesky(inverse, upper=True).to(weight.dtype)
    left = weight.T[order].contiguous()  # C R: a column at a time is read and written
    result = torch.empty_like(left)
    for i, column in enumerate(order.tolist()):
        result[i] = round_column(left[i], column)
        error = (left[i] - result[i]) / factor[i, i]
        left[i + 1 :].addr_(factor[i, i + 1 :], error, alpha=-1)
    return result[order.argsort()].T.contiguous()
