"""The interface of token mixers. `resmlp.nn.mixers` has the mixers, and the table that names them.

B images, N tokens, D channels.
"""

from collections.abc import Mapping
from typing import ClassVar, Self

from torch import Tensor, nn

from resmlp.config.vision import Architecture
from resmlp.nn.channel_scaling import Branch, Diagonal, fold_around
from resmlp.nn.grid_resampling import Grid, Rule


class TokenMixer(nn.Module):
    """The interface of a mixer. The defaults suit a mixer for any grid, without sizes of its own."""

    resize_rules: ClassVar[Mapping[str, Rule]] = {}
    """own parameters that are fixed to the grid, by name -> how each moves to another grid"""
    decayed: ClassVar[tuple[str, ...]] = ()
    """names of own parameters with weight decay, besides the `weight` of linear layers and convolutions"""

    @classmethod
    def build(cls, grid: Grid, arch: Architecture) -> Self:
        """The mixer for this grid and the sizes of this architecture."""
        return cls()

    @classmethod
    def sizes_of(cls, weights: Mapping[str, Tensor], arch: Architecture) -> Architecture:
        """`arch` with the sizes of `weights`, by own names, for sizes that `build` otherwise takes from the grid."""
        return arch

    def initialize_local(self, grid: Grid) -> bool:
        """Initialize as a local operation on the grid, in place (`init` local). False: `init` fan-in is used."""
        return False

    def fold(self, first: Diagonal, last: Diagonal) -> Branch:
        """`last(self(first(x)))` in as few passes over x as possible. This mixer cannot be used afterwards."""
        return fold_around(self, first, last)

    def lowered(self) -> nn.Module:
        """The mixer, after `fold`, in operations that all export formats have and that run fastest on a CPU."""
        return self

    def extra_macs(self, x: Tensor) -> int:
        """Multiply-adds of `forward` on x, B N D, other than torch's matrix products, convolutions and attention."""
        return 0
