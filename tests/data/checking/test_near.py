"""Copies in another size, encoding or brightness are found across a split, and other images are not."""

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from resmlp.cli.main import main
from resmlp.data.checking import near
from resmlp.data.checking.check import check_data
from resmlp.data.checking.near import LAYOUT, MAX_BITS, MIN_SIMILARITY, Signatures, signature
from resmlp.imaging.image_file import File, Pixels


def scene(seed: int, width: int = 150, height: int = 110) -> Image.Image:
    """A random image with coarse and fine parts, as photos have."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((3, 1.0), (7, 0.6), (16, 0.4), (40, 0.3)):
        part = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += weight * np.asarray(part.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    return Image.fromarray((total / 2.3).clip(0, 255).astype(np.uint8))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """train/ and val/, two classes, twelve images that are all different."""
    for number, path in enumerate(
        f"{part}/{name}/{i}.png" for part in ("train", "val") for name in "ab" for i in range(3)
    ):
        file = tmp_path / "tree" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        scene(number).save(file)
    return tmp_path / "tree"


def found(root: Path, **options) -> dict[str, list[str]]:
    kinds = ("near-leak", "near-duplicate", "near-skipped", "leak")
    return {issue.kind: issue.names for issue in check_data(root, **options).issues if issue.kind in kinds}


def scaled(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)


COPIES: dict[str, Callable[[Image.Image, Path], None]] = {
    "smaller.jpg": lambda image, path: scaled(image, 0.6).save(path, quality=60),
    "half.jpg": lambda image, path: scaled(image, 0.5).save(path, quality=60),
    "larger.jpg": lambda image, path: scaled(image, 1.6).save(path, quality=60),
    "thumbnail.jpg": lambda image, path: scaled(image, 0.3).save(path, quality=75),
    "square.png": lambda image, path: image.resize((96, 96)).save(path),
    "lossy.webp": lambda image, path: image.save(path, quality=40),
    "gray.jpg": lambda image, path: image.convert("L").save(path, quality=80),
    "palette.gif": lambda image, path: image.quantize(200).save(path),
    "brighter.jpg": lambda image, path: image.point([min(255, round(v * 1.15)) for v in range(256)] * 3).save(path),
    "darker.jpg": lambda image, path: image.point([round(255 * (v / 255) ** 1.4) for v in range(256)] * 3).save(path),
    "turned.jpg": lambda image, path: _turned(image, path),
}


def _turned(image: Image.Image, path: Path) -> None:
    """Stored on its side, upright by EXIF."""
    exif = Image.Exif()
    exif[274] = 6
    image.rotate(90, expand=True).save(path, exif=exif, quality=75)
    assert ImageOps.exif_transpose(Image.open(path)).size == image.size


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("label", "ab")
def test_a_planted_copy_across_the_split_is_found(tree, copy, label):
    """Also where it has another class."""
    COPIES[copy](Image.open(tree / "val/a/1.png"), tree / "train" / label / copy)
    assert found(tree) == {"near-leak": [f"val/a/1.png ~ train/{label}/{copy}"]}


def test_different_images_are_not_reported(tree):
    assert found(tree) == {}


def test_the_command_shows_both_paths(tree, capsys):
    COPIES["smaller.jpg"](Image.open(tree / "val/a/1.png"), tree / "train/a/copy.jpg")
    assert main(["data", "check", str(tree), "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    assert "warning  validation images that are in train in another size or encoding (1): " in shown
    assert "val/a/1.png ~ train/a/copy.jpg" in shown
    assert main(["data", "check", str(tree), "--workers", "1", "--near", "off"]) == 0
    assert "another size" not in capsys.readouterr().out


def test_a_copy_in_an_archive_is_found(tree, tmp_path):
    COPIES["smaller.jpg"](Image.open(tree / "val/a/1.png"), tree / "train/a/copy.jpg")
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as archive:
        archive.add(tree, "tree")
    assert found(tmp_path / "all.tar.gz")["near-leak"] == ["val/a/1.png ~ train/a/copy.jpg"]


def test_exact_copies_are_named_once(tree):
    shutil.copy(tree / "val/a/1.png", tree / "train/a/copy.png")
    assert found(tree) == {"leak": ["train/a/copy.png = val/a/1.png"]}


def test_near_duplicates_without_splits_are_a_note(tmp_path, tree):
    root = tree / "train"
    COPIES["half.jpg"](Image.open(root / "b/2.png"), root / "a/copy.jpg")
    assert found(root) == {"near-duplicate": ["a/copy.jpg ~ b/2.png"]}


def test_training_images_without_val_will_be_split(tree):
    shutil.rmtree(tree / "val")
    COPIES["half.jpg"](Image.open(tree / "train/b/2.png"), tree / "train/a/copy.jpg")
    assert found(tree) == {"near-duplicate": ["train/a/copy.jpg ~ train/b/2.png"]}


def test_limit_of_auto(tree, monkeypatch):
    COPIES["half.jpg"](Image.open(tree / "val/a/1.png"), tree / "train/a/copy.jpg")
    monkeypatch.setattr(near, "LIMIT", 12)
    assert found(tree) == {"near-skipped": ["13 images, more than 12"]}
    assert list(found(tree, near="on")) == ["near-leak"]
    assert found(tree, near="off") == {}


def test_single_colors_are_alike_and_not_compared(tmp_path):
    for number, path in enumerate(
        f"{part}/{name}/{i}.png" for part in ("train", "val") for name in "ab" for i in range(3)
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (number, 100, 255 - number)).save(tmp_path / path)
    assert found(tmp_path) == {}


def test_the_same_pattern_in_another_color_is_another_image(tree):
    image = np.asarray(scene(77).convert("L"), np.uint8)
    Image.fromarray(np.stack([image, image // 3, image // 3], -1)).save(tree / "train/a/red.png")
    Image.fromarray(np.stack([image // 3, image // 3, image], -1)).save(tree / "val/b/blue.png")
    assert found(tree) == {}
    Image.fromarray(image).save(tree / "train/a/gray.png")  # a copy may have lost its color
    assert found(tree) == {"near-leak": ["val/b/blue.png ~ train/a/gray.png"]}


def test_damaged_images_are_passed_over(tree):
    (tree / "train/a/bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 not an image")
    half = io.BytesIO()
    scene(50).save(half, "JPEG")
    (tree / "val/a/torn.jpg").write_bytes(half.getvalue()[: len(half.getvalue()) // 2])
    assert found(tree) == {}
    assert signature(File(str(tree / "val/a/torn.jpg"))) == b""


@pytest.mark.parametrize("block", [1, 50, 2**18])
@pytest.mark.parametrize("same", [False, True])
def test_the_search_is_that_of_all_pairs(monkeypatch, block, same):
    monkeypatch.setattr(near, "BLOCK", block)
    rng = np.random.default_rng(0)
    values = np.zeros(40, LAYOUT)
    values["bits"] = rng.integers(0, 2**63, 40, dtype=np.uint64)
    values["frequencies"] = rng.standard_normal((40, 144))
    for i in range(0, 40, 2):  # half of the images are like an earlier one: in the hash, the frequencies, or both
        j = int(rng.integers(0, i + 1))
        values["bits"][i] = values["bits"][j] ^ np.uint64(rng.integers(0, 2**12))
        values["frequencies"][i] = values["frequencies"][j] + rng.standard_normal(144) * rng.uniform(0, 0.3)
    values["frequencies"] /= np.linalg.norm(values["frequencies"].astype(float), axis=1, keepdims=True)
    signatures = Signatures(60)
    for i, value in enumerate(values):
        signatures.add(3 * i if i != 5 else 15, value.tobytes())
        signatures.add(3 * i + 1, b"")
    second = np.arange(0, 40) if same else np.arange(25, 40)
    first = second if same else np.arange(25)
    expected = {
        (3 * int(i), 3 * int(j))
        for i in second
        for j in first
        if (j > i or not same)
        and bin(int(values["bits"][i]) ^ int(values["bits"][j])).count("1") <= MAX_BITS
        and values["frequencies"][i].astype(float) @ values["frequencies"][j].astype(float) >= MIN_SIMILARITY
    }
    pairs = {(i, j) for i, others in signatures.pairs(first, second) for j in others}
    assert pairs == expected
    assert len(expected) > 3


def test_signature_does_not_depend_on_the_size():
    a, b = (np.frombuffer(signature(Pixels("x", np.asarray(scaled(scene(3), f)))), LAYOUT)[0] for f in (1, 0.7))
    assert int(a["bits"] ^ b["bits"]).bit_count() <= 4
    assert float(a["frequencies"].astype(float) @ b["frequencies"].astype(float)) > 0.99


@pytest.mark.slow
def test_frames_of_other_drives_are_no_near_duplicates(shared):
    """CamVid's train and test are other sequences; a resized and re-encoded training frame is found."""
    images = [
        File(str(path))
        for part in ("train", "test")
        for path in sorted((shared / f"camvid/images/{part}").glob("*.jpg"))[::4]
    ]
    file = io.BytesIO()
    scaled(images[20].read(), 0.5).save(file, "JPEG", quality=60)
    signatures = Signatures(len(images) + 1)
    for i, image in enumerate([*images, Pixels("copy", np.asarray(Image.open(file)))]):
        signatures.add(i, signature(image))
    split = len(sorted((shared / "camvid/images/train").glob("*.jpg"))[::4])
    assert list(signatures.pairs(np.arange(split), np.arange(split, len(images) + 1))) == [(len(images), [20])]
