"""The sizes and the times of the files of images, without reading the images."""

import os
from collections import Counter
from collections.abc import Sequence

import numpy as np

from resmlp.imaging.image_file import File, ImageSource, InArchive, Pixels


def sizes_and_times(images: Sequence[ImageSource]) -> np.ndarray:
    """The bytes of each image, as far as they are known without reading it, and the time of its file: int64 N 2."""
    in_file = Counter(image.archive for image in images if isinstance(image, InArchive))
    files = {archive: _stat(archive) for archive in in_file}
    stats = np.zeros((len(images), 2), np.int64)
    for i, image in enumerate(images):
        if isinstance(image, Pixels):
            stats[i] = image.array.nbytes, 0
        elif isinstance(image, File):
            stats[i] = _stat(image.name)
        elif isinstance(image, InArchive):
            size, time = files[image.archive]
            known = getattr(image, "size", None) or len(getattr(image, "data", b""))
            stats[i] = known or size // in_file[image.archive], time
    return stats


def _stat(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 (a Path takes longer than the call)
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns
