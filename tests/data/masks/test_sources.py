"""Masks: pixel counts of published data sets, every kind of PNG, and one-line errors."""

import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resmlp.config import Augment, Data
from resmlp.config.tasks import Segment
from resmlp.data import JointTransform, TrainBatches, UnreadableImage, open_eval_masks, open_masks, open_splits
from resmlp.data.masks.classnames import palette
from resmlp.data.masks.files import LabelMap, read_numbers
from resmlp.data.masks.sources import check_masks
from resmlp.imaging.image_file import File
from resmlp.utils.errors import UserError


def camvid(shared: Path, **fields) -> Data:
    return Data(source="camvid", root=str(shared / "camvid"), **fields)


def counted(files: list[Path]) -> np.ndarray:
    return sum(np.bincount(np.asarray(Image.open(file)).ravel(), minlength=256) for file in files)


def test_camvid_as_published(shared):
    train, val = open_masks(camvid(shared), Segment())
    test = open_eval_masks(camvid(shared), Segment(), "test")
    assert (len(train), len(val), len(test)) == (367, 101, 193)
    names = [line.split() for line in (shared / "camvid/classes.txt").read_text().splitlines()]
    assert [[str(i), name] for i, name in enumerate(train.classes)] == names[:11]
    assert train.notes == ()
    assert open_eval_masks(camvid(shared), Segment(), classes=train.classes).pairs == val.pairs
    for part, masks in (("train", train), ("val", val), ("test", test)):
        expected = counted(sorted((shared / "camvid/labels" / part).glob("*.png")))
        counts = check_masks(masks.pairs).labels
        assert np.array_equal(counts[:11], expected[:11])
        assert (counts[255], counts[11:255].sum()) == (expected[11], 0)


def test_camvid_images_match_their_labels(shared):
    train, _ = open_masks(camvid(shared), Segment())
    for i in (0, 100, 366):
        image, labels = train.read(i)
        stem = Path(train.name(i)).stem
        raw = np.asarray(Image.open(shared / f"camvid/labels/train/{stem}.png"))
        assert np.array_equal(labels, np.where(raw == 11, 255, raw))
        assert np.array_equal(image, Image.open(shared / f"camvid/images/train/{stem}.jpg"))
    assert pickle.loads(pickle.dumps(train)).read(3)[1].shape == (360, 480)


def test_camvid_by_its_list_of_classes(shared):
    """As a custom data set: classes.txt names 12 classes, and the task ignores the last one."""
    data = Data(source="masks", root=str(shared / "camvid"))
    own, _ = open_masks(data, Segment(ignore_index=11))
    known, _ = open_masks(camvid(shared), Segment())
    assert own.classes == known.classes
    assert np.array_equal(own.read(5)[1], known.read(5)[1])
    assert own.pairs[0].label_map.num_classes == 11
    twelve = open_eval_masks(data, Segment(), "test")
    assert twelve.classes[-1] == (shared / "camvid/classes.txt").read_text().split()[-1]


def test_ade20k(shared):
    data, files = Data(source="ade20k", root=str(shared / "ade20k_sample")), shared / "ade20k_sample/annotations"
    train, val = open_masks(data, Segment(empty_classes=True))
    assert (len(train), len(val), len(train.classes)) == (2, 1, 150)
    assert train.classes[:4] == ("wall", "building", "sky", "floor")
    everything = open_eval_masks(data, Segment())
    expected = counted(sorted(files.glob("*.png")))
    counts = check_masks(everything.pairs).labels
    assert np.array_equal(counts[:150], expected[1:151])
    assert counts[255] == expected[0]
    assert {train.name(i) for i in range(2)} | {val.name(0)} == {everything.name(i) for i in range(3)}
    assert train.notes[0].startswith("no training mask has a pixel of ")
    same = open_masks(Data(source="masks", root=data.root), Segment(reduce_zero_label=True, empty_classes=True))
    assert same.train.classes == train.classes
    with pytest.raises(UserError, match="150 classes with numbers from 1 to 150.*reduce-zero-label"):
        open_masks(Data(source="masks", root=data.root), Segment())


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Data]:
    """A data set with images/ and labels/ in train and val, of 8 x 6 pixels (width x height), classes 0 to 2."""

    def tree(parts=("train", "val"), masks="labels", count=3, classes="sky\ngrass\nroad\n") -> Data:
        for part in parts:
            for folder in ("images", masks):
                (tmp_path / folder / part).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                Image.new("RGB", (8, 6), (i, 0, 0)).save(tmp_path / "images" / part / f"{i}.jpg")
                labels = np.full((6, 8), i % 3, np.uint8)
                labels[0] = 255
                Image.fromarray(labels).save(tmp_path / masks / part / f"{i}.png")
        if classes:
            (tmp_path / "classes.txt").write_text(classes)
        return Data(source="masks", root=str(tmp_path), img_size=(8,), batch_size=2, workers=0)

    return tree


