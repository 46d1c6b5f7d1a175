"""How one network of fixed size sees views of two sizes, and what is said of them.

B images, V views of each, K dimensions of the output. Views of all images are in order of the view: V*B.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmlp.models import Trunk
from resmlp.models.resize import ResizedTrunk, Size
from resmlp.nn.dino_head import ProjectionHead

Read = Callable[[Trunk, Tensor], Tensor]


class Enlarge(nn.Module):
    """Small views at the size of the large ones, bicubic; where that is smaller, antialiased."""

    def __init__(self, size: Size):
        super().__init__()
        self.size = size

    def forward(self, trunk: Trunk, views: Tensor) -> Tensor:
        """The trunk, and B 3 h w -> B D"""
        return trunk(F.interpolate(views.float(), self.size, mode="bicubic", antialias=True))


class Pad(nn.Module):
    """Each small view anywhere on a canvas of the large ones' size, of the mean color (0, when normalized)."""

    def __init__(self, size: Size):
        super().__init__()
        self.size = size

    def forward(self, trunk: Trunk, views: Tensor) -> Tensor:
        """The trunk, and B 3 h w -> B D"""
        return trunk(self.canvas(views))

    def canvas(self, views: Tensor) -> Tensor:
        """B 3 h w -> B 3 H W; places are drawn from the generator of the views' device."""
        count, _, *shape = views.shape
        rows, columns = (
            torch.randint(side - own + 1, (count, 1), device=views.device) + torch.arange(own, device=views.device)
            for side, own in zip(self.size, shape)
        )  # B h, B w
        canvas = views.new_zeros(count, views.shape[1], *self.size)
        every = torch.arange(count, device=views.device)[:, None, None]
        canvas[every, :, rows[:, :, None], columns[:, None, :]] = views.permute(0, 2, 3, 1)
        return canvas


LOCAL: dict[str, Callable[[Trunk, Size], nn.Module]] = {
    "resize": lambda trunk, size: Enlarge(trunk.config.size),
    "pad": lambda trunk, size: Pad(trunk.config.size),
    "interpolate": lambda trunk, size: ResizedTrunk(trunk.config, size),
}
"""--task.local-crops: from a trunk and the size of small views to what reads them with that trunk"""


class Viewer(nn.Module):
    """A trunk and its projection head; `local`, if given, has the trunk read small views."""

    def __init__(self, trunk: Trunk, head: ProjectionHead, local: nn.Module | None = None):
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.local = local

    def forward(self, large: Tensor, small: Tensor | None = None) -> Tensor:
        """2*B 3 H W, and (V-2)*B 3 h w where there are small views -> V*B K"""
        features = [self.trunk(large)]
        if small is not None and self.local is not None:
            features.append(self.local(self.trunk, small))
        return self.head(torch.cat(features))


def cross_views(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The mean cross-entropy over pairs of a teacher's view and another one of the student's (DINO, equation 3).

    `student` are outputs V B K, `teacher` probabilities T B K of the first T of these views; a scalar, in nats.
    """
    log_p = (student / temperature).log_softmax(-1)
    others = log_p.sum(0) - log_p[: len(teacher)]  # T B K: of all views but the teacher's own
    return -(teacher * others).sum(-1).mean() / (len(student) - 1)
