"""GPTQ: weights are rounded or removed one column after the other, and later columns compensate for the error.

The error of a product W x, W of R rows and C columns, over inputs X is `tr((W - Q) H (W - Q)^T)` with H = X^T X. After
column j of W is replaced by that of Q, the optimal change of the later columns has a closed form in the inverse of H
(optimal brain surgeon, Hassibi and Stork 1993). In one fixed order, the Cholesky factor of the inverse gives all
changes (GPTQ, Frantar et al. 2023; SparseGPT by the same authors for weights that are removed).
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

DAMPING = 0.01
"""added to the diagonal of H, as a share of its mean: without it, dependent inputs make H singular"""

Round = Callable[[Tensor, int], Tensor]
"""column of W, R, and its number -> the column of Q, R"""


class Moments(TorchFunctionMode):
    """While it is entered, sums `X^T X`, C C, of the inputs of each weight, by its name.

    It intercepts `F.linear` and `F.conv2d`, which all modules call for products with weights.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.names = {id(parameter): name for name, parameter in model.named_parameters()}
        self.sums: dict[str, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Add the inputs of a call, then run it."""
        kwargs = kwargs or {}
        if func in (F.linear, F.conv2d) and len(args) > 1 and (name := self.names.get(id(args[1]))):
            with torch.no_grad():
                inputs = args[0].flatten(0, -2) if func is F.linear else _columns(*args, **kwargs)
                if inputs is not None:
                    self.sums[name] = self.sums.get(name, 0) + inputs.T @ inputs
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
    """The inputs of a convolution as rows of a matrix product; None for several groups, which have separate inputs."""
    if groups > 1 or isinstance(padding, str):
        return None
    parts = F.unfold(images, weight.shape[2:], dilation, padding, stride)  # B C positions
    return parts.transpose(1, 2).flatten(0, 1)


@torch.no_grad()
def moments(model: nn.Module, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """`X^T X` of the inputs of each weight of `model` over `batches`, B 3 H W each; on the CPU."""
    with Moments(model) as moments:
        for images in batches:
            model(images)
    return {name: moment.cpu() for name, moment in moments.sums.items()}


def compensated(weight: Tensor, moment: Tensor, round_column: Round) -> Tensor:
    """Q for W, R C, and H, C C: `round_column` is called once for each column, that of the largest inputs first."""
    moment = moment.double()
    diagonal = moment.diagonal()
    order = diagonal.argsort(descending=True)
    damped = moment + torch.diag(torch.full_like(diagonal, DAMPING * diagonal.mean().item() or 1.0))
    inverse = torch.linalg.inv(damped[order][:, order])
    factor = torch.linalg.cholesky(inverse, upper=True).to(weight.dtype)
    left = weight.T[order].contiguous()  # C R: columns are read and written one at a time
    result = torch.empty_like(left)
    for i, column in enumerate(order.tolist()):
        result[i] = round_column(left[i], column)
        error = (left[i] - result[i]) / factor[i, i]
        left[i + 1 :].addr_(factor[i, i + 1 :], error, alpha=-1)
    return result[order.argsort()].T.contiguous()