@pytest.mark.parametrize("masks", ["labels", "annotations", "masks"])
@pytest.mark.parametrize("parts", [("train", "val"), ("training", "validation"), ("Train", "test")])
def test_layouts(tree, masks, parts):
    data = tree(parts, masks)
    train, val = open_masks(data, Segment())
    assert (len(train), len(val), train.classes) == (3, 3, ("sky", "grass", "road"))
    assert f"/{parts[1]}/" in val.name(0)
    assert np.array_equal(train.read(1)[1], [[255] * 8] + [[1] * 8] * 5)
    assert len(open_eval_masks(data, Segment())) == 3


def test_data_set_without_splits_is_split_by_the_seed(tree):
    data = tree(("",), count=10)
    train, val = open_masks(data, Segment())
    assert len(train) + len(val) == len(open_eval_masks(data, Segment())) == 10
    assert len(val) >= 1
    names = {masks.name(i) for masks in (train, val) for i in range(len(masks))}
    assert len(names) == 10
    assert open_masks(data, Segment()).val.pairs == val.pairs
    others = {
        tuple(open_masks(Data(source="masks", root=data.root, split_seed=s), Segment()).val.pairs) for s in range(9)
    }
    assert len(others) > 2
    part = open_masks(Data(source="masks", root=data.root, fraction=0.5), Segment())
    assert (len(part.train), part.val.pairs) == (round(len(train) / 2), val.pairs)
    assert sorted((*part.train.unused, *map(part.train.path, range(len(part.train))))) == sorted(
        map(train.path, range(len(train)))
    )


def test_training_images_without_val_are_split(tree):
    train, val = open_masks(tree(("train",), count=9), Segment())
    assert len(train) + len(val) == 9
    assert len(val) >= 1


def test_classes_without_a_list(tree):
    data = tree(classes="")
    train, _ = open_masks(data, Segment())
    assert train.classes == ("0", "1", "2")
    assert "the names of the 3 classes are their numbers" in train.notes[0]
    assert open_masks(data, Segment(reduce_zero_label=True)).train.classes == ("1", "2")
    assert open_eval_masks(data, Segment(), classes=("x", "y", "z", "w")).classes == ("x", "y", "z", "w")


def test_label_far_above_the_others_is_an_error(tree):
    data = tree(classes="")
    mask = Path(data.root) / "labels/train/1.png"
    save(mask, Image.new("L", (8, 6), 200))
    with pytest.raises(UserError, match=r"go up to 200, but only 4 of 201 occur.*--task.ignore-index 200"):
        open_masks(data, Segment())
    for file in (Path(data.root) / "labels").glob("*/*.png"):
        pixels = np.asarray(Image.open(file))
        save(file, Image.fromarray(np.where(pixels == 255, 200, pixels)))
    assert open_masks(data, Segment(ignore_index=200)).train.classes == ("0", "1", "2")


def test_single_label_is_an_error(tree):
    """Many tools write such masks: 0 for the background, and 255, which is ignored, for the object."""
    data = tree(classes="")
    for part in ("train", "val"):
        for file in (Path(data.root) / "labels" / part).iterdir():
            labels = np.zeros((6, 8), np.uint8)
            labels[2:4] = 255
            save(file, Image.fromarray(labels))
    with pytest.raises(UserError, match="a single label, 0.*number of its own"):
        open_masks(data, Segment())


def test_numeric_classes_are_listed_in_order_of_number(tree):
    data = tree(classes="")
    for part in ("train", "val"):
        for file in (Path(data.root) / "labels" / part).iterdir():
            labels = np.arange(48, dtype=np.uint8).reshape(6, 8) % 12
            save(file, Image.fromarray(np.where(np.isin(labels, (9, 10, 2)) & (part == "train"), 11, labels)))
    train, val = open_masks(data, Segment())
    assert train.notes[1] == "no training mask has a pixel of 2, 9, 10"
    assert (val.notes, len(train.classes)) == ((), 12)


def test_network_with_other_classes_is_an_error(tree):
    with pytest.raises(UserError, match="the network's classes are 2"):
        open_eval_masks(tree(), Segment(), classes=("sky", "grass"))


