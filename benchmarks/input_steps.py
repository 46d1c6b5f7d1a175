"""Where the time of a training image goes: the share of each step, beside the floor, entropy decoding alone.

`input_pipeline.py` runs this. The steps are those of `TrainBatches` and `BatchAugment`, one after another.
"""

import io
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import default_collate

from resmlp.data import normalize
from resmlp.data.images.mixup import BatchAugment
from resmlp.data.images.randaugment import RandAugment
from resmlp.data.images.transforms import Flip, TrainTransform
from resmlp.imaging import jpeg
from resmlp.imaging.image_file import BufferedMember
from resmlp.utils.seeding import seed_host

NAMES = {RandAugment: "rand_augment", Flip: "flip"}
EPOCHS = 12


class Stopwatch:
    """The processor's seconds in each step."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def __call__(self, step: str, call: Callable[..., Any], *args: Any, **settings: Any) -> Any:
        """Returns `call(*args, **settings)`, whose time counts for `step`."""
        start = time.process_time()
        result = call(*args, **settings)
        self.seconds[step] += time.process_time() - start
        return result


def shares(
    files: Sequence[BufferedMember], transform: TrainTransform, augment: BatchAugment, batch: int
) -> tuple[dict[str, float], dict[str, float]]:
    """The share of each step in the time of all, and milliseconds of each operation of RandAugment, when applied.

    Without simplejpeg, reading is one step.
    """
    watch, ops, applied = Stopwatch(), Stopwatch(), Counter[str]()
    policy = next(step for step in transform.steps if isinstance(step, RandAugment))
    for op in policy.ops:
        op.aug_fn = _counted(op.name, op.aug_fn, ops, applied)
    for epoch in range(EPOCHS):
        for first in range(0, len(files), batch):
            keyed = [(files[i], epoch * len(files) + i) for i in range(first, first + batch)]
            if jpeg.simplejpeg is not None:
                _time_decoding([(file.data, _rows(file, key, transform)) for file, key in keyed], watch)
            views = [_view(file, key, transform, watch) for file, key in keyed]
            images = watch("normalize", normalize, watch("collate", default_collate, views), augment.mean, augment.std)
            watch("erase", augment.erase, images, torch.tensor([key for _, key in keyed]))
    found = _decoding_apart(watch.seconds)
    total = sum(found.values())
    return {step: seconds / total for step, seconds in found.items()}, {
        name: 1000 * seconds / applied[name] for name, seconds in ops.seconds.items()
    }


def entropy_decoding(data: bytes) -> None:
    """Read the pixels of a file without computing them: gray, at 1/8, needs all bits and one value for each block."""
    jpeg.simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=8, strict=False)


def _rows(file: BufferedMember, key: int, transform: TrainTransform) -> int:
    """The last row of the box that `_view` draws."""
    _, size = jpeg.probe(io.BytesIO(file.data))
    seed_host(key)
    return transform.crop.choose(size).box[3]


def _time_decoding(needed: list[tuple[bytes, int]], watch: Stopwatch) -> None:
    """Decode the rows that are needed of each file; then all again, without their pixels: no file is in the cache."""
    for data, rows in needed:
        watch("decode", jpeg.decode_rgb, data, rows)
    for data, rows in needed:
        watch("entropy_decoding", entropy_decoding, jpeg.shortened(data, rows) or data)


def _view(file: BufferedMember, key: int, transform: TrainTransform, watch: Stopwatch) -> torch.Tensor:
    seed_host(key)
    pixels = watch("resize", transform.crop.fit, watch("read", file.read_region, transform.crop.choose))
    for step in transform.steps:
        pixels = watch(NAMES[type(step)], step, pixels)
    return torch.from_numpy(pixels)


def _decoding_apart(seconds: Counter[str]) -> dict[str, float]:
    """The parts of reading apart, in the order of the work."""
    rest = {name: value for name, value in seconds.items() if name not in ("read", "decode", "entropy_decoding")}
    if "decode" not in seconds:
        return {"read": seconds["read"], **rest}
    return {
        "header_and_box": seconds["read"] - seconds["decode"],
        "entropy_decoding": seconds["entropy_decoding"],
        "dct_and_color": seconds["decode"] - seconds["entropy_decoding"],
        **rest,
    }


def _counted(name: str, change: Callable[..., Any], watch: Stopwatch, applied: Counter[str]) -> Callable[..., Any]:
    def timed(*args: Any, **settings: Any) -> Any:
        applied[name] += 1
        return watch(name, change, *args, **settings)

    return timed
