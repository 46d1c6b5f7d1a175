"""The images that arguments of a command name."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resmlp.imaging.listing import list_images
from resmlp.utils.address import is_address

if TYPE_CHECKING:
    from resmlp.imaging.image_file import ImageSource


def list_inputs(paths: Sequence[str]) -> "list[str | ImageSource]":
    """The files, those below folders, and the images of packed data sets, in the order of `paths`. Raises `UserError`.

    An image of a packed data set is itself, as it is no file.
    """
    packed = [path for path in paths if is_address(path) or Path(path).is_dir() and _is_packed(path)]
    if not packed:
        return list(list_images(paths))
    from resmlp.data.images.packed_tree import open_packed

    files: list[str | ImageSource] = []
    for path in paths:
        files += [image for _, image in open_packed(path).images] if path in packed else list_images([path])
    return files


def _is_packed(path: str) -> bool:
    from resmlp.data.images.packed_tree import is_packed

    return is_packed(Path(path))
