"""One set of parameters for images of several sizes: moved to the grid of the images in each forward pass.

Gradients flow through the step to the parameters, which keep their own grid: for smaller images, A of the linear mixer
runs as U+ A U (`resmlp.nn.grid_resampling`). A step always starts from the own grid, never from another step.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from resmlp.config.model_json import TrunkConfig
from resmlp.models.resize import Size, mixer_of, rule_of
from resmlp.models.trunk import Trunk
from resmlp.nn.grid_resampling import Resampling, resampling
from resmlp.utils.errors import UserError


class Kept:
    """Parameters that were moved, and what they were moved from."""

    def __init__(self, own: dict[str, Tensor], moved: dict[str, Tensor]):
        self.own, self.moved = [(tensor, tensor._version, tensor.dtype) for tensor in own.values()], moved

    def is_of(self, own: dict[str, Tensor]) -> bool:
        """Whether these are the same tensors, and nothing wrote into them."""
        return len(own) == len(self.own) and all(
            tensor is before and tensor._version == version and tensor.dtype == dtype
            for tensor, (before, version, dtype) in zip(own.values(), self.own)
        )


class ResizedTrunk(nn.Module):
    """Runs a trunk of `config` on images of `size` (height, width), with its parameters moved to their grid.

    Without gradients the moved parameters are kept until one of the trunk's changes. This module has no parameters and
    adds nothing to a checkpoint. Raises `UserError` for a size that does not divide into patches.
    """

    values: Tensor
    weights: Tensor

    def __init__(self, config: TrunkConfig, size: Size):
        super().__init__()
        with torch.device("meta"):
            mixer = mixer_of(config.architecture).build(config.grid, config.architecture)
            arch = mixer.sizes_of(mixer.state_dict(), config.architecture)
            trunk = Trunk(replace(config, architecture=arch, size=size))
        self.trunk = (trunk,)  # in a tuple, its parameters are not registered
        self.old, self.new, values, weights = resampling(config.grid, trunk.config.grid)
        self.keys = {key for key, _ in (*trunk.named_parameters(), *trunk.named_buffers())}
        self._kept: Kept | None = None
        self.register_buffer("values", values.float(), persistent=False)
        self.register_buffer("weights", weights.float(), persistent=False)

    def forward(self, trunk: Trunk, images: Tensor) -> Tensor:
        """The trunk, images B 3 h w -> features B D, or logits B K"""
        (shape,) = self.trunk
        return functional_call(shape.train(trunk.training), self._parameters_of(trunk), (images,))

    def _parameters_of(self, trunk: Trunk) -> dict[str, Tensor]:
        """The parameters and buffers of the trunk, moved; kept where no gradient is needed."""
        own = {key: tensor for key, tensor in (*trunk.named_parameters(), *trunk.named_buffers()) if key in self.keys}
        if torch.is_grad_enabled():
            return self._moved(own, trunk)
        if self._kept is None or not self._kept.is_of(own):
            self._kept = Kept(own, self._moved(own, trunk))
        return self._kept.moved

    def _moved(self, own: dict[str, Tensor], trunk: Trunk) -> dict[str, Tensor]:
        arch, moved = trunk.config.architecture, {}
        device = next(iter(own.values())).device
        r = Resampling(self.old, self.new, self.values, self.weights)
        with torch.autocast(device.type, enabled=False):  # in bf16, U+ A U would lose small changes of A
            for key, tensor in own.items():
                rule = rule_of(key, arch)
                moved[key] = rule.move(tensor, r) if rule else tensor
        return moved


class AnySizeTrunk(Trunk):
    """A trunk that also takes images of `sizes` (height, width); its parameters and its checkpoint are a trunk's.

    Only `forward` takes them. Raises `UserError` for a size that does not divide into patches, and in `forward` for
    images of a size that is not among them.
    """

    def __init__(self, config: TrunkConfig, sizes: Iterable[Size]):
        super().__init__(config)
        others = dict.fromkeys(size for size in sizes if size != config.size)
        self.sizes = nn.ModuleDict({_name(size): ResizedTrunk(config, size) for size in others})

    def forward(self, images: Tensor) -> Tensor:
        """B 3 h w of one of the sizes -> B K"""
        size = tuple(images.shape[-2:])
        if size == self.config.size:
            return super().forward(images)
        if _name(size) not in self.sizes:
            known = ", ".join([_name(self.config.size), *self.sizes])
            raise UserError(f"images of {_name(size)} for a network of {known}", "resize them")
        return self.sizes[_name(size)](self, images)


def _name(size: Sequence[int]) -> str:
    return "x".join(map(str, size))
