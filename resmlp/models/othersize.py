"""A trunk that also reads pictures of another size, with one set of parameters."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from resmlp.models.surgery import Change, Size, change, rule_of
from resmlp.models.trunk import Trunk, TrunkConfig


class OtherSize(nn.Module):
    """Runs the trunk of `config` on pictures of `size` (height, width), its token mixers moved to their grid.

    That happens by `surgery`'s matrices in each forward pass, from the trunk's present parameters, and gradients flow
    back to them: the linear mixer's A runs as U+ A U. This module has no parameters of its own and adds nothing to a
    checkpoint. Raises `UserError` for a size that does not divide into patches.
    """

    values: Tensor
    weights: Tensor

    def __init__(self, config: TrunkConfig, size: Size):
        super().__init__()
        arch = config.architecture
        if arch.mixer == "mlp":  # its hidden width stays that of the trunk
            arch = replace(arch, token_hidden=arch.token_hidden or 4 * math.prod(config.grid))
        with torch.device("meta"):
            shape = Trunk(replace(config, architecture=arch, size=size))
        self.shape = (shape,)  # in a tuple, its parameters are nobody's
        for name, matrix in change(config.grid, shape.config.grid)._asdict().items():
            self.register_buffer(name, matrix.float(), persistent=False)

    def forward(self, trunk: Trunk, images: Tensor) -> Tensor:
        """The trunk, and B 3 h w -> its features B D"""
        there = Change(self.values, self.weights)
        moved = {}
        with torch.autocast(images.device.type, enabled=False):  # in bf16 U+ A U would lose what A learns
            for key, tensor in (*trunk.named_parameters(), *trunk.named_buffers()):
                rule = rule_of(key)
                moved[key] = rule(tensor, there) if rule else tensor
        return functional_call(self.shape[0].train(trunk.training), moved, (images,))
