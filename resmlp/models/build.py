"""Names to networks."""

from collections.abc import Sequence
from fnmatch import fnmatch

from resmlp.architectures import ARCHITECTURES, architecture, canonical
from resmlp.errors import UserError
from resmlp.models.trunk import Trunk, TrunkConfig
from resmlp.models.weights import load_into, read_weights


def list_models(pattern: str = "*") -> list[str]:
    """Names for `create_model`, those that match the shell `pattern`."""
    return [name for name in ARCHITECTURES if fnmatch(name, pattern)]


def create_model(
    name: str,
    pretrained: bool = False,
    checkpoint: str | None = None,
    num_classes: int | None = None,
    img_size: int | Sequence[int] = 224,
    drop_path: float = 0.0,
    **changes,
) -> Trunk:
    """A network of `list_models()`, or of timm's name for it.

    `checkpoint` is a file of weights in any known dialect, or a run folder. `num_classes` is 1000 unless the checkpoint
    says otherwise; 0 gives features. `img_size` is one number or (height, width), in pixels; every side must be a
    multiple of the patch. `drop_path` is the probability of stochastic depth. `changes` replace parts of the
    architecture: `create_model("resmlp_s12", mixer="dwconv", depth=6)`. Raises `UserError`.
    """
    if pretrained:
        raise UserError(f"no weights are known for {name!r}", "pass checkpoint=FILE")
    sides = (img_size,) if isinstance(img_size, int) else tuple(img_size)
    if len(sides) not in (1, 2) or not all(isinstance(side, int) for side in sides):
        raise UserError(f"img_size {img_size!r}", "one number of pixels, or (height, width)")
    size = (sides[0], sides[-1])
    weights = read_weights(checkpoint) if checkpoint else None
    if num_classes is None:
        num_classes = weights.num_classes if weights else 1000
    model = Trunk(TrunkConfig(canonical(name), architecture(name, **changes), size, num_classes, drop_path))
    if weights:
        load_into(model, weights)
    return model