def test_notes_for_the_user(tree):
    data = tree(classes="sky\ngrass\nroad\nmoon\n")
    (Path(data.root) / "labels/train/extra.png").write_bytes((Path(data.root) / "labels/train/0.png").read_bytes())
    save(Path(data.root) / "labels/val/2.png", Image.new("L", (8, 6), 1))
    with pytest.raises(UserError, match=r"no training mask has a pixel of moon .*--task.empty-classes"):
        open_masks(data, Segment())
    train, val = open_masks(data, Segment(empty_classes=True))
    assert train.notes == (
        "skipped masks without an image: extra.png",
        "no training mask has a pixel of moon",
        "255, the ignored label, is in every mask (16.7% of the pixels); if it is class K, set --task.label-map 255 K",
    )
    assert [note.split(":")[0] for note in val.notes] == ["no validation mask has a pixel of moon, road"]


def png(bits: int, numbers: np.ndarray) -> bytes:
    """The bytes of a gray PNG of 1 to 16 bits, written by the specification."""
    rows = b""
    for row in numbers:
        line = "".join(format(int(number), f"0{bits}b") for number in row)
        line += "0" * (-len(line) % 8)
        rows += b"\0" + int(line, 2).to_bytes(len(line) // 8, "big")

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", numbers.shape[1], numbers.shape[0], bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_gray_masks_of_any_bit_depth(tmp_path, bits):
    numbers = np.random.default_rng(0).integers(0, 2**bits, (5, 7))
    (tmp_path / "a.png").write_bytes(png(bits, numbers))
    read = read_numbers(File(str(tmp_path / "a.png")))
    assert np.array_equal(read, numbers)
    assert read.dtype in (np.uint8, np.uint16)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_masks_are_read_by_index(tmp_path, bits):
    numbers = np.random.default_rng(0).integers(0, 2**bits, (5, 7), np.uint8)
    image = Image.fromarray(numbers).convert("L")
    image.putpalette(np.random.default_rng(1).integers(0, 256, 768, np.uint8).tobytes())
    image.save(tmp_path / "a.png", bits=bits)
    with Image.open(tmp_path / "a.png") as written:
        assert written.mode == "P"
    assert np.array_equal(read_numbers(File(str(tmp_path / "a.png"))), numbers)


def test_label_map():
    plain, reduced = LabelMap(3, ignored=frozenset({9, 255})), LabelMap(3, first=1, ignored=frozenset({255}))
    assert plain.table[[0, 1, 2, 3, 9, 255, 65535]].tolist() == [0, 1, 2, -1, 255, 255, -1]
    assert reduced.table[[0, 1, 2, 3, 4, 255]].tolist() == [255, 0, 1, 2, -1, 255]


def test_rgb_masks_are_read_by_palette_txt(tree):
    data = tree()
    root = Path(data.root)
    (root / "palette.txt").write_text("# number and color\n0 255 0 0\n1 0 255 0\n2 0 0 255\n255 0 0 0\n")
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 0]], np.uint8)
    numbers = np.random.default_rng(0).integers(0, 4, (6, 8))
    Image.fromarray(colors[numbers]).save(root / "labels/train/0.png")
    train, _ = open_masks(data, Segment())
    assert np.array_equal(train.read(0)[1], np.where(numbers == 3, 255, numbers))
    assert train.palette == ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    Image.new("RGB", (8, 6), (1, 2, 3)).save(root / "labels/train/1.png")
    with pytest.raises(UserError, match="1.png has the color 1 2 3"):
        open_masks(data, Segment())


def test_generated_colors_equal_those_of_pascal_voc():
    assert palette(4) == ((128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128))
    assert len(set(palette(255))) == 255


def save(path: Path, image: Image.Image, **how) -> None:
    image.save(path, **how)


def ignore(root: Path, part: str) -> None:
    for file in (root / "labels" / part).iterdir():
        save(file, Image.new("L", (8, 6), 255))


