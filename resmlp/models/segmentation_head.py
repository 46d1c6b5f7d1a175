"""UPerNet over four maps of features: a neck that makes a pyramid, the decoder, and the auxiliary head.

As in BEiT and XCiT (their `semantic_segmentation` folders, with UPerHead and FCNHead of mmsegmentation). B images, D
channels of the backbone, C channels of a head, h x w positions.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from resmlp.nn.null_gradient import null_gradient
from resmlp.nn.shared_masks import Dropout2d
from resmlp.utils.errors import UserError, install_hint

DROPOUT = 0.1
PUBLISHED_WIDTH = 512  # of the decoder


class PyramidNeck(nn.Module):
    """Turns four maps of one resolution, of stride p, into a pyramid of strides p/4, p/2, p and 2p.

    Its levels are two transposed convolutions with a norm and GELU between, one, none, and max pooling: `fpn1` to
    `fpn4` of BEiT and XCiT for patches of 16. For patches of 8 they shift the levels by one, which keeps the strides in
    pixels; here the strides stay relative to the patch.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.levels = nn.ModuleList(
            [
                nn.Sequential(_doubled(dim), nn.BatchNorm2d(dim), nn.GELU(), _doubled(dim)),
                _doubled(dim),
                nn.Identity(),
                nn.MaxPool2d(2, ceil_mode=True),  # keeps all tokens of a grid with an odd side
            ]
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """4 x B D h w -> B D 4h 4w, B D 2h 2w, B D h w, B D h/2 w/2 (halves rounded up)"""
        return [level(features) for level, features in zip(self.levels, maps)]


def _doubled(dim: int) -> nn.ConvTranspose2d:
    """B D h w -> B D 2h 2w. The bias has no influence: a BatchNorm follows, in the decoder after a 1x1 convolution."""
    layer = nn.ConvTranspose2d(dim, dim, kernel_size=2, stride=2)
    null_gradient(layer.bias)
    return layer


class Decoder(nn.Module):
    """Pyramid pooling (bins 1, 2, 3, 6), top-down path and fusion of UPerNet (arXiv:1807.10221), with C channels.

    This is the decoder of segmentation-models-pytorch without its LayerNorm before each map, which UPerNet does not
    have. Raises `UserError` if the package is missing.
    """

    def __init__(self, channels: Sequence[int], width: int):
        super().__init__()
        try:
            from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
        except ImportError as error:
            needs = f"segmentation needs segmentation-models-pytorch ({error})"
            raise UserError(needs, install_hint("segment")) from None
        self.upernet = UPerNetDecoder([0, 0, *channels], decoder_channels=width)
        self.upernet.feature_norms = nn.ModuleList(nn.Identity() for _ in channels)

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """Maps, finest first -> B C h w at the resolution of the finest"""
        return self.upernet([pyramid[0], pyramid[0], *pyramid])  # the first two, of strides 1 and 2, are not used


def classifier(width: int, num_classes: int) -> nn.Sequential:
    """The last layer of a head: B C h w -> B K h w"""
    return nn.Sequential(Dropout2d(DROPOUT), nn.Conv2d(width, num_classes, 1))


def fcn_head(dim: int, width: int, num_classes: int) -> nn.Sequential:
    """The auxiliary head, one 3x3 convolution and a classifier: B D h w -> B K h w"""
    conv = nn.Conv2d(dim, width, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(), *classifier(width, num_classes))


def initialize(head: nn.Module) -> None:
    """Initialize as in mmsegmentation, in place: He et al. with fan-out, but std 0.01 for classifiers (with a bias).

    This std is for 512 channels, and inversely proportional to them: with 0.01, a head of 32 channels learns to tell
    digits apart far later than with 0.16.
    """
    for module in head.modules():
        if isinstance(module, nn.Conv2d) and module.bias is None:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.weight, std=0.01 * PUBLISHED_WIDTH / module.in_channels)
            nn.init.zeros_(module.bias)
