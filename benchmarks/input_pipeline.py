"""Images a second that one core makes ready, beside timm's loader with the same augmentation.

python benchmarks/input_pipeline.py --data imagenet_samples_256.tar

All in one process and one thread, with the files in memory: JPEGs of 500 x 375, made of the archive's images.
Training is random resized crop (bicubic), flip, RandAugment rand-m9-n2-mstd0.5-inc1 and erasing of a quarter of the
images. `train` ends at the normalized and erased batch, `train_uint8` at the batch that goes to a device, where the
rest happens; `train` is compared with the faster of timm's two ways. timm's posterize is made to keep one bit at
least, because Pillow refuses to keep none. Evaluation ends at the normalized batch, and its pixels are compared. All
take turns. `entropy_decoding` is the floor, relative to timm's training images: reading the bits of the crop's rows and
computing no pixels. The shares are those of the steps of a training image.
"""

import io
import json
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from input_steps import entropy_decoding, shares
from machine import conditions
from options import data_parser
from PIL import Image
from timm.data import create_transform
from timm.data.loader import fast_collate
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torch.utils.data import default_collate

from resmlp.analysis.profiling.rounds import Work, measure, spread
from resmlp.config import Augment, Data
from resmlp.config.preprocessing import Preprocessing
from resmlp.data import (
    BatchAugment,
    EvalBatches,
    ImageSet,
    TrainBatches,
    eval_transform,
    normalize,
    train_transform,
)
from resmlp.imaging import jpeg
from resmlp.imaging.image_file import BufferedMember, Pixels

RESULT = Path(__file__).parent.parent / "results" / "input_pipeline.json"
POLICY, ERASING, BATCH, WIDE = "rand-m9-n2-mstd0.5-inc1", 0.25, 32, (500, 375)
BOUNDS = {"train": 2.5}
EVALUATION = Preprocessing((224, 224), 0.9)


