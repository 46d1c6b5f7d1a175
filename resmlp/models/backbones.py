"""What a segmenter sees with: four maps of an image's features, of a trunk of ours or of any network of timm's.

B images of H x W pixels, D channels, h x w positions of a map.
"""

from abc import ABC, abstractmethod
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from resmlp.config.model_config import SegmenterConfig
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
        """Whether the maps are of several resolutions, as a convolutional network's."""
        return len(set(self.strides)) > 1

    @abstractmethod
    def at(self, size: Size) -> "Backbone":
        """The same for images of `size` (height, width). Raises `UserError` where it cannot be."""

    @abstractmethod
    def checkpoint_activations(self, on: bool) -> None:
        """Trade time for memory in training."""


class TrunkFeatures(Backbone):
    """The tokens after 1/4, 1/2, 3/4 and all layers of `trunk`, as maps, the class token left out.

    No norm follows any of them, the last one included: so BEiT and XCiT feed UPerNet. What comes after the layers (the
    last norm, Class-MLP, the head) is taken off the trunk, since nothing would train it.
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
        after = dict(zip(sorted(set(self.layers)), outputs))  # a shallow trunk gives one layer's twice
        return [self._as_map(after[layer]) for layer in self.layers]

    def _as_map(self, tokens: Tensor) -> Tensor:
        """B N D (B 1+N D) -> B D h w"""
        height, width = self.trunk.config.grid
        return tokens[:, -height * width :].transpose(1, 2).unflatten(2, (height, width))

    def at(self, size: Size) -> "TrunkFeatures":
        """The same trunk with its mixers moved to the grid of `size` (`resmlp.models.resize`); the rest is shared."""
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
    """The same of a network of timm's: the last four of a pyramid's maps, or those of the four quarters of its layers.

    `name` may have a tag; with `pretrained` its weights are loaded, the positional embedding interpolated. Raises
    `UserError` for a network that timm does not have or whose features it does not give.
    """

    def __init__(self, name: str, size: Size, pretrained: bool = False):
        super().__init__()
        from timm.models import get_pretrained_cfg

        with torch.device("meta"):
            info = getattr(timm_network(name), "feature_info", [])
        levels = getattr(info, "info", info)
        few = f"timm's {name} has {len(levels)} levels of features"
        demand(len(levels) >= MAPS, few, "UPerNet reads four: take another network")
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
        there = hasattr(self.net.model, "forward_intermediates")
        demand(there, f"timm gives no features of {name}", "take another network")

    def forward(self, images: Tensor) -> list[Tensor]:
        """B 3 H W -> four maps B D h w"""
        return self.net(images)

    def at(self, size: Size) -> "TimmFeatures":
        """The same for images of `size`; a positional embedding is interpolated, by timm, and the rest is shared.

        Swin's windows of attention stay as they are where the image has room for them.
        """
        self._check(size)
        other = deepcopy(self, {id(parameter): parameter for parameter in self.parameters()})
        if self.fixed:
            move = getattr(other.net.model, "set_input_size", None)
            if move is None:
                raise UserError(f"timm's {self.name} is fixed to its window", "test it by windows of that size")
            move(img_size=size, **swin_windows(other.net.model))
        return other

    def layers(self) -> dict[nn.Parameter, int]:
        """Each parameter's layer, from 0, as timm groups them. Raises `UserError` for a network that it does not group.

        What timm takes for a head, such as a norm at the end, is in the last.
        """
        from timm.models import group_parameters

        net = self.net.model
        grouped = hasattr(net, "group_matcher")
        demand(grouped, f"timm does not say which layers {self.name} has", "leave --optim.layer-decay out")
        layer = group_parameters(net, net.group_matcher(coarse=False), reverse=True)
        return {parameter: layer[name] for name, parameter in net.named_parameters()}

    def checkpoint_activations(self, on: bool) -> None:
        """Trade time for memory in training. Raises `UserError` for a network of BatchNorm, or where timm cannot."""
        normed = any(isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d) for part in self.net.modules())
        twice = f"--run.checkpoint-activations would count the statistics of BatchNorm in timm's {self.name} twice"
        demand(not (on and normed), twice, "leave it out; --run.accumulate saves memory as well")
        try:
            self.net.model.set_grad_checkpointing(on)
        except AssertionError:
            what = f"--run.checkpoint-activations: timm's {self.name} has no such switch"
            raise UserError(what, "leave it out; --run.accumulate saves memory as well") from None

    def _check(self, size: Size) -> None:
        patch = self.strides[0]
        divides = self.is_pyramid or not (size[0] % patch or size[1] % patch)
        what = f"an image of {size[0]}x{size[1]} does not divide into patches of {patch}"
        demand(divides, what, f"give timm's {self.name} a multiple of {patch}")


def quarters(depth: int) -> list[int]:
    """The numbers, from 0, of the layers that end the four quarters of `depth`: 2 5 8 11 of twelve."""
    return [-(-depth * part // MAPS) - 1 for part in range(1, MAPS + 1)]


def make_backbone(config: SegmenterConfig) -> Backbone:
    """What `config` describes, with random weights."""
    if config.trunk is not None:
        return TrunkFeatures(Trunk(config.trunk))
    return TimmFeatures(str(config.backbone), config.size)


def swin_windows(net: nn.Module) -> dict[str, Any]:
    """What keeps a Swin's windows of attention as they are in `set_input_size`, where they else grow with the image.

    Nothing for any other network.
    """
    stages: Any = getattr(net, "layers", getattr(net, "stages", ()))
    windows = [stage.blocks[0].window_size for stage in stages if hasattr(stage.blocks[0], "window_size")]
    if not windows:
        return {}
    return {"window_size": windows if len(set(windows)) > 1 else windows[0]}  # timm of old takes one for all stages


def timm_preprocessing(name: str) -> Preprocessing | None:
    """How the pretrained weights of timm's `name` were shown images, but for the crop; None without a tag."""
    from timm.models import get_pretrained_cfg

    found: Any = None
    if "." in name:
        with suppress(RuntimeError):  # no such tag: `timm_network` says so
            found = get_pretrained_cfg(name)
    return found and Preprocessing(found.input_size[1:], 0.9, found.interpolation, found.mean, found.std)


def timm_network(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
    """`timm.create_model` for a name of its list, with or without a tag. Raises `UserError` where it cannot be made."""
    import timm

    if not timm.is_model(name.split(".")[0]):
        raise UserError(f"timm has no model {name!r}", did_you_mean(name, timm.list_models()))
    try:
        return timm.create_model(name, pretrained=pretrained, **options)
    except (RuntimeError, OSError, TypeError) as error:  # some take no features_only
        reason = str(error).splitlines()[0]
        raise UserError(
            f"timm cannot make {name}: {reason}", "check the tag, and that the hub can be reached"
        ) from None
