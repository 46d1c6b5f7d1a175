"""Masks of other layouts, made here by hand, converted and opened for training."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resmlp.config import Data
from resmlp.config.tasks import Segment
from resmlp.data import open_masks
from resmlp.data.masks.classnames import palette
from resmlp.data.masks.conversion.convert import convert_masks
from resmlp.data.masks.conversion.plan import Fields
from resmlp.data.masks.conversion.shapes import fill_polygon, run_lengths
from resmlp.utils.errors import UserError

SIZE = (12, 10)  # width, height
TASK = Segment(empty_classes=True)


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def index_png(path: Path, numbers: np.ndarray, shades=None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = Image.fromarray(numbers.astype(np.uint8))
    mask.putpalette([value for color in shades or [(i, 2 * i % 256, 9) for i in range(256)] for value in color])
    mask.save(path)


def squares(*numbers: int) -> np.ndarray:
    """Columns of the numbers, one after the other."""
    mask = np.zeros(SIZE[::-1], np.uint8)
    for i, number in enumerate(numbers):
        mask[2:6, 2 * i : 2 * i + 2] = number
    return mask


def opened(out: Path):
    return open_masks(Data(source="masks", root=str(out)), TASK)


def error_of(root: Path, out: Path, **options) -> str:
    with pytest.raises(UserError) as caught:
        convert_masks(root, out, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def voc(root: Path) -> dict[str, np.ndarray]:
    masks = {"a": squares(1, 255, 20), "b": squares(15, 15, 2), "c": squares(7)}
    for i, (name, mask) in enumerate(masks.items()):
        picture(root / "JPEGImages" / f"{name}.jpg", i)
        index_png(root / "SegmentationClass" / f"{name}.png", mask)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for part, names in {"train": "a\nb\n", "val": "c\n", "trainval": "a\nb\nc\n"}.items():
        (lists / f"{part}.txt").write_text(names)
    return masks


def test_voc(tmp_path):
    masks = voc(tmp_path / "VOCdevkit" / "VOC2012")
    result = convert_masks(tmp_path / "VOCdevkit", tmp_path / "out")
    assert (result.layout, result.images, len(result.classes)) == ("voc", {"train": 2, "val": 1}, 21)
    train, val = opened(tmp_path / "out")
    assert train.classes[15] == "person"
    assert train.palette[1] == palette(1)[0]
    for part, names in ((train, "ab"), (val, "c")):
        for i, name in enumerate(names):
            image, labels = part.read(i)
            assert np.array_equal(labels, masks[name])
            stored = Image.open(tmp_path / "VOCdevkit" / "VOC2012" / "JPEGImages" / f"{name}.jpg")
            assert image.tobytes() == stored.convert("RGB").tobytes()


def test_voc_of_cvat_has_colors(tmp_path):
    """RGB masks and labelmap.txt, as CVAT exports them."""
    picture(tmp_path / "set" / "JPEGImages" / "x.png")
    picture(tmp_path / "set" / "JPEGImages" / "y.png", 1)
    (tmp_path / "set" / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nground:0,0,0::\ncat:250,0,9::\n")
    shades = np.array([(0, 0, 0), (250, 0, 9)], np.uint8)
    for name in "xy":
        mask = tmp_path / "set" / "SegmentationClass" / f"{name}.png"
        mask.parent.mkdir(exist_ok=True)
        Image.fromarray(shades[squares(1, 0, 1)]).save(mask)
    assert convert_masks(tmp_path / "set", tmp_path / "out").images == {"": 2}
    train, val = opened(tmp_path / "out")
    assert train.classes == ("ground", "cat")
    assert train.palette[1] == (250, 0, 9)
    assert np.array_equal(train.read(0)[1], squares(1, 0, 1))
    assert len(val) == 1


@pytest.mark.parametrize("kind", ["labelTrainIds", "labelIds"])
def test_city(tmp_path, kind):
    root = tmp_path / "set"
    train_ids = squares(0, 18, 255)
    ids = {0: 7, 18: 33, 255: 4}
    for part in ("train", "val", "test"):
        picture(root / "leftImg8bit" / part / "ulm" / "ulm_1_leftImg8bit.png")
        numbers = train_ids if kind == "labelTrainIds" else np.vectorize(ids.get)(train_ids)
        index_png(root / "gtFine" / part / "ulm" / f"ulm_1_gtFine_{kind}.png", numbers)
    result = convert_masks(root, tmp_path / "out")
    assert result.images == {"train": 1, "val": 1}
    assert "test/" in result.notes[0]
    train, _ = opened(tmp_path / "out")
    assert (train.classes[0], train.classes[18], train.palette[13]) == ("road", "bicycle", (0, 0, 142))
    assert np.array_equal(train.read(0)[1], train_ids)


RLE = {"size": [10, 12], "counts": [25, 5, 5, 5, 80]}
CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
SQUARE = [1.0, 1.0, 5.0, 1.0, 5.0, 5.0, 1.0, 5.0]


def instances(root: Path, part: str, *notes: dict, **changes) -> Path:
    picture(root / part / "a" / "1.jpg")
    image = {"id": 1, "file_name": "a/1.jpg", "width": 12, "height": 10} | changes
    content = {"images": [image], "annotations": list(notes), "categories": CATEGORIES}
    file = root / "annotations" / f"instances_{part}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def note(segmentation, category: int = 3, image: int = 1, **more) -> dict:
    return {"id": 9, "image_id": image, "category_id": category, "segmentation": segmentation, **more}


def test_coco_instances(tmp_path):
    root = tmp_path / "set"
    instances(root, "train2017", note([SQUARE], 7), note(RLE, 3, iscrowd=1))
    instances(root, "val2017", note([SQUARE, [8, 2, 11, 2, 11, 4]]))
    (root / "annotations" / "captions_train2017.json").write_text('{"images": [], "annotations": [{"caption": "x"}]}')
    assert convert_masks(root, tmp_path / "out").images == {"train": 1, "val": 1}
    train, val = opened(tmp_path / "out")
    assert train.classes == ("background", "cat", "dog")
    expected = np.zeros((10, 12), np.uint8)
    expected[1:6, 1:6] = 2
    expected[5:10, 2:4] = 1  # the code runs down the columns, and covers the polygon
    assert np.array_equal(train.read(0)[1], expected)
    assert Path(train.name(0)).name == "a_1.jpg"
    assert set(np.unique(val.read(0)[1])) == {0, 1}
    one = convert_masks(root / "annotations" / "instances_val2017.json", tmp_path / "one")
    assert one.images == {"val": 1}


def test_coco_panoptic(tmp_path):
    root = tmp_path / "set"
    ids = np.zeros((10, 12), np.uint32)
    ids[:, :6], ids[:5, 6:] = 70_000, 258
    for part in ("train2017", "val2017"):
        picture(root / part / "1.jpg")
        colors = np.stack([ids % 256, ids // 256 % 256, ids // 65_536], -1).astype(np.uint8)
        folder = root / "annotations" / f"panoptic_{part}"
        folder.mkdir(parents=True)
        Image.fromarray(colors).save(folder / "1.png")
        segments = [{"id": 70_000, "category_id": 7}, {"id": 258, "category_id": 3}]
        content = {
            "images": [{"id": 1, "file_name": "1.jpg", "width": 12, "height": 10}],
            "annotations": [{"image_id": 1, "file_name": "1.png", "segments_info": segments}],
            "categories": [{**category, "color": [category["id"], 0, 0]} for category in CATEGORIES],
        }
        (root / "annotations" / f"panoptic_{part}.json").write_text(json.dumps(content))
    convert_masks(root, tmp_path / "out")
    train, _ = opened(tmp_path / "out")
    assert (train.classes, train.palette) == (("cat", "dog"), ((3, 0, 0), (7, 0, 0)))
    assert np.array_equal(train.read(0)[1], np.where(ids == 70_000, 1, np.where(ids == 258, 0, 255)))
    del segments[0]
    (root / "annotations" / "panoptic_val2017.json").write_text(json.dumps(content))
    assert "1.png has the segment 70000" in error_of(root, tmp_path / "bad")


def labelme(file: Path, *shapes: dict, **changes) -> None:
    picture(file.with_suffix(".jpg"))
    content = {"version": "5", "imagePath": file.stem + ".jpg", "imageWidth": 12, "imageHeight": 10, "imageData": None}
    file.write_text(json.dumps(content | {"shapes": list(shapes)} | changes))


def shape(label: str, points, kind: str = "polygon") -> dict:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}}


def test_labelme(tmp_path):
    root = tmp_path / "set"
    square = [[1, 1], [5, 1], [5, 5], [1, 5]]
    for part in ("train", "val"):
        labelme(
            root / part / "1.json",
            shape("cat", square),
            shape("dog", [[-100, 3], [100.5, 3], [100.5, 4], [-100, 4]]),
            shape("__ignore__", [[8, 8], [9, 9]], "rectangle"),
            shape("x", [[2, 2]], "point"),
        )
    (root / "other.json").write_text("[1]")
    result = convert_masks(root, tmp_path / "out", copy=True)
    assert result.classes == ("background", "cat", "dog")
    assert "2 shapes without an area" in result.notes[0]
    expected = np.zeros((10, 12), np.uint8)
    expected[1:6, 1:6], expected[3:5], expected[8:10, 8:10] = 1, 2, 255
    train, _ = opened(tmp_path / "out")
    assert np.array_equal(train.read(0)[1], expected)
    assert not Path(train.name(0)).is_symlink()


def surrounded(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each pixel's center: whether a ray crosses the outline an odd number of times, and its distance from it."""
    y, x = np.mgrid[:50, :60]
    inside, distance = np.zeros((50, 60), bool), np.full((50, 60), np.inf)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, 0)):
        along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2)
        along = along.clip(0, 1)
        distance = np.minimum(distance, np.hypot(x0 + along * (x1 - x0) - x, y0 + along * (y1 - y0) - y))
        crosses = (y0 > y) != (y1 > y)
        inside ^= crosses & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return inside, distance


