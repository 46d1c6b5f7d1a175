"""Segmentation networks: a backbone, UPerNet over its features, and logits at the resolution of the image."""

from copy import deepcopy
from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from resmlp.config import Model
from resmlp.config.model_json import ModelConfig, SegmenterConfig, TrunkConfig
from resmlp.config.preprocessing import Preprocessing
from resmlp.hub.resolve import resolve
from resmlp.models.backbones import Backbone, TimmFeatures, TrunkFeatures, make_backbone, timm_preprocessing
from resmlp.models.channels import fit_channels
from resmlp.models.memory import fitting
from resmlp.models.resize import Size, resize_to
from resmlp.models.segmentation_head import Decoder, PyramidNeck, classifier, fcn_head, initialize
from resmlp.models.trunk import Trunk
from resmlp.models.weights import load_into, read_weights
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

THREE_QUARTERS = 2
"""index of the map that the auxiliary head reads"""


class Segmenter(nn.Module):
    """Backbone -> pyramid -> UPerNet's decoder -> classifier, and an auxiliary head on the features after 3/4.

    `forward` returns logits B K H W; in training a tuple of logits, those of the auxiliary head last, if
    `config.auxiliary` is not 0. Images have `config.size`; `at` moves the network to another size. `backbone` is a
    built backbone, for example pretrained, in place of a random one.
    """

    def __init__(self, config: SegmenterConfig, backbone: Backbone | None = None):
        super().__init__()
        self.config = config
        self.backbone = backbone or make_backbone(config)
        channels = self.backbone.channels
        self.neck: nn.Module = nn.Identity() if self.backbone.is_pyramid else PyramidNeck(channels[0])
        self.decoder = Decoder(channels, config.width)
        self.classifier = classifier(config.width, config.num_classes)
        self.auxiliary: nn.Module | None = None
        if config.auxiliary:
            self.auxiliary = fcn_head(channels[THREE_QUARTERS], config.auxiliary, config.num_classes)
        for head in (self.decoder, self.classifier, self.auxiliary):
            if head is not None:
                initialize(head)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """B 3 H W -> B K H W; in training (B K H W, B K H W). Raises `UserError` for images of another size."""
        self._check(images)
        maps = self.backbone(images)
        logits = [self.classifier(self.decoder(self.neck(maps)))]
        if self.training and self.auxiliary is not None:
            logits.append(self.auxiliary(maps[THREE_QUARTERS]))
        resized = [F.interpolate(x, images.shape[-2:], mode="bilinear", align_corners=False) for x in logits]
        return tuple(resized) if self.training else resized[0]

    def at(self, size: Size) -> "Segmenter":
        """The same network in evaluation mode for images of `size` (height, width), such as whole images.

        It shares all parameters that are not fixed to the grid. Raises `UserError` for a size that does not divide into
        patches, and for a backbone that cannot be moved.
        """
        backbone = self.backbone.at(size)
        shared = {id(parameter): parameter for parameter in self.parameters()}
        other = deepcopy(self, shared | {id(self.backbone): backbone})
        trunk = backbone.trunk.config if isinstance(backbone, TrunkFeatures) else None
        other.config = replace(self.config, size=size, trunk=trunk)
        return other.eval()

    def whole_patches(self, size: Size) -> Size:
        """`size` (height, width), rounded up to multiples of the largest stride of the backbone."""
        side = max(self.backbone.strides)
        height, width = (-(-own // side) * side for own in size)
        return height, width

    def _check(self, images: Tensor) -> None:
        height, width = self.config.size
        if images.shape[-2:] != (height, width):
            what = f"the segmenter was built for windows of {height}x{width}, got {tuple(images.shape)}"
            raise UserError(what, "crop or pad them, or use segmenter.at(size)")
        if self.training and len(images) == 1:
            normed = any(type(part) is nn.BatchNorm2d and part.training for part in self.decoder.modules())
            what = "UPerNet pools an image to one value a channel, and BatchNorm cannot train on one image"
            demand(not normed, what, "use --data.batch-size 2 or more for each part of --run.accumulate")


def build_segmenter(
    model: Model,
    size: Size,
    num_classes: int,
    backbone: str | None = None,
    width: int = 512,
    auxiliary: int = 256,
) -> tuple[Segmenter, str]:
    """The segmenter of a recipe for windows of `size` (height, width), and a description of its weights.

    The trunk is that of `model` with the weights of its checkpoint, without the head, interpolated from another grid of
    tokens. `backbone`, the name of a timm network, replaces it, and is pretrained if it has a tag. `width` and
    `auxiliary` are channels (`SegmenterConfig`).
    """
    if backbone:
        timm_backbone = TimmFeatures(backbone, size, pretrained="." in backbone)
        parts = SegmenterConfig(size, num_classes, None, backbone, width, auxiliary)
        return Segmenter(parts, timm_backbone), f"timm:{backbone}" if "." in backbone else "new"
    trunk, words = _pretrained(TrunkConfig(*model.network(), size, 0, model.drop_path), model.start)
    own = TrunkFeatures(trunk)
    return Segmenter(SegmenterConfig(size, num_classes, trunk.config, None, width, auxiliary), own), words


def preprocessing_of(model: Model, backbone: str | None = None) -> Preprocessing | None:
    """The preprocessing of the weights that `build_segmenter` starts from; None for new or unknown ones."""
    if backbone:
        return timm_preprocessing(backbone)
    described = resolve(model.start).expect(ModelConfig) if model.start else None
    return described.preprocessing if described else None


def _pretrained(network: TrunkConfig, source: str | None) -> tuple[Trunk, str]:
    """A trunk without a classifier, with the weights of `source` on its grid, and a description of the weights."""
    fitting(network)
    if source is None:
        return Trunk(network), "new"
    start = resolve(source)
    weights, described = read_weights(start).without_head(), start.expect(ModelConfig)
    weights, network, resized = resize_to(weights, network, described.model.size if described else None)
    weights, joined = fit_channels(weights, network.architecture, described.preprocessing if described else None)
    trunk = Trunk(network)
    load_into(trunk, weights)
    changes = [change for change in (resized, joined) if change]
    return trunk, source + (f", but {', '.join(changes)}" if changes else "")
