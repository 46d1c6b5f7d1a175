"""A trained network for images of another size, without training: its parameters moved to their grid of tokens."""

from dataclasses import replace

from resmlp.config.image_size import NATIVE, Native, shown
from resmlp.config.model_json import TrunkConfig
from resmlp.models.memory import fitting
from resmlp.models.model_files import Saved
from resmlp.models.resize import Size, resize, with_sizes_of
from resmlp.models.segmenter_files import SavedSegmenter
from resmlp.models.trunk import Trunk
from resmlp.utils.errors import UserError


def at_size(saved: Saved, size: Size) -> Saved:
    """The network for images of `size` (height, width), also for evaluation crops of that size.

    Raises `UserError` for a network of another library, for a size that does not divide into patches, and for one whose
    weights do not fit into memory.
    """
    if size == saved.preprocessing.size:
        return saved
    model = trunk_of(saved, size)
    arch = with_sizes_of(model.state_dict(), model.config.architecture)
    config = replace(model.config, architecture=arch, size=size)
    moved = shape_of(config)
    moved.load_state_dict(resize(model.state_dict(), arch, model.config.grid, config.grid), assign=True)
    return replace(saved, model=moved.eval(), preprocessing=replace(saved.preprocessing, size=size))


def segmenter_at(saved: SavedSegmenter, size: Size | Native | None) -> SavedSegmenter:
    """The segmenter with a window of `size`; None: its own. Raises `UserError`, also for native."""
    if size is None or size == saved.model.config.size:
        return saved
    if size == NATIVE:
        raise UserError(f"--img-size {NATIVE}: a segmenter takes images of any size by windows", "leave it out")
    if saved.config.model.trunk:
        shape_of(replace(saved.config.model.trunk, size=size))
    model = saved.model.at(size)
    preprocessing = replace(saved.config.preprocessing, size=size)
    return SavedSegmenter(model, replace(saved.config, model=model.config, preprocessing=preprocessing))


def trunk_of(saved: Saved, size: Size | Native) -> Trunk:
    """The network to be moved to a size. Raises `UserError` for one of another library."""
    own = "the network has a size of its own, because it is no network of resmlp"
    if not isinstance(saved.model, Trunk):
        raise UserError(f"images of {shown(size)}: {own}", "leave --img-size out")
    return saved.model


def shape_of(config: TrunkConfig) -> Trunk:
    """The network of `config` on the device "meta". Raises `UserError` where it cannot exist on this machine."""
    check_patches(config)
    return fitting(config)


def check_patches(config: TrunkConfig) -> None:
    """Raise `UserError` that names the nearest sizes for one that does not divide into patches."""
    patch, size = config.architecture.patch_size, config.size
    if any(side % patch for side in size):
        below, above = (shown([max(1, (side + up) // patch) * patch for side in size]) for up in (0, patch - 1))
        what = f"images of {shown(size)} do not divide into patches of {patch} ({config.name})"
        raise UserError(what, f"try {' or '.join(dict.fromkeys([below, above]))}")