GRAY, SMALL = Image.new("L", (8, 6)), Image.new("L", (8, 5))
PROBLEMS = {
    "a missing mask": (
        lambda r: (r / "labels/train/1.png").unlink(),
        "1 of 3 images.*no mask: 1.jpg.*labels/train/1.png",
    ),
    "another name": (
        lambda r: (r / "labels/train/1.png").rename(r / "labels/train/1_L.png"),
        "1 of 3 images.*1_L.png there has no image",
    ),
    "a JPEG": (lambda r: save(r / "labels/train/1.png", GRAY, format="JPEG"), "1.png is a JPEG file"),
    "an image": (
        lambda r: save(r / "labels/val/1.png", Image.new("RGB", (8, 6), "red")),
        r"has colors \(RGB\).*palette.txt",
    ),
    "transparency": (lambda r: save(r / "labels/val/1.png", Image.new("LA", (8, 6))), r"transparent pixels \(LA\)"),
    "another size": (lambda r: save(r / "labels/train/2.png", SMALL), "2.png is 8x5.*2.jpg is 8x6"),
    "out of range": (
        lambda r: save(r / "labels/train/2.png", Image.new("L", (8, 6), 3)),
        "2.png has label 3, but the 3",
    ),
    "a folder with the name of a mask": (
        lambda r: ((r / "labels/train/1.png").unlink(), (r / "labels/train/1.png").mkdir()),
        "labels/train/1.png is not a file",
    ),
    "a link to itself": (
        lambda r: ((r / "labels/val/1.png").unlink(), (r / "labels/val/1.png").symlink_to("1.png")),
        "labels/val/1.png is not a file",
    ),
    "all ignored in train": (lambda r: ignore(r, "train"), "all labels of the masks in .*labels/train are ignored"),
    "all ignored in val": (lambda r: ignore(r, "val"), "all labels of the masks in .*labels/val are ignored"),
    "all ignored, without class names": (
        lambda r: (ignore(r, "val"), (r / "classes.txt").unlink()),
        "all labels of the masks in .*labels/val are ignored",
    ),
    "out of range, 16 bits": (
        lambda r: (r / "labels/train/2.png").write_bytes(png(16, np.full((6, 8), 60000))),
        "2.png has label 60000",
    ),
    "a damaged mask": (
        lambda r: (r / "labels/train/2.png").write_bytes((r / "labels/train/2.png").read_bytes()[:45]),
        "cannot read .*labels/train/2.png",
    ),
    "an empty mask": (lambda r: (r / "labels/train/2.png").write_bytes(b""), "cannot read .*2.png: not an image"),
    "an empty image": (lambda r: (r / "images/train/2.jpg").write_bytes(b""), "cannot read .*images/train/2.jpg"),
    "one name twice": (lambda r: save(r / "images/train/1.png", Image.new("RGB", (8, 6))), "both 1.jpg and 1.png"),
    "no images": (lambda r: [f.unlink() for f in (r / "images/val").iterdir()], "images/val holds no images"),
    "no masks": (lambda r: (r / "labels").rename(r / "lables"), "images/, but no folder labels, annotations, masks"),
    "no folder of images": (lambda r: (r / "images").rename(r / "pics"), "no folder images/"),
    "two folders of masks": (lambda r: (r / "masks").mkdir(), "several folders of masks, labels/ and masks/"),
    "no masks of a split": (lambda r: (r / "labels/val").rename(r / "labels/vla"), "cannot list .*labels/val"),
    "no split train": (lambda r: (r / "images/train").rename(r / "images/tarin"), "no split train"),
    "a class twice": (lambda r: (r / "classes.txt").write_text("a\nb\na\n"), "names a twice"),
    "a gap": (lambda r: (r / "classes.txt").write_text("0 a\n2 b\n"), "2 classes with numbers from 0 to 2"),
    "a number twice": (lambda r: (r / "classes.txt").write_text("0 a\n0 b\n"), "gives the same number to two"),
    "no classes": (lambda r: (r / "classes.txt").write_text("\n"), "classes.txt has 0 classes"),
    "too many classes": (lambda r: (r / "classes.txt").write_text("\n".join(map(str, range(300)))), "300 classes"),
    "a binary list": (lambda r: (r / "classes.txt").write_bytes(b"\xff\xfe\0\1"), "cannot read .*classes.txt"),
    "a strange palette": (lambda r: (r / "palette.txt").write_text("red\n"), "palette.txt is not a list of colors"),
    "an empty palette": (lambda r: (r / "palette.txt").write_text(""), "palette.txt is not a list of colors"),
    "a color twice": (lambda r: (r / "palette.txt").write_text("1 1 1\n1 1 1\n"), "one color to two classes"),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_problems_are_errors_before_training(tree, problem):
    data = tree()
    change, message = PROBLEMS[problem]
    change(Path(data.root))
    with pytest.raises(UserError, match=message) as error:
        open_masks(data, Segment())
    assert "\n" not in str(error.value)


def test_unchecked_mask_stops_training_when_it_is_read(tree, monkeypatch):
    data = tree(count=6)
    monkeypatch.setattr("resmlp.data.masks.sources.check_masks", lambda pairs, limit: check_masks(pairs, 2))
    save(Path(data.root) / "labels/train/2.png", Image.new("L", (8, 6), 7))
    train, _ = open_masks(data, Segment(empty_classes=True))
    batches = TrainBatches(train, data, Augment(), seed=0, transform=JointTransform(data, Segment()))
    with pytest.raises(UserError, match="2.png has label 7"):
        list(batches.epoch(0))
    save(Path(data.root) / "labels/train/3.png", SMALL)
    with pytest.raises(UserError, match="3.png is 8x5"):
        open_masks(data, Segment(empty_classes=True))  # the headers of all masks are checked


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_image_with_damaged_pixels_is_replaced_and_named(tree, ending):
    data = tree()
    file = Path(data.root) / f"images/train/1.{ending}"
    (Path(data.root) / "images/train/1.jpg").unlink()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[: -6 if ending == "jpg" else -60])
    train, _ = open_masks(data, Segment())
    with pytest.raises(UnreadableImage):
        train.read(1)
    batches = TrainBatches(train, data, Augment(), seed=0, transform=JointTransform(data, Segment()))
    unreadable = {name for epoch in range(3) for batch in batches.epoch(epoch) for name in batch["unreadable"]}
    assert unreadable == {str(file)}


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
def test_mask_of_a_rotated_image_is_upright(tree, ending):
    data = tree()
    rotated, exif = Image.new("RGB", (6, 8)), Image.Exif()
    exif[0x0112] = 6
    (Path(data.root) / "images/train/1.jpg").unlink()
    rotated.save(Path(data.root) / f"images/train/1.{ending}", exif=exif)
    train, _ = open_masks(data, Segment())
    image, labels = train.read(1)
    assert (image.size, labels.shape) == ((8, 6), (6, 8))


