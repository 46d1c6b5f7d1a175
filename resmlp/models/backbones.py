"""Backbones of segmenters: four maps of the features of an image, by a resmlp trunk or a timm network.

B images of H x W pixels, D channels, h x w positions of a map.
"""

from abc import ABC, abstractmethod
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from resmlp.config.model_json import SegmenterConfig
from resmlp.config.preprocessing import Preprocessing
from resmlp.models.resize import Size, resize, with_sizes_of
from resmlp.models.trunk import Trunk
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, did_you_mean

MAPS = 4


class Backbone(nn.Module, ABC):
    """`forward`: B 3 H W -> four maps B D h w, from the shallowest to the deepest layer."""

    channels: tuple[int, ...]
    """D of each map"""
    strides: tuple[int, ...]
    """pixels between the positions of each map"""

    @property
    def is_pyramid(self) -> bool:
        """Whether the maps have several resolutions, as in a convolutional network."""
        return len(set(self.strides)) > 1

    @abstractmethod
    def at(self, size: Size) -> "Backbone":
        """The backbone for images of `size` (height, width). Raises `UserError` for a size it does not support."""

    @abstractmethod
    def checkpoint_activations(self, on: bool) -> None:
        """Trade time for memory in training."""


class TrunkFeatures(Backbone):
    """The tokens after 1/4, 1/2, 3/4 and all layers of `trunk`, as maps without the class token.

    No norm follows the maps, also not the last one, as in BEiT and XCiT with UPerNet. Parts after the layers (the last
    norm, Class-MLP, the head) are removed from the trunk, since they would not be trained.
    """

    def __init__(self, trunk: Trunk):
        super().__init__()
        arch = trunk.config.architecture
        trunk.reset_classifier(0)
        trunk.blocks, trunk.norm = trunk.blocks[: arch.depth], nn.Identity()
        self.trunk, self.layers = trunk, quarters(arch.depth)
        self.channels, self.strides = (arch.dim,) * MAPS, (arch.patch_size,) * MAPS

    def forward(self, images: Tensor) -> list[Tensor]:
        """B 3 H W -> four maps B D h w"""
        _, outputs = self.trunk.forward_layers(images, self.layers)
        after = dict(zip(sorted(set(self.layers)), outputs))  # in a shallow trunk, a layer occurs twice
        return [self._as_map(after[layer]) for layer in self.layers]

    def _as_map(self, tokens: Tensor) -> Tensor:
        """B N D (B 1+N D) -> B D h w"""
        height, width = self.trunk.config.grid
        return tokens[:, -height * width :].transpose(1, 2).unflatten(2, (height, width))

    def at(self, size: Size) -> "TrunkFeatures":
        """The same trunk with its mixers on the grid of `size` (`resmlp.models.resize`); the rest is shared."""
        state, old = self.trunk.state_dict(), self.trunk.config.grid
        arch = with_sizes_of(state, self.trunk.config.architecture)
        config = replace(self.trunk.config, architecture=arch, size=size)
        with torch.device("meta"):
            moved = TrunkFeatures(Trunk(config))
        moved.trunk.load_state_dict(resize(state, arch, old, config.grid), assign=True)
        return moved.train(self.training)

    def checkpoint_activations(self, on: bool) -> None:
        """Trade time for memory in training."""
        self.trunk.checkpoint_activations = on


