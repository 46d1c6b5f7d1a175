"""The images that arguments of a command name."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resmlp.config.pretrained import FILE_ENDINGS
from resmlp.hub.names import has_prefix, on_disk
from resmlp.imaging.file_types import ENDINGS, UNSUPPORTED, is_image_file
from resmlp.imaging.listing import list_images
from resmlp.imaging.walk import is_special, read_head, walk
from resmlp.utils.address import is_address
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError
from resmlp.utils.run_folder import CONFIG, RECIPE, WEIGHTS

if TYPE_CHECKING:
    from resmlp.imaging.image_file import ImageSource

MODEL_FILES = (WEIGHTS, CONFIG, RECIPE, "config.json")
"""of which a folder with a network has one; the last is of a copy from the hub"""
WEIGHT_FILES = tuple(f".{ending}" for ending in FILE_ENDINGS)


def list_inputs(paths: Sequence[str]) -> "list[str | ImageSource]":
    """The files, those below folders, and the images of packed data sets, in the order of `paths`. Raises `UserError`.

    An image of a packed data set is itself, as it is no file.
    """
    packed = [path for path in paths if names_packed(path)]
    if not packed:
        return list(list_images(paths))
    from resmlp.data.images.packed_tree import open_packed

    files: list[str | ImageSource] = []
    for path in paths:
        files += [image for _, image in open_packed(path).images] if path in packed else list_images([path])
    return files


def names_images(argument: str) -> bool:
    """Whether an argument that may be a MODEL is an image, or a folder of images, and no MODEL.

    Raises `UserError` for what is neither: an image that is not there, another file, a folder without both.
    """
    path, images = Path(argument), f"images end in {' '.join(ENDINGS)}"
    if not on_disk(argument):
        missing = argument.lower().endswith((*ENDINGS, *UNSUPPORTED)) and not has_prefix(argument)
        demand(not missing, f"no image at {argument}", "check the path")
        return False
    if is_special(path):
        raise UserError(f"{argument} is a pipe, a socket or a device", "give a file")
    if path.is_file():
        is_image = is_image_file(argument)
        known = is_image or may_be_weights(argument)
        demand(known, f"{argument} is neither an image that is read nor a network", images)
        return is_image
    if any((path / name).exists() for name in MODEL_FILES):
        return False
    found = names_packed(argument) or walk(path, lambda skipped: None).images
    demand(bool(found), f"no {WEIGHTS} in {argument}, and no images", f"not a run folder; {images}")
    return True


def may_be_weights(file: str) -> bool:
    """Whether a file is one of weights, by its ending or its first bytes: those of safetensors, PyTorch or .npz."""
    lower, head = file.lower(), read_head(file)
    if lower.endswith(".zip"):  # begins as PyTorch's files do
        return False
    return lower.endswith(WEIGHT_FILES) or head[8:9] == b"{" or head.startswith((b"PK", b"\x80"))


def names_packed(path: str) -> bool:
    """Whether this is the folder or the address of a packed data set."""
    if is_address(path) or not Path(path).is_dir():
        return is_address(path)
    from resmlp.data.images.packed_tree import is_packed

    return is_packed(Path(path))