def test_png_with_exif_after_its_pixels(tree):
    data = tree()
    file = Path(data.root) / "images/train/1.png"
    (Path(data.root) / "images/train/1.jpg").unlink()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 8)).save(file, exif=exif)
    parts = chunks(file.read_bytes())
    (exif_chunk,) = [part for part in parts if part[4:8] == b"eXIf"]
    parts.remove(exif_chunk)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join([*parts[:-1], exif_chunk, parts[-1]]))
    train, _ = open_masks(data, Segment())
    assert train.read(1)[0].size == (8, 6)


def chunks(png: bytes) -> list[bytes]:
    """The chunks of a PNG file, each with its length, type and checksum."""
    result, at = [], 8
    while at < len(png):
        length = 12 + int.from_bytes(png[at : at + 4], "big")
        result.append(png[at : at + length])
        at += length
    return result


def test_unicode_forms_of_names_match(tree):
    """An e with an accent is one character in one name and two characters in the other."""
    data = tree()
    for folder, ending, letter in (("images", "jpg", "\u00e9"), ("labels", "png", "e\u0301")):
        (Path(data.root) / folder / "train" / f"1.{ending}").rename(
            Path(data.root) / folder / f"train/{letter}.{ending}"
        )
    train, _ = open_masks(data, Segment())
    assert len(train) == 3


def test_sources_and_roots(tree, tmp_path):
    for source in ("masks", "camvid", "ade20k", "scenes"):
        with pytest.raises(UserError, match="a label for each pixel.*segmentation"):
            open_splits(Data(source=source, root=str(tmp_path)))
    for source in ("folder", "cifar10", "nonsense"):
        with pytest.raises(UserError, match=f"{source} has no label for each pixel.*choose from|did you mean"):
            open_masks(Data(source=source, root=str(tmp_path)), Segment())
    with pytest.raises(UserError, match="--data.root is not given"):
        open_masks(Data(source="camvid"), Segment())
    with pytest.raises(UserError, match="no such folder"):
        open_masks(Data(source="masks", root=str(tmp_path / "nowhere")), Segment())
    (tmp_path / "a.zip").write_bytes(b"")
    with pytest.raises(UserError, match="is a file.*unpack"):
        open_masks(Data(source="masks", root=str(tmp_path / "a.zip")), Segment())


def test_missing_split_and_single_image(tree):
    with pytest.raises(UserError, match="has no splits"):
        open_eval_masks(tree(("",), count=1), Segment(), "test")
    with pytest.raises(UserError, match="single image"):
        open_masks(tree(("",), count=1), Segment())
    with pytest.raises(UserError, match="no split 'tets'.*did you mean"):
        open_eval_masks(tree(("train", "val", "test")), Segment(), "tets")