def images(archive: Path, count: int, quality: int) -> list[BufferedMember]:
    """JPEGs of 500 x 375 or 375 x 500, with half the resolution in color."""
    made = []
    with tarfile.open(archive) as tar:
        members = sorted((member for member in tar if member.isfile()), key=lambda member: member.name)
        for member in members[:: max(1, len(members) // count)][:count]:
            image = Image.open(tar.extractfile(member)).convert("RGB")
            file = io.BytesIO()
            size = WIDE if image.width >= image.height else WIDE[::-1]
            image.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=quality, subsampling="4:2:0")
            made.append(BufferedMember(str(archive), member.name, file.getvalue()))
    return made


class Timm:
    """timm's loader without workers: its dataset's decoding, its transforms, its collating."""

    def __init__(self, files: list[BufferedMember]):
        self.batches = [files[i : i + BATCH] for i in range(0, len(files), BATCH)]
        options = {"is_training": True, "color_jitter": None, "auto_augment": POLICY, "interpolation": "bicubic"}
        self.floats = _kept_bits(create_transform(224, **options, re_prob=ERASING, re_mode="pixel"))
        self.bytes = _kept_bits(create_transform(224, **options, use_prefetcher=True))
        self.evaluation = create_transform(224, crop_pct=EVALUATION.crop_ratio, interpolation="bicubic")
        self.erasing = RandomErasing(ERASING, mode="pixel", device="cpu")
        self.mean, self.std = (
            255 * torch.tensor(values).view(1, 3, 1, 1) for values in (EVALUATION.mean, EVALUATION.std)
        )

    def train(self) -> None:
        """As `create_loader(use_prefetcher=False)` has it: each image is normalized and erased by itself."""
        for files in self.batches:
            default_collate([(self.floats(opened(file)), 0) for file in files])

    def train_uint8(self) -> None:
        """As the processes behind `create_loader(use_prefetcher=True)` have it."""
        for files in self.batches:
            fast_collate([(self.bytes(opened(file)).numpy(), 0) for file in files])

    def train_prefetcher(self) -> None:
        """The same, then what the prefetcher does, on the CPU."""
        for files in self.batches:
            images, _ = fast_collate([(self.bytes(opened(file)).numpy(), 0) for file in files])
            self.erasing(images.float().sub_(self.mean).div_(self.std))

    def evaluate(self) -> None:
        """As `create_loader(use_prefetcher=False)` has it."""
        for files in self.batches:
            default_collate([(self.evaluation(opened(file)), 0) for file in files])


class Ours:
    """The batches of `TrainBatches` and `EvalBatches` without workers."""

    def __init__(self, files: list[BufferedMember]):
        images = ImageSet(("a", "b"), [i % 2 for i in range(len(files))], list(files))
        data, augment = Data(batch_size=BATCH, workers=0), Augment(policy="rand", magnitudes=POLICY, erasing=ERASING)
        self.files, self.transform = files, train_transform(data, augment)
        self.batches, self.augment = TrainBatches(images, data, augment, seed=0), BatchAugment(augment, data, 2)
        self.evaluation = EvalBatches(images, EVALUATION, BATCH, 0)
        self.epoch = 0

    def train_uint8(self) -> None:
        """An epoch; the next one draws anew."""
        self.epoch += 1
        for _ in self.batches.epoch(self.epoch):
            pass

    def train(self) -> None:
        """An epoch, normalized and erased."""
        self.epoch += 1
        for batch in self.batches.epoch(self.epoch):
            self.augment(batch["image"], batch["label"], batch["key"])

    def floor(self) -> None:
        """The bits of the rows that the boxes of an epoch need."""
        for file in self.files:
            width, height = jpeg.probe(io.BytesIO(file.data))[1]
            rows = self.transform.crop.choose((width, height)).box[3]
            entropy_decoding(jpeg.shortened(file.data, rows) or file.data)

    def evaluate(self) -> None:
        """All images, normalized."""
        for batch in self.evaluation:
            normalize(batch["image"], EVALUATION.mean, EVALUATION.std)


def opened(file: BufferedMember) -> Image.Image:
    """As timm's dataset reads an image."""
    return Image.open(io.BytesIO(file.data)).convert("RGB")


def small(count: int, workers: int = 0) -> Callable[[], None]:
    """An epoch of the recipe cifar10: 32 x 32, shifted and flipped."""
    noise = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    images = ImageSet(("a", "b"), [i % 2 for i in range(count)], [Pixels("noise", pixels) for pixels in noise])
    data = Data(img_size=(32,), crop_ratio=1.0, batch_size=64, workers=workers)
    batches = TrainBatches(images, data, Augment(crop="pad"), seed=0)
    return lambda: [None for _ in batches.epoch(0)] and None


def difference(files: list[BufferedMember]) -> float:
    """Mean absolute difference of our evaluation's pixels to timm's, of 255."""
    ours = eval_transform(EVALUATION)
    theirs = create_transform(224, crop_pct=EVALUATION.crop_ratio, interpolation="bicubic", normalize=False)
    return float(np.mean([_apart(ours(file.read()), theirs(opened(file))) for file in files]))


def _apart(one: Tensor, other: Tensor) -> float:
    return (one.int() - other.int()).abs().float().mean().item()


def _kept_bits(transform):
    for op in transform.transforms[2].ops:
        if op.name.startswith("Posterize"):
            op.level_fn = lambda level, hparams, own=op.level_fn: (max(1, own(level, hparams)[0]),)
    return transform


def main() -> int:
    """Returns 1 where a bound is missed."""
    parser = data_parser(__doc__, "an uncompressed archive of images")
    parser.add_argument("--count", type=int, default=64, help="images in a call; a multiple of 32")
    parser.add_argument("--quality", type=int, default=90, help="of the JPEGs")
    parser.add_argument("--seconds", type=float, default=25.0, help="for each work")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = images(options.data, options.count, options.quality)
    timm, ours = Timm(files), Ours(files)
    runs = {
        "train": ours.train,
        "timm_train": timm.train,
        "timm_train_prefetcher": timm.train_prefetcher,
        "train_uint8": ours.train_uint8,
        "timm_train_uint8": timm.train_uint8,
        "eval": ours.evaluate,
        "timm_eval": timm.evaluate,
        "decode": lambda: [file.read() for file in files],
        "timm_decode": lambda: [opened(file) for file in files],
    } | ({"entropy_decoding": ours.floor} if jpeg.simplejpeg else {})
    works = [Work(run, len(files)) for run in runs.values()] + [Work(small(1024), 1024)]
    measured = measure(
        works, options.seconds, time.perf_counter, progress=lambda text: print(text, file=sys.stderr, flush=True)
    )
    rates = dict(zip([*runs, "cifar10"], (one.rates for one in measured)))
    best = [max(pair) for pair in zip(rates["timm_train"], rates["timm_train_prefetcher"])]
    ratios = {
        "train": spread([mine / other for mine, other in zip(rates["train"], best)]),
        "train_uint8": spread([a / b for a, b in zip(rates["train_uint8"], rates["timm_train_uint8"])]),
        "eval": spread([a / b for a, b in zip(rates["eval"], rates["timm_eval"])]),
    }
    numbers = {name: round(ratio.median, 3) for name, ratio in ratios.items()}
    numbers["eval_difference"] = round(difference(files), 4)
    if jpeg.simplejpeg:
        numbers["entropy_decoding"] = round(spread([a / b for a, b in zip(rates["entropy_decoding"], best)]).median, 2)
    steps, operations = shares(files, ours.transform, ours.augment, BATCH)
    numbers |= {f"share_{step}": round(share, 3) for step, share in steps.items()}
    reached = all(numbers[name] >= bound for name, bound in BOUNDS.items()) and numbers["eval_difference"] < 1
    result = {
        "what": "Input pipeline on one core: images per second relative to timm, with the same JPEGs and augmentation",
        "numbers": numbers,
        "target": {name: f"at least {bound}" for name, bound in BOUNDS.items()}
        | {"eval_difference": "less than 1, of 255"},
        "reached": reached,
        "quartiles": {name: [round(ratio.low, 3), round(ratio.high, 3)] for name, ratio in ratios.items()},
        "command": "python benchmarks/input_pipeline.py --data imagenet_samples_256.tar",
        "images_per_second": {name: round(spread(some).median, 1) for name, some in rates.items()},
        "rand_augment_ms": {name: round(ms, 3) for name, ms in operations.items()},
        "files": {
            "count": len(files),
            "size": list(WIDE),
            "mean_bytes": round(sum(len(file.data) for file in files) / len(files)),
        },
        **conditions("timm", "pillow", "simplejpeg"),
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(numbers), file=sys.stderr)
    return int(not reached)


if __name__ == "__main__":
    raise SystemExit(main())
