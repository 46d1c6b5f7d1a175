"""The projection head of self-supervised training (DINO, section 3.1), which is dropped after training.

B views, D channels, K dimensions of the output.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from resmlp.nn.null_gradient import null_gradient


class UnitLinear(nn.Linear):
    """A linear layer without bias, with rows normalized to length 1: weight normalization with a fixed gain of 1.

    Rows are normalized in each forward pass. The weight_norm of torch keeps the result as an attribute, which breaks
    deepcopy and torch.compile (pytorch #104446).
    """

    def __init__(self, in_features: int, out_features: int):
        super().__init__(in_features, out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """B in -> B out"""
        return F.linear(x, F.normalize(self.weight, dim=1))


HEAD_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda dim: nn.Identity(),
    "batchnorm": partial(
        nn.BatchNorm1d, track_running_stats=False
    ),  # statistics of the batch, also in the teacher, as in DINO
}


class ProjectionHead(nn.Module):
    """A 3-layer MLP to a bottleneck, normalization to length 1, and a `UnitLinear`: K cosines.

    With `norm` "batchnorm" each hidden layer is normalized over the views of a part of a step.
    """

    def __init__(self, dim: int, hidden: int, bottleneck: int, out_dim: int, norm: str = "none"):
        super().__init__()
        make = HEAD_NORMS[norm]
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden),
            make(hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            make(hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        self.last = UnitLinear(bottleneck, out_dim)
        for layer, following in pairwise(self.mlp):
            if isinstance(layer, nn.Linear) and isinstance(following, nn.BatchNorm1d):
                null_gradient(layer.bias)  # the norm removes it
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """B D -> B K, in [-1, 1]"""
        return self.last(F.normalize(self.mlp(x).float(), dim=1))
