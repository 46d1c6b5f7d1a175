"""Vision networks by name."""

from collections.abc import Sequence
from fnmatch import fnmatch
from typing import Any

from resmlp.config.model_json import ModelConfig, TrunkConfig
from resmlp.config.pretrained import is_tagged, published
from resmlp.config.vision import ARCHITECTURES, architecture, canonical
from resmlp.hub.resolve import resolve
from resmlp.models.channels import fit_channels
from resmlp.models.memory import fitting
from resmlp.models.resize import resize_to
from resmlp.models.trunk import Trunk
from resmlp.models.weights import load_into, read_weights
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, notice


def list_models(pattern: str = "*") -> list[str]:
    """The names for `create_model` that match the shell `pattern`."""
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
    """The network of a name in `list_models()`, or of its name in timm or by its authors.

    - `pretrained`: load the published weights of the tag, as in `create_model("resmlp_s24.fb_distilled_in1k")`; for a
      name without a tag, the first weights in `resmlp list weights`.
    - `checkpoint`: a file of weights in any known dialect, a run folder, or `hf-hub:ORG/NAME`.
    - `num_classes`: default that of the weights, or 1000. Another number gives a new head, 0 features.
    - `img_size`: one number or (height, width), in pixels, multiples of the patch size; default that of the weights, or
      224. Weights of another size are interpolated (`resmlp.models.resize`).
    - `drop_path`: the probability of stochastic depth.
    - `changes`: replaced parts of the architecture, as in `create_model("resmlp_s12", mixer="dwconv", depth=6)`.

    Raises `UserError`.
    """
    tag = published(name) if pretrained or is_tagged(name) else None
    if tag:
        demand(not (pretrained and checkpoint), "both pretrained and checkpoint are set", "choose one of them")
        name, checkpoint = tag.model, tag.name if pretrained else checkpoint
    source = resolve(checkpoint) if checkpoint else None
    name, arch = canonical(name), architecture(name, **changes)
    described = source.expect(ModelConfig) if source else None
    trained_at = described.model.size if described else None
    size = _sides(img_size, trained_at or (224, 224))
    weights = read_weights(source) if source else None
    if num_classes is None:
        num_classes = weights.num_classes if weights else 1000
    demand(type(num_classes) is int, f"num_classes is {num_classes!r}", "give a whole number; 0 gives features")
    config, moved = TrunkConfig(name, arch, size, num_classes, drop_path), list[str]()
    fitting(config)
    if weights:
        weights, config, resized = resize_to(weights, config, trained_at)
        weights, joined = fit_channels(weights, config.architecture, described.preprocessing if described else None)
        moved = [change for change in (resized, joined) if change]
    model = Trunk(config)
    swapped = weights is not None and load_into(model, weights, swap_head=True)
    if weights and moved:
        notice(f"{weights.source}: {', '.join(moved)}")
    if weights and swapped and num_classes:
        old = f"the one for {weights.num_classes}" if weights.num_classes else "none"
        notice(f"{weights.source}: a new, untrained head for {num_classes} classes instead of {old}")
    return model


def _sides(img_size: int | Sequence[int] | None, default: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of an `img_size`."""
    if img_size is None:
        return default
    sides = tuple(img_size) if isinstance(img_size, Sequence) else (img_size,)
    if len(sides) not in (1, 2) or not all(type(side) is int for side in sides):
        raise UserError(f"img_size is {img_size!r}", "give one number of pixels, or (height, width)")
    return sides[0], sides[-1]
