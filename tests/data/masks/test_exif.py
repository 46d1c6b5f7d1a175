"""Images with an EXIF orientation, and masks of the upright image or of the stored one."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from resmlp.config import Data
from resmlp.config.tasks import Segment
from resmlp.data import open_eval_masks, open_masks
from resmlp.utils.errors import UserError

SIDE, OTHER = 16, 24
ORIENTATIONS = range(2, 9)


def stored_of(upright: Image.Image, orientation: int) -> Image.Image:
    """The image that this orientation turns upright, found by trying all seven."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for method in Image.Transpose:
        stored = upright.transpose(method)
        stored.info["exif"] = exif.tobytes()
        if np.array_equal(ImageOps.exif_transpose(stored), upright):
            return upright.transpose(method)
    raise AssertionError(orientation)


def pattern(side: int) -> Image.Image:
    """Four quarters of different gray, so that no two orientations look alike."""
    pixels = np.zeros((SIDE, side), np.uint8)
    pixels[: SIDE // 2, : side // 2], pixels[: SIDE // 2, side // 2 :], pixels[SIDE // 2 :, : side // 2] = 60, 120, 180
    return Image.fromarray(pixels)


def tree(root: Path, orientation: int, stored_masks: bool, side: int = SIDE, ending: str = "png") -> Data:
    upright = pattern(side)
    stored = stored_of(upright, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    mask = stored if stored_masks else upright
    for part in ("train", "val"):
        for folder in ("images", "labels"):
            (root / folder / part).mkdir(parents=True)
        for i in range(3):
            options = {"exif": exif} if i else {}
            (stored if i else mask).convert("RGB").save(root / f"images/{part}/{i}.{ending}", **options)
            Image.fromarray(np.asarray(mask) // 60).save(root / f"labels/{part}/{i}.png")
    (root / "classes.txt").write_text("a\nb\nc\nd\n")
    return Data(source="masks", root=str(root))


def agrees(image: Image.Image, labels: np.ndarray) -> bool:
    return image.size == labels.shape[::-1] and np.array_equal(np.asarray(image)[..., 0] // 60, labels)


@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_one_choice_for_all(orientation, ending, tmp_path):
    for stored in (False, True):
        data = tree(tmp_path / str(stored), orientation, stored, ending=ending)
        if ending == "webp":
            for file in (tmp_path / str(stored)).glob("images/*/*.webp"):
                image = Image.open(file)
                image.save(file, lossless=True, exif=image.getexif())
        for exif in ("apply", "ignore"):
            train, val = open_masks(Data(**{**vars(data), "exif": exif}), Segment())
            matching = stored == (exif == "ignore")
            for masks in (train, val, open_eval_masks(Data(**{**vars(data), "exif": exif}), Segment())):
                assert agrees(*masks.read(0))
                assert agrees(*masks.read(2)) == matching
            assert "4 of 6 images have an EXIF orientation" in train.notes[-1]
            assert "--data.exif " + ("ignore" if exif == "apply" else "apply") in train.notes[-1]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_sizes_that_differ_name_the_choice(orientation, tmp_path):
    data = tree(tmp_path, orientation, True, side=OTHER, ending="jpg")
    if orientation < 5:
        assert "4 of 6 images" in open_masks(data, Segment()).train.notes[-1]
        return
    with pytest.raises(UserError, match=r"16x24 .*24x16.*--data.exif ignore") as caught:
        open_masks(data, Segment())
    assert "\n" not in str(caught.value)
    train, _ = open_masks(Data(**{**vars(data), "exif": "ignore"}), Segment())
    assert train.read(1)[0].size == train.read(1)[1].shape[::-1]


def test_no_note_without_orientations(tmp_path):
    train, val = open_masks(_upright(tmp_path), Segment())
    assert train.notes == val.notes == ()


def _upright(root: Path) -> Data:
    data = tree(root, 3, False)
    for part in ("train", "val"):
        for file in (root / "images" / part).iterdir():
            pattern(SIDE).convert("RGB").save(file)
    return data
