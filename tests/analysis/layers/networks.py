"""Small networks to inspect."""

import torch

from resmlp.analysis.layers.anatomy import of_trunk
from resmlp.models import Trunk, create_model

GRID = (9, 11)
TOKENS = GRID[0] * GRID[1]
KERNEL = torch.tensor([[1.0, -2, 3], [-4, 5, -6], [7, -8, 9]])


def network(**changes) -> Trunk:
    """A small network with random scales, on a grid that is not square."""
    sizes = {"dim": 8, "depth": 3, "patch_size": 2, "img_size": (2 * GRID[0], 2 * GRID[1]), "num_classes": 2}
    return create_model("resmlp_s12", **sizes | changes).eval()


def mixers(trunk: Trunk) -> list:
    return [layer.mixer for layer in of_trunk(trunk).layers]


def noise(trunk: Trunk, count: int = 1) -> list[torch.Tensor]:
    return [torch.randn(3, *trunk.config.size) for _ in range(count)]