class TimmFeatures(Backbone):
    """Features of a timm network: the last four maps of a pyramid, or those after 1/4, 1/2, 3/4 and all layers.

    `name` may have a tag. With `pretrained`, its weights are loaded, with an interpolated positional embedding. Raises
    `UserError` for an unknown network, and for one without features in timm.
    """

    def __init__(self, name: str, size: Size, pretrained: bool = False):
        super().__init__()
        from timm.models import get_pretrained_cfg

        with torch.device("meta"):
            info = getattr(timm_network(name), "feature_info", [])
        levels = getattr(info, "info", info)
        few = f"timm's {name} has {len(levels)} levels of features"
        demand(len(levels) >= MAPS, few, "UPerNet reads four: use another network")
        chosen = [levels[i] for i in quarters(len(levels))]
        self.indices = quarters(len(levels))
        if len({level["reduction"] for level in levels}) > 1:
            chosen, self.indices = levels[-MAPS:], list(range(len(levels)))[-MAPS:]
        self.channels = tuple(level["num_chs"] for level in chosen)
        self.strides = tuple(level["reduction"] for level in chosen)
        self.name, self.fixed = name, bool(getattr(get_pretrained_cfg(name), "fixed_input_size", False))
        self._check(size)
        options = {"img_size": size} if self.fixed else {}
        self.net: Any = timm_network(
            name, pretrained, features_only=True, feature_cls="getter", out_indices=self.indices, **options
        )
        has_features = hasattr(self.net.model, "forward_intermediates")
        demand(has_features, f"timm has no features of {name}", "use another network")

    def forward(self, images: Tensor) -> list[Tensor]:
        """B 3 H W -> four maps B D h w"""
        return self.net(images)

    def at(self, size: Size) -> "TimmFeatures":
        """The same network for images of `size`, with a positional embedding interpolated by timm; all else is shared.

        The attention windows of Swin keep their size if the image is large enough.
        """
        self._check(size)
        other = deepcopy(self, {id(parameter): parameter for parameter in self.parameters()})
        if self.fixed:
            move = getattr(other.net.model, "set_input_size", None)
            if move is None:
                raise UserError(
                    f"timm's {self.name} has a fixed image size", "evaluate it by sliding windows of this size"
                )
            move(img_size=size, **swin_windows(other.net.model))
        return other

    def layers(self) -> dict[nn.Parameter, int]:
        """The layer of each parameter, from 0, by the groups of timm.

        Parts of the head, such as a last norm, are in the last layer. Raises `UserError` for a network
        without groups in timm.
        """
        from timm.models import group_parameters

        net = self.net.model
        grouped = hasattr(net, "group_matcher")
        demand(grouped, f"timm defines no layers of {self.name}", "omit --optim.layer-decay")
        layer = group_parameters(net, net.group_matcher(coarse=False), reverse=True)
        return {parameter: layer[name] for name, parameter in net.named_parameters()}

    def stem(self) -> set[nn.Parameter]:
        """The parameters of the first layer, such as the patch embedding; none for a network without groups in timm."""
        grouped = hasattr(self.net.model, "group_matcher")
        return {parameter for parameter, layer in self.layers().items() if layer == 0} if grouped else set()

    def checkpoint_activations(self, on: bool) -> None:
        """Trade time for memory in training. Raises `UserError` with BatchNorm, and if timm does not support it."""
        normed = any(isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d) for part in self.net.modules())
        twice = f"--run.checkpoint-activations would update the BatchNorm statistics of timm's {self.name} twice"
        demand(not (on and normed), twice, "omit it; --run.accumulate saves memory as well")
        try:
            self.net.model.set_grad_checkpointing(on)
        except AssertionError:
            what = f"--run.checkpoint-activations: timm's {self.name} does not support it"
            raise UserError(what, "omit it; --run.accumulate saves memory as well") from None

    def _check(self, size: Size) -> None:
        patch = self.strides[0]
        divides = self.is_pyramid or not (size[0] % patch or size[1] % patch)
        what = f"an image of {size[0]}x{size[1]} does not divide into patches of {patch}"
        demand(divides, what, f"use a multiple of {patch} for timm's {self.name}")


def quarters(depth: int) -> list[int]:
    """The last layers, from 0, of the four quarters of `depth`: 2 5 8 11 of 12."""
    return [-(-depth * part // MAPS) - 1 for part in range(1, MAPS + 1)]


def make_backbone(config: SegmenterConfig) -> Backbone:
    """The backbone of `config`, with random weights."""
    if config.trunk is not None:
        return TrunkFeatures(Trunk(config.trunk))
    return TimmFeatures(str(config.backbone), config.size)


def swin_windows(net: nn.Module) -> dict[str, Any]:
    """Arguments for `set_input_size` of a Swin that keep its attention windows, which otherwise grow with the image.

    Empty for any other network.
    """
    stages: Any = getattr(net, "layers", getattr(net, "stages", ()))
    windows = [stage.blocks[0].window_size for stage in stages if hasattr(stage.blocks[0], "window_size")]
    if not windows:
        return {}
    return {
        "window_size": windows if len(set(windows)) > 1 else windows[0]
    }  # older versions of timm take one for all stages


def timm_preprocessing(name: str) -> Preprocessing | None:
    """The preprocessing of the pretrained weights `name` of timm, but for the crop; None without a tag."""
    from timm.models import get_pretrained_cfg

    cfg: Any = None
    if "." in name:
        with suppress(RuntimeError):  # an unknown tag, which `timm_network` names
            cfg = get_pretrained_cfg(name)
    return cfg and Preprocessing(cfg.input_size[1:], 0.9, cfg.interpolation, cfg.mean, cfg.std)


def timm_network(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
    """`timm.create_model` for a known name, with or without a tag. Raises `UserError` if timm cannot build it."""
    import timm

    if not timm.is_model(name.split(".")[0]):
        raise UserError(f"timm has no model {name!r}", did_you_mean(name, timm.list_models()))
    try:
        return timm.create_model(name, pretrained=pretrained, **options)
    except (RuntimeError, OSError, TypeError) as error:  # some do not support features_only
        reason = str(error).splitlines()[0]
        raise UserError(f"timm cannot build {name}: {reason}", "check the tag, and the connection to the hub") from None
