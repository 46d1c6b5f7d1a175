"""The vision trunk: ResMLP, MLP-Mixer, the ablations and the attention baseline, which differ in their parts."""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
import torch.fx
from torch import Tensor, nn

from resmlp.config.model_json import TrunkConfig
from resmlp.nn import (
    ACTIVATIONS,
    HEADS,
    INITS,
    MIXERS,
    NORMS,
    SCALES,
    WIRINGS,
    Mlp,
    PatchEmbed,
    PositionalEmbedding,
)
from resmlp.nn.shared_masks import checkpointed
from resmlp.utils.errors import UserError

Make = Callable[[], nn.Module]


@torch.fx.wrap  # a traced image has no size
def check_size(images: Tensor, config: TrunkConfig) -> None:
    """Raise `UserError` for images B 3 H W of another size than that of the network."""
    height, width = config.size
    if images.shape[-2:] != (height, width):
        raise UserError(
            f"{config.name} was built for images of {height}x{width}, got {tuple(images.shape)}",
            f"resize them, or build it with img_size={tuple(images.shape[-2:])}",
        )


class Trunk(nn.Module):
    """Patches -> layers -> norm -> pool -> head.

    `forward` returns logits B K (features B D if `num_classes` is 0), `forward_features` the tokens B N D after the
    last norm. `checkpoint_activations = True` trades time for memory in training.
    """

    def __init__(self, config: TrunkConfig):
        super().__init__()
        arch, patches = config.architecture, math.prod(config.grid)
        head = HEADS[arch.pool]
        norm: Make = partial(NORMS[arch.norm], arch.dim)
        scale: Make = partial(SCALES[arch.scale], arch.dim, arch.initial_scale())
        residual = partial(WIRINGS[arch.residual], drop_path=config.drop_path)

        def channels() -> nn.Module:
            mlp = Mlp(arch.dim, int(arch.mlp_ratio * arch.dim), ACTIVATIONS[arch.activation])
            return residual(norm(), mlp, scale())

        def block() -> nn.Module:
            parts = OrderedDict[str, nn.Module]()
            if arch.mixer != "none":
                parts["tokens"] = residual(norm(), MIXERS[arch.mixer].build(config.grid, arch), scale())
            return nn.Sequential(parts | {"channels": channels()})

        self.config = config
        self.checkpoint_activations = False
        embed = OrderedDict[str, nn.Module](patches=PatchEmbed(arch.patch_size, arch.dim, arch.in_chans))
        embed |= (learned := head.tokens(arch.dim))
        if arch.pos_embed:
            embed["position"] = PositionalEmbedding(len(learned) + patches, arch.dim)
        self.embed = nn.Sequential(embed)
        self.blocks = nn.ModuleList(block() for _ in range(arch.depth))
        self.blocks.extend(head.layers(patches, arch.dim, norm, scale, channels))
        self.norm = norm()
        self.pool = head.pool()
        self.head: nn.Module = nn.Identity()
        self.apply(self._initialize)
        self.reset_classifier(config.num_classes)

    def forward_layers(self, images: Tensor, kept: list[int], stop: bool = False) -> tuple[Tensor, list[Tensor]]:
        """B 3 H W -> tokens B N D after the last layer, and B N D after each layer in `kept`, numbered from 0.

        With `stop`, the last layer in `kept` is the last one to run.
        """
        check_size(images, self.config)
        x = self.embed(images)
        outputs: list[Tensor] = []
        recompute = self.checkpoint_activations and self.training
        for i, block in enumerate(self.blocks[: max(kept) + 1] if stop else self.blocks):
            x = checkpointed(block, x) if recompute else block(x)
            if i in kept:
                outputs.append(x)
        return x, outputs

    def forward_features(self, images: Tensor) -> Tensor:
        """B 3 H W -> B N D (B 1+N D with a class token)"""
        return self.norm(self.forward_layers(images, [])[0])

    def forward_head(self, tokens: Tensor) -> Tensor:
        """B N D -> B K"""
        return self.head(self.pool(tokens))

    def forward(self, images: Tensor) -> Tensor:
        """B 3 H W -> B K"""
        return self.forward_head(self.forward_features(images))

    def reset_classifier(self, num_classes: int) -> None:
        """Make a new linear head for `num_classes`, or none for 0, so that the network returns features B D."""
        own, dim = next(self.parameters()), self.config.architecture.dim
        self.config = replace(self.config, num_classes=num_classes)
        linear = partial(nn.Linear, device=own.device, dtype=own.dtype)
        self.head = (linear(dim, num_classes) if num_classes else nn.Identity()).train(self.training)
        self._initialize(self.head)

    def _initialize(self, module: nn.Module) -> None:
        if next(self.parameters()).is_meta:  # without values; torch would take a second to load what draws them
            return
        INITS[self.config.architecture.init](module, self.config.grid)
