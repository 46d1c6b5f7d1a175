"""A function of each of many images, in worker processes."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resmlp.data.loading.loader import Loader
from resmlp.data.loading.workers import note_reading
from resmlp.imaging.decode import UnreadableImage
from resmlp.imaging.image_file import ImageSource

CHUNK = 64  # images in one task of a worker process
DECODED_CHUNK = 4  # the same if every pixel is decoded: Ctrl-C waits for a task to end


@dataclass
class _Chunks:
    """The results of `function` for the images of a chunk."""

    function: Callable[[ImageSource], Any]
    failed: Callable[[str], Any]
    images: Sequence[tuple[str, ImageSource]]

    def name(self, index: int) -> str:
        return self.images[index][1].name

    def __getitem__(self, chunk: np.ndarray) -> list[Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warnings about sizes and damaged EXIF data: these are issues
            return [self._result(int(index)) for index in chunk]

    def _result(self, index: int) -> Any:
        image = self.images[index][1]
        try:
            note_reading(index, image.name)
        except UnreadableImage as error:  # it kills the processes that read it
            return self.failed(error.reason)
        return self.function(image)


def map_images(
    function: Callable[[ImageSource], Any],
    failed: Callable[[str], Any],
    images: Sequence[tuple[str, ImageSource]],
    indices: np.ndarray,
    processes: int,
    step: Callable[[int, int], Any],
    chunk: int = CHUNK,
) -> Iterator[tuple[int, Any]]:
    """(index, function(image), or failed(reason)) of each index, in order; in worker processes for several chunks."""
    chunks = [indices[i : i + chunk] for i in range(0, len(indices), chunk)]
    workers = min(processes, len(chunks)) if processes > 1 and len(chunks) > 1 else 0
    done = 0
    for results in Loader(_Chunks(function, failed, images), chunks, workers):
        yield from zip(map(int, indices[done:]), results)
        done += len(results)
        step(done, len(indices))
