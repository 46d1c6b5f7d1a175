"""A network of fixed size for views of two sizes, and DINO's loss.

B images, V views of each, K output dimensions. The views of all images are ordered by view: V*B.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmlp.models import Trunk
from resmlp.models.any_size import ResizedTrunk
from resmlp.models.resize import Size
from resmlp.nn.dino_head import ProjectionHead
from resmlp.nn.shared_masks import draw_rows


class Enlarge(nn.Module):
    """Resize small views to the size of the large ones, bicubic and antialiased."""

    def __init__(self, size: Size):
        super().__init__()
        self.size = size

    def forward(self, trunk: Trunk, views: Tensor) -> Tensor:
        """The trunk, and B 3 h w -> B D"""
        return trunk(F.interpolate(views.float(), self.size, mode="bicubic", antialias=True))


class Pad(nn.Module):
    """Put each small view at a random place of an empty image of the large size, of the mean color (0, normalized)."""

    def __init__(self, size: Size):
        super().__init__()
        self.size = size

    def forward(self, trunk: Trunk, views: Tensor) -> Tensor:
        """The trunk, and B 3 h w -> B D"""
        return trunk(self.canvas(views))

    def canvas(self, views: Tensor) -> Tensor:
        """B 3 h w -> B 3 H W; the random places are from the generator of the views' device."""
        count, _, *shape = views.shape
        rows, columns = (
            _starts(count, large - small + 1, views.device) + torch.arange(small, device=views.device)
            for large, small in zip(self.size, shape)
        )  # B h, B w
        canvas = views.new_zeros(count, views.shape[1], *self.size)
        index = torch.arange(count, device=views.device)[:, None, None]
        canvas[index, :, rows[:, :, None], columns[:, None, :]] = views.permute(0, 2, 3, 1)
        return canvas


def _starts(count: int, end: int, device: torch.device) -> Tensor:
    """Random numbers from 0 to `end` - 1: int64 B 1."""
    return draw_rows(lambda rows: torch.randint(end, (rows, 1), device=device), count)


LOCAL: dict[str, Callable[[Trunk, Size], nn.Module]] = {
    "resize": lambda trunk, size: Enlarge(trunk.config.size),
    "pad": lambda trunk, size: Pad(trunk.config.size),
    "interpolate": lambda trunk, size: ResizedTrunk(trunk.config, size),
}
"""--task.local-crops: from a trunk and the size of small views to the module that applies the trunk to them"""


class DinoNetwork(nn.Module):
    """A trunk and its projection head; the module `local`, if given, applies the trunk to small views."""

    def __init__(self, trunk: Trunk, head: ProjectionHead, local: nn.Module | None = None):
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.local = local

    def forward(self, large: Tensor, small: Tensor | None = None) -> Tensor:
        """2*B 3 H W, and (V-2)*B 3 h w if there are small views -> V*B K"""
        features = [self.trunk(large)]
        if small is not None and self.local is not None:
            features.append(self.local(self.trunk, small))
        return self.head(torch.cat(features))


def dino_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy over pairs of a view of the teacher and another view of the student (DINO, equation 3).

    `student` is the outputs V B K, `teacher` the probabilities T B K of the first T views. Returns a scalar in nats.
    """
    log_p = (student / temperature).log_softmax(-1)
    others = log_p.sum(0) - log_p[: len(teacher)]  # T B K: of all views but that of the teacher
    return -(teacher * others).sum(-1).mean() / (len(student) - 1)