def test_polygons_are_filled_by_even_and_odd():
    """Away from the outline; a star surrounds its middle twice, which is outside."""
    angles = np.pi / 2 + np.arange(5) * 4 * np.pi / 5
    star = np.stack([30 + 24 * np.cos(angles), 25 + 24 * np.sin(angles)], 1)
    rng = np.random.default_rng(0)
    for points in (star, *(rng.uniform(-20, 80, (corners, 2)) for corners in (3, 3, 4, 5, 7))):
        mask = Image.new("L", (60, 50))
        fill_polygon(mask, points, 3)
        inside, distance = surrounded(points)
        far = distance > 1.5
        assert np.array_equal((np.asarray(mask) == 3)[far], inside[far])
    far_away = np.array([(-(2.0**20), 3.0), (2.0**20, 3.0), (2.0**20, 5.0), (-(2.0**20), 5.0)])
    mask = Image.new("L", (60, 50))
    fill_polygon(mask, far_away, 1)
    assert np.asarray(mask).sum() == 3 * 60


def test_compressed_run_lengths():
    """The code of pycocotools for the first and the last pixel, and one of lengths up to thousands written out."""

    def encode(lengths):
        text = ""
        for i, length in enumerate(lengths):
            x = length - (lengths[i - 2] if i > 2 else 0)
            while True:
                bits, x = x & 31, x >> 5
                more = not (x == 0 and not bits & 16 or x == -1 and bits & 16)
                text += chr(bits + 32 * more + 48)
                if not more:
                    break
        return text

    fields = Fields(Path("x.json"), {})
    for lengths in ([0, 1, 118, 1], [25, 5, 5, 5, 80], [120], [3, 100, 1, 16], [0, 120]):
        expected = np.zeros(120, bool)
        place = 0
        for i, length in enumerate(lengths):
            expected[place : place + length] = i % 2
            place += length
        assert np.array_equal(run_lengths(fields, "c", encode(lengths), (12, 10)), expected.reshape(12, 10).T)
    big = [1000, 5000, 2, 30_000, 28_998]
    assert run_lengths(fields, "c", encode(big), (250, 260)).sum() == 35_000


