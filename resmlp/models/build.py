"""Names to networks."""

from collections.abc import Sequence
from fnmatch import fnmatch
from typing import Any

from resmlp.config.model_config import ModelConfig, TrunkConfig
from resmlp.config.pretrained import is_tagged, published
from resmlp.config.vision import ARCHITECTURES, architecture, canonical
from resmlp.hub.resolve import resolve
from resmlp.models.resize import resize_to
from resmlp.models.trunk import Trunk
from resmlp.models.weights import load_into, read_weights
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, notice


def list_models(pattern: str = "*") -> list[str]:
    """Names for `create_model`, those that match the shell `pattern`."""
    return [name for name in ARCHITECTURES if fnmatch(name, pattern)]


def create_model(
    name: str,
    pretrained: bool = False,
    checkpoint: str | None = None,
    num_classes: int | None = None,
    img_size: int | Sequence[int] | None = None,
    drop_path: float = 0.0,
    **changes: Any,
) -> Trunk:
    """A network of `list_models()`, or of timm's name or its authors' for it.

    With `pretrained`, its published weights: those of the tag in `create_model("resmlp_s24.fb_distilled_in1k")`, or the
    first that `resmlp list weights` has for a name without one. `checkpoint` is a file of weights in any known dialect,
    a run folder, or `hf-hub:ORG/NAME`. `num_classes` is that of the weights, or 1000; another one gives a new head, 0
    features. `img_size` is one number or (height, width), in pixels, that of the weights, or 224; every side must be a
    multiple of the patch, and weights of another size are interpolated (`resmlp.models.resize`). `drop_path` is the
    probability of stochastic depth. `changes` replace parts of the architecture:
    `create_model("resmlp_s12", mixer="dwconv", depth=6)`. Raises `UserError`.
    """
    tag = published(name) if pretrained or is_tagged(name) else None
    if tag:
        demand(not (pretrained and checkpoint), "both pretrained and checkpoint are given", "choose one of them")
        name, checkpoint = tag.model, tag.name if pretrained else checkpoint
    source = resolve(checkpoint) if checkpoint else None
    name, arch = canonical(name), architecture(name, **changes)
    described = source.expect(ModelConfig) if source else None
    trained_at = described.model.size if described else None
    size = _sides(img_size, trained_at or (224, 224))
    weights = read_weights(source) if source else None
    if num_classes is None:
        num_classes = weights.num_classes if weights else 1000
    demand(type(num_classes) is int, f"num_classes {num_classes!r}", "a whole number; 0 gives features")
    config, resized = TrunkConfig(name, arch, size, num_classes, drop_path), ""
    if weights:
        weights, config, resized = resize_to(weights, config, trained_at)
    model = Trunk(config)
    swapped = weights is not None and load_into(model, weights, swap_head=True)
    if weights and resized:
        notice(f"{weights.source}: {resized}")
    if weights and swapped and num_classes:
        had = f"its own for {weights.num_classes}" if weights.num_classes else "none"
        notice(f"{weights.source}: a new, untrained head for {num_classes} classes in place of {had}")
    return model


def _sides(img_size: int | Sequence[int] | None, default: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of what a person gives as `img_size`."""
    if img_size is None:
        return default
    sides = tuple(img_size) if isinstance(img_size, Sequence) else (img_size,)
    if len(sides) not in (1, 2) or not all(type(side) is int for side in sides):
        raise UserError(f"img_size {img_size!r}", "one number of pixels, or (height, width)")
    return sides[0], sides[-1]
