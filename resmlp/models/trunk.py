"""The vision trunk: ResMLP, MLP-Mixer, the ablations and the attention baseline are all this, with other parts."""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from resmlp.architectures import Architecture
from resmlp.checks import BELOW_ONE, check_range
from resmlp.errors import UserError
from resmlp.nn import (
    ACTIVATIONS,
    INITS,
    MIXERS,
    NORMS,
    SCALES,
    WIRINGS,
    ClassMlp,
    ClassToken,
    FirstToken,
    MeanPool,
    Mlp,
    PatchEmbed,
    PositionalEmbedding,
)

Make = Callable[[], nn.Module]


@dataclass(frozen=True)
class TrunkConfig:
    """All that is needed to build the same network again; stored beside its weights."""

    name: str
    architecture: Architecture
    size: tuple[int, int] = (224, 224)
    """(height, width) of the input in pixels"""
    num_classes: int = 1000
    """0: features, no classifier"""
    drop_path: float = 0.0

    def __post_init__(self):
        check_range("", self, size=(1, 2**15), num_classes=(0, 2**24), drop_path=(0, BELOW_ONE))

    @property
    def grid(self) -> tuple[int, int]:
        """Tokens (down, across)."""
        patch = self.architecture.patch_size
        if self.size[0] % patch or self.size[1] % patch or min(self.size) < patch:
            raise UserError(
                f"a picture of {self.size[0]}x{self.size[1]} does not divide into patches of {patch}",
                f"give {self.name} an img_size that is a multiple of {patch}",
            )
        return (self.size[0] // patch, self.size[1] // patch)


class Trunk(nn.Module):
    """Patches -> layers -> norm -> pool -> head.

    `forward` gives logits B K (features B D where `num_classes` is 0), `forward_features` the tokens B N D after the
    last norm, and `checkpoint_activations = True` trades time for memory in training.
    """

    def __init__(self, config: TrunkConfig):
        super().__init__()
        arch, tokens = config.architecture, math.prod(config.grid)
        norm: Make = partial(NORMS[arch.norm], arch.dim)
        scale: Make = partial(SCALES[arch.scale], arch.dim, arch.initial_scale())
        residual = partial(WIRINGS[arch.residual], drop_path=config.drop_path)

        def channels() -> nn.Module:
            mlp = Mlp(arch.dim, int(arch.mlp_ratio * arch.dim), ACTIVATIONS[arch.activation])
            return residual(norm(), mlp, scale())

        def block() -> nn.Module:
            mixing = arch.mixer != "none"
            tokens = {"tokens": residual(norm(), MIXERS[arch.mixer](config.grid, arch), scale())} if mixing else {}
            return nn.Sequential(OrderedDict(**tokens, channels=channels()))

        self.config = config
        self.checkpoint_activations = False
        self.embed = nn.Sequential(OrderedDict(patches=PatchEmbed(arch.patch_size, arch.dim)))
        if arch.pool == "classtoken":
            self.embed.add_module("cls", ClassToken(arch.dim))
            tokens += 1
        if arch.pos_embed:
            self.embed.add_module("position", PositionalEmbedding(tokens, arch.dim))
        self.blocks = nn.ModuleList(block() for _ in range(arch.depth))
        if arch.pool == "classmlp":
            self.blocks.append(ClassMlp(tokens, arch.dim, norm, scale, channels))
        self.norm = norm()
        self.pool = MeanPool() if arch.pool == "mean" else FirstToken()
        self.head: nn.Module = nn.Identity()
        self.apply(self._initialise)
        self.reset_classifier(config.num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """B 3 H W -> B N D (B 1+N D with a class token)"""
        height, width = self.config.size
        if images.shape[-2:] != (height, width):
            raise UserError(
                f"{self.config.name} was built for pictures of {height}x{width}, got {tuple(images.shape)}",
                f"resize them, or build it with img_size={tuple(images.shape[-2:])}",
            )
        x = self.embed(images)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.checkpoint_activations and self.training else block(x)
        return self.norm(x)

    def forward_head(self, tokens: Tensor) -> Tensor:
        """B N D -> B K"""
        return self.head(self.pool(tokens))

    def forward(self, images: Tensor) -> Tensor:
        """B 3 H W -> B K"""
        return self.forward_head(self.forward_features(images))

    def reset_classifier(self, num_classes: int) -> None:
        """A new linear head for `num_classes`, or none for 0: the network then gives features B D."""
        dim = self.config.architecture.dim
        self.config = replace(self.config, num_classes=num_classes)
        self.head = nn.Linear(dim, num_classes) if num_classes else nn.Identity()
        self._initialise(self.head)

    def _initialise(self, module: nn.Module) -> None:
        INITS[self.config.architecture.init](module, self.config.grid)
