"""What a training step computes and keeps, counted on networks without weights: nothing is run."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from resmlp.config import ImageRecipe
from resmlp.config.model_json import SegmenterConfig, TrunkConfig
from resmlp.config.tasks import Dino, Distill, Segment
from resmlp.config.vision import ARCHITECTURES, Architecture
from resmlp.hub.resolve import resolve
from resmlp.models import Trunk, count_macs, count_parameters
from resmlp.models.backbones import TrunkFeatures, timm_network
from resmlp.models.count import input_channels
from resmlp.models.segmenter import Segmenter
from resmlp.nn.dino_head import ProjectionHead
from resmlp.utils.checks import demand

CLASSES = 1000
"""of a classifier whose data is not looked at: 0.4 M parameters of a small network more or less"""
SEGMENT_CLASSES = 150
FLOAT = 4
"""bytes of a number in fp32"""
FUSED = 8
"""numbers per channel and token of a layer that autograd alone would keep, and `resmlp.nn.fused` does not: 14 - 6"""
STATE = {"lamb": 2, "adamw": 2, "muon": 2, "sgd": 1, "adagrad": 1}
"""numbers that an optimizer keeps for each parameter; of muon at most"""


@dataclass(frozen=True)
class Work:
    """The work of an image in a training step, and the size of the network."""

    network: str
    """the name of the trunk"""
    size: tuple[int, int]
    parameters: int
    """that are trained"""
    macs: int
    """multiply-adds of the forward pass of all that is trained"""
    frozen_macs: int = 0
    """those of a teacher, which has no backward pass"""
    frozen_parameters: int = 0
    kept: int = 0
    """bytes that autograd keeps for the backward pass, in fp32: an upper bound for bf16"""
    views: int = 1
    """crops that are made of an image"""

    @property
    def operations(self) -> int:
        """Operations of a training step for an image: the backward pass takes twice those of the forward pass."""
        return 2 * (3 * self.macs + self.frozen_macs)


@lru_cache(maxsize=8)
def count_work(recipe: ImageRecipe) -> Work:
    """The work of the task of a recipe. Raises `UserError` for a network that is only known from its weights."""
    task, (height, width) = recipe.task, recipe.data.size
    backbone = isinstance(task, Segment) and task.backbone
    demand(not backbone, f"--task.backbone {backbone} is a network of timm", "plan counts networks of resmlp")
    name, arch = recipe.model.network()
    config = TrunkConfig(name, arch, (height, width), CLASSES)
    if isinstance(task, Segment):
        return _segment(recipe, task, config)
    if isinstance(task, Dino):
        return _dino(recipe, task.completed((height, width), arch.patch_size), config)
    work = _work(name, _trunk(config), config.size, arch, recipe)
    return _distill(task, work) if isinstance(task, Distill) else work


def _trunk(config: TrunkConfig) -> Trunk:
    with torch.device("meta"):
        return Trunk(config)


def _work(name: str, model: nn.Module, size: tuple[int, int], arch: Architecture, recipe: ImageRecipe) -> Work:
    images = torch.empty(4, arch.in_chans, *size, device="meta")  # all parts share its storage, which cancels out
    macs = count_macs(model, images[:1])
    more = kept_bytes(model, images) - kept_bytes(model, images[:2])  # a segmenter is not trained on one image
    kept = more // 2 - _fused_bytes(arch, size, recipe)
    if recipe.run.checkpoint_activations:  # the input of each layer, and all of one layer at a time
        kept = kept // arch.depth + arch.depth * _tokens(arch, size) * arch.dim * FLOAT
    return Work(name, size, count_parameters(model), macs, kept=kept)


def _tokens(arch: Architecture, size: tuple[int, int]) -> int:
    return math.prod(side // arch.patch_size for side in size)


def _fused_bytes(arch: Architecture, size: tuple[int, int], recipe: ImageRecipe) -> int:
    """Bytes that the layers do not keep where `resmlp.nn.fused` computes both sublayers."""
    paper = (arch.mixer, arch.norm, arch.scale, arch.activation) == ("linear", "affine", "layerscale", "gelu")
    applies = paper and arch.residual == "pre" and not recipe.run.compile and not recipe.optim.only
    return applies * FUSED * arch.depth * _tokens(arch, size) * arch.dim * FLOAT


def kept_bytes(model: nn.Module, images: Tensor) -> int:
    """Bytes of the distinct tensors that autograd keeps after a forward pass, without the parameters."""
    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    storages: dict[int, Any] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            storages[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.train()(images)
    return sum(storage.nbytes() for storage in storages.values())


def _distill(task: Distill, work: Work) -> Work:
    """With the forward pass of the teacher."""
    source = resolve(task.teacher)
    hint = "give --task.teacher timm:NAME.TAG, or plan the recipe without distillation"
    demand(source.kind == "timm", f"--task.teacher {task.teacher}: plan counts teachers of timm", hint)
    with torch.device("meta"):
        teacher = timm_network(task.teacher.removeprefix("timm:"))
    size = task.teacher_size or work.size
    macs = count_macs(teacher, torch.empty(1, input_channels(teacher), size[0], size[-1], device="meta"))
    return replace(work, frozen_macs=macs, frozen_parameters=count_parameters(teacher))


def _dino(recipe: ImageRecipe, task: Dino, config: TrunkConfig) -> Work:
    """Two large views by student and teacher, and small ones by the student, each with the head."""
    config = replace(config, num_classes=0)
    arch = config.architecture
    with torch.device("meta"):
        head = ProjectionHead(arch.dim, task.hidden, task.bottleneck, task.out_dim)
        head_macs = count_macs(head, torch.empty(1, arch.dim))
    large = _work(config.name, _trunk(config), config.size, arch, recipe)
    views, small = task.local_views if task.has_local else 0, large
    if views and task.local_crops == "interpolate":
        moved = replace(config, size=task.local_shape)
        small = _work(config.name, _trunk(moved), moved.size, arch, recipe)
    parameters = large.parameters + count_parameters(head)
    return Work(
        config.name,
        config.size,
        parameters,
        2 * large.macs + views * small.macs + (2 + views) * head_macs,
        2 * (large.macs + head_macs),
        parameters,
        2 * large.kept + views * small.kept + (2 + views) * 2 * task.out_dim * FLOAT,
        2 + views,
    )


def _segment(recipe: ImageRecipe, task: Segment, config: TrunkConfig) -> Work:
    trunk = _trunk(replace(config, num_classes=0))
    auxiliary = max(1, task.width // 2) if task.auxiliary else 0
    with torch.device("meta"):
        features = TrunkFeatures(trunk)  # which removes parts of the trunk, and so comes first
        parts = SegmenterConfig(config.size, SEGMENT_CLASSES, trunk.config, None, task.width, auxiliary)
        segmenter = Segmenter(parts, features)
    return _work(config.name, segmenter, config.size, config.architecture, recipe)


@lru_cache
def macs_of(network: str) -> int:
    """Multiply-adds of a named network for an image of 224x224."""
    config = TrunkConfig(network, ARCHITECTURES[network], (224, 224), CLASSES)
    return count_macs(_trunk(config), torch.empty(1, 3, 224, 224, device="meta"))