def test_an_interrupted_conversion_continues(tmp_path, monkeypatch):
    voc(tmp_path / "set")
    original = "resmlp.data.masks.conversion.convert.image_header"
    calls = []

    def stops(name, exif):
        calls.append(name)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return image_header(name, exif)

    from resmlp.data.masks.files import image_header

    monkeypatch.setattr(original, stops)
    with pytest.raises(KeyboardInterrupt):
        convert_masks(tmp_path / "set", tmp_path / "out")
    monkeypatch.undo()
    first = {path: path.lstat().st_mtime_ns for path in (tmp_path / "out" / "labels").rglob("*.png")}
    assert len(first) == 1
    result = convert_masks(tmp_path / "set", tmp_path / "out")
    assert result.written == 2
    assert all(path.lstat().st_mtime_ns == time for path, time in first.items())
    assert convert_masks(tmp_path / "set", tmp_path / "out").written == 0
    assert not list((tmp_path / "out").rglob("*.part"))
    labelme(tmp_path / "b" / "1.json", shape("cat", [[1, 1], [5, 1], [5, 5]]))
    assert "another data set" in error_of(tmp_path / "b", tmp_path / "out")
    assert "is inside" in error_of(tmp_path / "b", tmp_path / "b" / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    assert "is not empty" in error_of(tmp_path / "b", tmp_path / "full")


NESTED = "[" * 100_000
HOSTILE = {
    "unknown category": ([note([SQUARE], 4)], {}, "annotations[0].category_id is 4"),
    "unknown image": ([note([SQUARE], 3, 2)], {}, "annotations[0].image_id is 2"),
    "not a number": ([note([[float("nan"), *SQUARE[1:]]])], {}, "annotations[0].segmentation[0] is nan"),
    "infinite": ([note([[1e999, *SQUARE[1:]]])], {}, "annotations[0].segmentation[0] is inf"),
    "far away": ([note([[1e9, *SQUARE[1:]]])], {}, "annotations[0].segmentation[0] is 1000000000"),
    "text": ([note([["1", *SQUARE[1:]]])], {}, "annotations[0].segmentation[0] is 1, not finite numbers"),
    "two points": ([note([SQUARE[:4]])], {}, "annotations[0].segmentation[0] is 4 numbers"),
    "odd": ([note([SQUARE[:7]])], {}, "annotations[0].segmentation[0] is 7 numbers"),
    "nested": ([note([[SQUARE]])], {}, "annotations[0].segmentation[0] is ["),
    "no list": ([note("x")], {}, "annotations[0].segmentation is x"),
    "no object": (["x"], {}, "annotations[0] is x, not a JSON object"),
    "huge": ([note([SQUARE])], {"width": 10**9}, "images[0].width is 1000000000"),
    "many pixels": ([note([SQUARE])], {"width": 30_000, "height": 30_000}, "images[0].width is 30000 x 30000"),
    "negative": ([note([SQUARE])], {"height": -1}, "images[0].height is -1"),
    "other size": ([note([SQUARE])], {"height": 11}, "pixels, its mask 12 x 11"),
    "missing": ([note([SQUARE])], {"file_name": "b.jpg"}, "images[0].file_name is b.jpg, and there is no such image"),
    "outside": ([note([SQUARE])], {"file_name": "../b.jpg"}, "images[0].file_name is ../b.jpg, outside"),
    "absolute": ([note([SQUARE])], {"file_name": "/etc/passwd"}, "images[0].file_name is /etc/passwd, outside"),
    "short code": ([note({**RLE, "counts": [1, 2]})], {}, "annotations[0].segmentation.counts is 2 lengths"),
    "long code": ([note({**RLE, "counts": [2**40]})], {}, "annotations[0].segmentation.counts"),
    "bad code": ([note({**RLE, "counts": "~~~"})], {}, "annotations[0].segmentation.counts is ~~~"),
    "code of another size": ([note({**RLE, "size": [9, 9]})], {}, "annotations[0].segmentation.size is [9, 9]"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_coco_is_one_line(tmp_path, name):
    notes, changes, message = HOSTILE[name]
    root = tmp_path / "set"
    file = instances(root, "train", *notes, **changes)
    error = error_of(root, tmp_path / "out")
    assert message in error
    assert str(file) in error or name == "other size"
    assert not list((tmp_path / "out").rglob("*.png"))


def test_hostile_labelme_is_one_line(tmp_path):
    root, points = tmp_path / "set", [[1, 1], [5, 1], [5, 5]]
    for shapes, changes, message in (
        ([shape("cat", [[1, float("nan")], *points])], {}, "shapes[0].points is nan"),
        ([shape("cat", [[1, 2, 3], *points])], {}, "shapes[0].points[0] is [1, 2, 3]"),
        ([shape("cat", points), shape("", points)], {}, "shapes[1].label is"),
        ([shape("cat", points, "blob")], {}, "shapes[0].shape_type is blob"),
        ([shape("cat", points, "circle")], {}, "shapes[0].points is 3 points"),
        ([shape("cat", points)], {"imagePath": "../../x.jpg"}, "imagePath is ../../x.jpg, outside"),
        ([shape("cat", points)], {"imagePath": "b.jpg"}, "imagePath is b.jpg, not an image that is there"),
        ([shape("cat", points)], {"imageWidth": 1e12}, "imageWidth is 1000000000000"),
        ([7], {}, "shapes[0] is 7"),
    ):
        labelme(root / "1.json", *shapes, **changes)
        error = error_of(root, tmp_path / "out")
        assert message in error
        assert "1.json" in error
    for text in ("{", NESTED, "1" * 10_000, ""):
        (root / "1.json").write_text(text)
        assert "cannot read" in (error := error_of(root, tmp_path / "out"))
        assert "1.json" in error


def test_other_faults_are_one_line(tmp_path):
    assert "no such file" in error_of(tmp_path / "set", tmp_path / "out")
    (tmp_path / "set").mkdir()
    assert "has no masks" in error_of(tmp_path / "set", tmp_path / "out")
    voc(tmp_path / "set" / "VOC")
    mask = tmp_path / "set" / "VOC" / "SegmentationClass" / "a.png"
    index_png(mask, squares(35))
    assert "a.png has label [35]" in error_of(tmp_path / "set", tmp_path / "out")
    mask.unlink()
    assert "no mask" in error_of(tmp_path / "set", tmp_path / "out2")
    (tmp_path / "set" / "VOC" / "ImageSets" / "Segmentation" / "train.txt").write_text("../../x\n")
    assert "train.txt names ../../x" in error_of(tmp_path / "set", tmp_path / "out3")
    assert "has no masks in the layout labelme" in error_of(tmp_path / "set", tmp_path / "out4", layout="labelme")
