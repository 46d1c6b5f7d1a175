"""Other ways to move a trained network to another image size, without training: what `resmlp.models.at_size` is beside.

N tokens of the trained grid, M of the other one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from resmlp.models import Saved
from resmlp.models.at_size import at_size
from resmlp.models.resize import Size
from resmlp.nn.grid_resampling import Resampling, Rule, interpolation
from resmlp.nn.mixers import LinearMixer


def interpolated(saved: Saved, size: Size) -> Saved:
    """The network at another size, both sides of A interpolated and scaled: what others do."""
    return moved_by(plain, saved, size)


def moved_by(move, saved: Saved, size: Size) -> Saved:
    """The network at another size, with `move` in place of our rule for A."""
    rules = LinearMixer.resize_rules
    LinearMixer.resize_rules = rules | {"weight": Rule(move, rules["weight"].tokens)}
    try:
        return at_size(saved, size)
    finally:
        LinearMixer.resize_rules = rules


def plain(matrix: Tensor, r: Resampling) -> Tensor:
    """A N N -> M M: bicubic along the rows and the columns, by N / M so that sums stay."""
    sides = [sample(old, new) for old, new in zip(r.old, r.new)]
    both = torch.kron(*sides).to(matrix)
    return both @ matrix @ both.T * (matrix.shape[0] / len(both))


def sample(old: int, new: int) -> Tensor:
    """new x old: bicubic, also to fewer samples, without antialiasing."""
    if new >= old:
        return interpolation(old, new)
    eye = torch.eye(old, dtype=torch.float64)[:, None, None]
    return F.interpolate(eye, (1, new), mode="bicubic")[:, 0, 0].T
