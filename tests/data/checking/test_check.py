"""Each kind of issue is created in a tree: the check must report it, by name, and report nothing else."""

import gzip
import io
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resmlp.config import Data
from resmlp.config.checking import CheckedData
from resmlp.data import open_splits
from resmlp.data.checking import check as checking
from resmlp.data.checking.check import check_data
from resmlp.data.checking.issues import KINDS, Issue
from resmlp.data.loading import loader
from resmlp.utils.errors import UserError

FORMATS = {".jpg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".webp": "WEBP", ".tif": "TIFF", ".ppm": "PPM"}
CLEAN = [
    f"{part}/{name}/{i}.jpg" for part, n in (("train", 3), ("val", 2)) for name in ("cat", "dog") for i in range(n)
]
drawn = np.random.default_rng(0)


def noise(width: int = 40, height: int = 36, mode: str = "RGB") -> Image.Image:
    """A random image, unlike any other."""
    return Image.fromarray(drawn.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode)


def saved(image: Image.Image, kind: str, **how) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def put(path: Path, content: bytes | Image.Image | None = None, **how) -> Path:
    """Write a file: bytes, or an image in the format of its extension; by default noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, bytes):
        content = saved(content or noise(), FORMATS[path.suffix.lower()], **how)
    path.write_bytes(content)
    return path


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """A tree without issues: train/ and val/, two classes, ten JPEG files."""
    for path in CLEAN:
        put(tmp_path / "tree" / path)
    return tmp_path / "tree"


def issues_of(root: Path | str, **options) -> dict[str, list[str]]:
    """The names of each kind of issue."""
    return {issue.kind: issue.names for issue in check_data(root, **options).issues}


def details(root: Path | str, kind: str, **options) -> dict[str, str]:
    """The names of one issue with their details."""
    issue = next(issue for issue in check_data(root, **options).issues if issue.kind == kind)
    return dict(zip(issue.names, issue.details, strict=True))


@pytest.mark.parametrize("options", [{}, {"decode": True}, {"workers": 2}, {"workers": None}], ids=str)
def test_clean_tree_has_no_issues(clean, options):
    report = check_data(clean, **options)
    assert report.issues == []
    assert report.images == 10
    assert report.classes == {"cat": {"train": 3, "val": 2}, "dog": {"train": 3, "val": 2}}
    side = {"width": 40, "height": 36}
    assert report.sizes == {name: dict.fromkeys(("min", "median", "max"), n) for name, n in side.items()}
    assert report.modes == {"RGB": 10}


# images

EXIF_ON_ITS_SIDE = Image.Exif()
EXIF_ON_ITS_SIDE[0x0112] = 6
GRAY_12 = Image.fromarray(drawn.integers(0, 4096, (40, 40), dtype=np.uint16))
GRAY_16 = Image.fromarray(drawn.integers(0, 65536, (40, 40), dtype=np.uint16))

IMAGES: dict[str, tuple[Callable[[Path], object], dict[str, list[str]]]] = {
    "empty": (lambda root: put(root / "x.jpg", b""), {"unreadable": ["x.jpg"]}),
    "text": (lambda root: put(root / "x.png", b"<html>404</html>"), {"unreadable": ["x.png"]}),
    "pipe": (lambda root: os.mkfifo(root / "x.jpg"), {"special-file": ["x.jpg"]}),
    "broken link": (lambda root: (root / "x.jpg").symlink_to("gone.jpg"), {"unreadable": ["x.jpg"]}),
    "broken link without extension": (lambda root: (root / "x").symlink_to("gone"), {"broken-link": ["x"]}),
    "32-bit": (lambda root: put(root / "x.tif", noise(mode="F")), {"unknown-range": ["x.tif"]}),
    "wrong extension": (lambda root: put(root / "x.jpg", saved(noise(), "PNG")), {"wrong-extension": ["x.jpg"]}),
    "GIF as PNG": (lambda root: put(root / "x.png", saved(noise(), "GIF")), {"wrong-extension": [], "palette": []}),
    "GIF": (lambda root: put(root / "x.gif", saved(noise(), "GIF")), {"palette": ["x.gif"]}),
    "JFIF": (lambda root: put(root / "x.JFIF", saved(noise(), "JPEG")), {}),
    "AVIF": (lambda root: put(root / "x.avif", saved(noise(), "AVIF")), {}),
    "JPEG 2000": (lambda root: put(root / "x.jp2", saved(noise(), "JPEG2000")), {}),
    "no extension": (lambda root: put(root / "x", saved(noise(), "JPEG")), {"wrong-extension": ["x"]}),
    "JPEG XL": (lambda root: put(root / "x.jxl", b"\xff\x0a"), {"unsupported-extension": ["x.jxl"]}),
    "HEIC": (lambda root: put(root / "x.heic", b"\0\0\0\x18ftypheic"), {"unreadable": ["x.heic"]}),
    "raw": (lambda root: put(root / "x.nef", saved(noise(), "TIFF")), {"unsupported-extension": ["x.nef"]}),
    "a run": (
        lambda root: [put(root / "r" / n, b"{}") for n in ("recipe.json", ".lock")] and put(root / "r/figures/x.png"),
        {"passed-over": ["r/"]},
    ),
    "thumbnails": (lambda root: put(root / "@eaDir" / "x.jpg" / "thumb.jpg"), {"passed-over": ["@eaDir/"]}),
    "notes": (lambda root: put(root / "x.txt", b"RIFF"), {"not-image": ["x.txt"]}),
    "archive": (lambda root: put(root / "x.zip", b"PK"), {"unopened-archive": ["x.zip"]}),
    "grayscale": (lambda root: put(root / "x.jpg", noise(mode="L")), {"grayscale": ["x.jpg"]}),
    "one bit": (lambda root: put(root / "x.png", noise(mode="1")), {"grayscale": ["x.png"]}),
    "palette": (lambda root: put(root / "x.png", noise(mode="P")), {"palette": ["x.png"]}),
    "CMYK": (lambda root: put(root / "x.jpg", noise(mode="CMYK")), {"cmyk": ["x.jpg"]}),
    "16-bit": (lambda root: put(root / "x.png", GRAY_16), {"16-bit": ["x.png"]}),
    "12 bits of 16": (lambda root: put(root / "x.png", GRAY_12), {"16-bit": ["x.png"], "value-range": ["x.png"]}),
    "alpha": (lambda root: put(root / "x.png", noise(mode="RGBA")), {"transparent": ["x.png"]}),
    "transparent palette": (
        lambda root: put(root / "x.png", noise(mode="P"), transparency=3),
        {"palette": ["x.png"], "transparent": ["x.png"]},
    ),
    "rotated": (lambda root: put(root / "x.jpg", exif=EXIF_ON_ITS_SIDE), {"exif-rotated": ["x.jpg"]}),
    "tiny": (lambda root: put(root / "x.jpg", noise(31, 60)), {"tiny": ["x.jpg"]}),
    "extreme aspect": (lambda root: put(root / "x.jpg", noise(201, 40)), {"extreme-aspect": ["x.jpg"]}),
    "hidden": (lambda root: put(root / ".DS_Store", b"x"), {"hidden": [".DS_Store"]}),
    "hidden folder": (lambda root: put(root / ".git" / "x.jpg"), {"hidden": [".git/"]}),
    "Windows": (lambda root: put(root / "Thumbs.db", b"x"), {"hidden": ["Thumbs.db"]}),
    "loop": (lambda root: (root / "x").symlink_to(root.parent), {"link-loop": ["x/"]}),
    "unprintable": (lambda root: put(root / "x\n\udcff.jpg"), {"unprintable": [r"x\n\udcff.jpg"]}),
    "data after the end": (lambda root: put(root / "x.jpg", saved(noise(), "JPEG") + b"\0" * 99), {}),
}


@pytest.mark.parametrize("options", [{}, {"decode": True}], ids=["headers", "decoded"])
@pytest.mark.parametrize("name", IMAGES)
def test_issues_of_a_file_have_its_name(clean, name, options):
    make, expected = IMAGES[name]
    make(clean / "train" / "dog")
    expected = {kind: [f"train/dog/{path}" for path in paths or ["x.png"]] for kind, paths in expected.items()}
    assert issues_of(clean, **options) == expected


def test_reasons_and_details(clean):
    put(clean / "train/dog/a.jpg", b"")
    put(clean / "train/dog/b.jpg", b"<html>")
    put(clean / "train/dog/c.jpg", saved(noise(300, 300), "JPEG")[:-4000])
    (clean / "train/dog/d.jpg").symlink_to("gone")
    put(clean / "train/dog/e.jpg", saved(noise(20, 30), "PNG"))
    reasons = details(clean, "unreadable")
    assert reasons.pop("train/dog/c.jpg").startswith("image file is truncated")
    assert reasons == {
        "train/dog/a.jpg": "the file is empty",
        "train/dog/b.jpg": "not an image, or an unsupported format",
        "train/dog/d.jpg": "No such file or directory",
    }
    assert details(clean, "wrong-extension") == {"train/dog/e.jpg": "PNG"}
    assert details(clean, "tiny") == {"train/dog/e.jpg": "20x30"}


def test_size_of_a_rotated_image_is_the_upright_one(clean):
    put(clean / "train/dog/x.jpg", noise(200, 50), exif=EXIF_ON_ITS_SIDE)
    sizes = check_data(clean).sizes
    assert (sizes["width"]["max"], sizes["height"]["max"]) == (50, 200)


@pytest.mark.parametrize(
    ("value_range", "expected"),
    [
        (None, {"unknown-range": ["x.tif"]}),
        ((0, 255), {}),
        ((0, 9), {"value-range": ["x.tif"]}),
    ],
)
@pytest.mark.parametrize("mode", ["F", "I"])
def test_the_range_that_the_check_asks_for(tmp_path, value_range, expected, mode):
    """Of float and of 32-bit integers below 0, as in training: it is given to the check by the same name."""
    for path in AB:
        put(tmp_path / path, noise())
    pixels = drawn.integers(0, 256, (40, 40)) - (mode == "I")
    put(tmp_path / "a/x.tif", Image.fromarray(pixels.astype(np.float32 if mode == "F" else np.int32)))
    if mode == "I" and value_range == (0, 255):
        value_range = (-1, 255)
    expected = {kind: [f"a/{path}" for path in paths] for kind, paths in expected.items()}
    found = issues_of(tmp_path, data=CheckedData(value_range=value_range))
    assert {kind: names for kind, names in found.items() if kind != "16-bit"} == expected


def test_img_size(clean):
    assert issues_of(clean, img_size=(36, 40)) == {}
    assert issues_of(clean, img_size=(37,)) == {"tiny": CLEAN}
    assert issues_of(clean, img_size=(36, 41)) == {"tiny": CLEAN}


def test_very_many_pixels(clean, monkeypatch):
    """An image with more pixels than Pillow's limit is huge; one with more than twice as many cannot be read."""
    put(clean / "train/dog/x.png", noise(60, 50))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    assert issues_of(clean) == {"huge": ["train/dog/x.png"]}
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1499)
    assert issues_of(clean) == {"unreadable": ["train/dog/x.png"]}


# duplicates


def test_duplicates(clean):
    for copy in ("train/dog/copy.jpg", "train/dog/deeper.jpg"):
        shutil.copy(clean / "train/cat/0.jpg", clean / copy)
    shutil.copy(clean / "train/dog/1.jpg", clean / "val/dog/copy.jpg")
    shutil.copy(clean / "val/cat/1.jpg", clean / "val/cat/copy.jpg")
    same_size = (clean / "val/cat/0.jpg").read_bytes()
    put(clean / "val/cat/other.jpg", same_size[:300] + bytes([same_size[300] ^ 1]) + same_size[301:])
    assert issues_of(clean) == {
        "label-conflict": ["train/cat/0.jpg = train/dog/copy.jpg = train/dog/deeper.jpg"],
        "leak": ["train/dog/1.jpg = val/dog/copy.jpg"],
        "duplicate": [
            "train/cat/0.jpg = train/dog/copy.jpg = train/dog/deeper.jpg",
            "val/cat/1.jpg = val/cat/copy.jpg",
        ],
    }


def test_damaged_files_are_not_duplicates(clean):
    for path in ("train/dog/a.jpg", "train/cat/a.jpg"):
        put(clean / path, b"<html>")
    assert issues_of(clean) == {"unreadable": ["train/cat/a.jpg", "train/dog/a.jpg"]}


def test_duplicates_equal_those_of_pairwise_comparison(tmp_path):
    """60 images of 20 contents in 3 classes and 2 splits, uncompressed and so all of the same size."""
    contents = [saved(noise(), "BMP") for _ in range(20)]
    places = {}
    for i, content in enumerate(drawn.integers(0, 20, 60)):
        place = (("train", "val")[i % 2], "abc"[i % 3])
        places[put(tmp_path / "t" / place[0] / place[1] / f"{i:02}.bmp", contents[content])] = place
    leaks, conflicts = set(), set()
    for one, (part, name) in places.items():
        for other, (other_part, other_name) in places.items():
            if one.read_bytes() == other.read_bytes():
                leaks |= {one, other} if part != other_part else set()
                conflicts |= {one, other} if name != other_name else set()
    got = issues_of(tmp_path / "t", workers=2)
    for kind, paths in (("leak", leaks), ("label-conflict", conflicts)):
        names = [name for group in got[kind] for name in group.split(" = ")]
        assert sorted(names) == sorted(str(path.relative_to(tmp_path / "t")) for path in paths)


# layout


def layout(root: Path, *paths: str) -> dict[str, list[str]]:
    for path in paths:
        put(root / path)
    return issues_of(root)


AB = ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")
LAYOUTS: dict[str, tuple[list[str], dict[str, list[str]]]] = {
    "no splits": ([*AB], {}),
    "splits in a folder": ([f"w/{part}/{path}" for part in ("train", "val") for path in AB], {}),
    "flat": (["1.jpg", "2.jpg"], {"no-classes": ["."]}),
    "flat splits": (["train/1.jpg", "val/1.jpg"], {"no-classes": ["train/", "val/"]}),
    "flat val": ([*(f"train/{p}" for p in AB), "val/1.jpg"], {"unused-folder": ["val/"]}),
    "extra folder": ([f"w/{path}" for path in AB], {"extra-folder": ["w/"]}),
    "extra folder in train": ([f"{p}/w/{q}" for p in ("train", "val") for q in AB], {"extra-folder": ["train/w/"]}),
    "single": (["a/1.jpg", "a/2.jpg"], {"single-class": ["a/"]}),
    "outside class folders": ([*AB, "1.jpg"], {"no-class-folder": ["1.jpg"]}),
    "next to splits": ([*(f"{p}/{q}" for p in ("train", "val", "x") for q in AB)], {"unused-folder": ["x/"]}),
    "only val": ([f"val/{path}" for path in AB], {"no-train": ["val/"]}),
    "nested": ([*AB, "a/x/1.jpg", "a/y/1.jpg"], {"nested": ["a/"]}),
    "one image": (["a/1.jpg", "b/1.jpg", "b/2.jpg"], {"cannot-split": ["a"]}),
    "one training image": ([*(f"val/{p}" for p in AB), *(f"train/{p}" for p in AB[1:])], {"one-image": ["train/a"]}),
    "case": ([*AB, "B/1.jpg", "B/2.jpg"], {"similar-names": ["'B'", "'b'"]}),
    "spaces": ([*AB, "c /1.jpg", "c /2.jpg"], {"similar-names": ["'c '"]}),
    "numeric names": ([f"{n}/{i}.jpg" for n in (9, 10) for i in range(2)], {"numeric-names": ["10", "9"]}),
    "numbers of equal length": ([f"{n:02}/{i}.jpg" for n in (9, 10) for i in range(2)], {}),
    "imbalance": ([*AB, *(f"a/x{i}.jpg" for i in range(18))], {"imbalance": ["a", "b"]}),
    "almost balanced": ([*AB, *(f"a/x{i}.jpg" for i in range(17))], {}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(tmp_path, name):
    paths, expected = LAYOUTS[name]
    assert layout(tmp_path / "tree", *paths) == expected


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_has_errors_exactly_if_training_raises(tmp_path, name):
    """At least one issue of severity error if `open_splits` raises, and none if it does not."""
    layout(tmp_path / "tree", *LAYOUTS[name][0])
    try:
        open_splits(Data(root=str(tmp_path / "tree")))
        refused = False
    except UserError:
        refused = True
    assert bool(check_data(tmp_path / "tree").errors) == refused


def test_splits_inside_classes(tmp_path):
    root = tmp_path / "tree"
    assert layout(root, *(f"{n}/{p}/1.jpg" for n in "ab" for p in ("train", "val"))) == {"nested": ["a/", "b/"]}
    issue = check_data(root).issues[0]
    assert (issue.severity, issue.fix) == ("warning", "move train/ and val/ above the class folders")


def test_one_folder_in_each_class_is_a_note(tmp_path):
    assert layout(tmp_path / "t", *(f"{n}/images/{i}.jpg" for n in "ab" for i in "12")) == {"nested": ["a/", "b/"]}
    assert check_data(tmp_path / "t").issues[0].severity == "note"


def test_class_folders_without_images(clean):
    (clean / "train/cow").mkdir()
    put(clean / "val/pig/notes.txt", b"x")
    put(clean / "val/hen/.DS_Store", b"x")
    put(clean / "__MACOSX/._x", b"x")
    assert issues_of(clean) == {
        "empty-class": ["train/cow/", "val/hen/", "val/pig/"],
        "not-image": ["val/pig/notes.txt"],
        "hidden": ["val/hen/.DS_Store"],
        "passed-over": ["__MACOSX/"],
    }


def test_different_classes_and_the_shift_of_labels(clean):
    shutil.rmtree(clean / "val/cat")
    put(clean / "val/emu/1.jpg")
    assert details(clean, "classes-differ") == {"cat": "not in val/", "emu": "not in train/"}
    issue = check_data(clean).issues[0]
    assert "1 shared classes would shift, the first dog from label 1 to 0" in issue.fix


def test_a_folder_that_cannot_be_listed(clean, monkeypatch):
    real = os.scandir

    def scandir(path):
        if str(path).endswith("val/cat"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    got = issues_of(clean)
    assert got.pop("cannot-list") == ["val/cat/"]
    assert got == {"classes-differ": ["cat"]}


def test_archives(pack, tmp_path):
    """One of two archives is damaged: the check lists the rest."""
    pack("all/train.tar", *(path.replace("jpg", "png") for path in AB), "a/x.txt", "a/.hidden.png")
    Path(pack("all/val.tgz", *AB)).write_bytes(gzip.compress(b"x" * 2000))
    got = issues_of(tmp_path / "all")
    assert got == {
        "cannot-list": ["val.tgz"],
        "tiny": [f"train/{path}".replace("jpg", "png") for path in AB],
        "not-image": ["train/a/x.txt"],
    }


@pytest.mark.parametrize("name", ["hostile.tar", "all/hostile.tgz"])
def test_hostile_archive_is_checked_without_following_its_paths(pack, name, tmp_path):
    put(tmp_path / "secret", saved(noise(), "JPEG"))
    pack(name, *(f"{n}/{i}.png" for n in "ab" for i in "12"), "../secret", "secret", "x" * 5000, "a/link")
    got = issues_of(tmp_path / Path(name).parts[0])
    assert got.pop("tiny") == ["a/1.png", "a/2.png", "b/1.png", "b/2.png"]
    assert got.pop("outside-archive") == [f"{Path(name).name}:../secret"]
    assert got == {"not-image": ["a/link", "secret", "x" * 5000]}


# against plain Pillow


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """The data truncated, with a few changed bytes, empty, longer, or unchanged."""
    kind = rng.integers(6)
    if kind == 0:
        return data[: rng.integers(len(data))]
    if kind == 1:
        changed = bytearray(data)
        for place in rng.integers(len(data), size=3):
            changed[place] = rng.integers(256)
        return bytes(changed)
    return {2: b"", 3: data + b"\0" * int(rng.integers(200))}.get(int(kind), data)


def unreadable_for_pillow(root: Path) -> set[str]:
    """The files that Pillow cannot open and decode."""
    broken = set()
    for path in root.rglob("*.*"):
        try:
            with Image.open(path) as image:
                image.convert("RGB")
        except Exception:
            broken.add(str(path.relative_to(root)))
    return broken


@pytest.mark.parametrize("seed", range(4))
def test_unreadable_files_equal_those_of_pillow(tmp_path, seed):
    rng = np.random.default_rng(seed)
    for i in range(80):
        ending = list(FORMATS)[rng.integers(len(FORMATS))]
        image = noise(*rng.integers(33, 90, 2))
        put(tmp_path / f"{'ab'[i % 2]}/{i}{ending}", damaged(saved(image, FORMATS[ending]), rng))
    broken = unreadable_for_pillow(tmp_path)
    assert 15 < len(broken) < 65
    assert set(issues_of(tmp_path, decode=True, workers=2)["unreadable"]) == broken
    assert set(issues_of(tmp_path)["unreadable"]) <= broken


@pytest.mark.parametrize("ending", [".jpg", ".png", ".bmp", ".webp"])
def test_headers_find_every_truncated_file(tmp_path, ending):
    data = saved(noise(64, 64), FORMATS[ending])
    for i, cut in enumerate(drawn.integers(1, len(data), 40)):
        put(tmp_path / f"{'ab'[i % 2]}/{i}{ending}", data[:-cut])
    assert set(issues_of(tmp_path)["unreadable"]) == unreadable_for_pillow(tmp_path)


# report


def test_report_as_json(clean):
    put(clean / "train/dog/a\n.jpg", b"")
    put(clean / "train/dog/b.jpg", noise(20, 20))
    report = check_data(clean)
    again = json.loads(json.dumps(report.to_dict()))
    assert again == report.to_dict()
    assert list(again) == ["path", "decoded", "images", "classes", "splits", "sizes", "modes", "issues", "seconds"]
    assert again["path"] == str(clean)
    assert [issue["severity"] for issue in again["issues"]] == ["error", "warning", "note"]
    for issue in again["issues"]:
        assert set(issue) == {"kind", "severity", "count", "names", "details", "fix"}
        assert issue["count"] == len(issue["names"]) == 1
        assert len(issue["details"]) in (0, issue["count"])


def test_raise_for_errors(clean):
    check_data(clean).raise_for_errors()
    put(clean / "train/dog/a.jpg", b"")
    with pytest.raises(UserError, match="1 issue must be fixed before training: unreadable 1 "):
        check_data(clean).raise_for_errors()


@pytest.mark.parametrize("options", [{"workers": 0}, {"img_size": ()}, {"img_size": (0,)}, {"img_size": (1, 2, 3)}])
def test_arguments_out_of_range(clean, options):
    with pytest.raises(UserError, match="--workers 0|--img-size"):
        check_data(clean, **options)


def test_report_does_not_depend_on_the_workers(clean):
    for i in range(150):
        put(clean / f"train/cat/x{i:03}.jpg", noise(32 + i, 40) if i % 7 else b"")
    one, two = (check_data(clean, workers=workers) for workers in (1, 2))
    assert one == replace(two, seconds=one.seconds)
    assert len(one.issues[0].names) == 22


def test_progress_is_called_until_the_end(clean):
    shutil.copy(clean / "train/dog/1.jpg", clean / "val/dog/copy.jpg")
    calls: list[tuple[str, int, int]] = []
    check_data(clean, progress=lambda *call: calls.append(call))
    assert calls == [("headers", 11, 11), ("duplicates", 2, 2), *(("near duplicates", i, 11) for i in (4, 8, 11))]


def test_text_of_an_issue_shows_five_names():
    line = str(Issue.of("tiny", {f"{i:03}.jpg": "8x8" for i in range(1200)}))
    assert line.startswith("images that will be enlarged (1,200): 000.jpg (8x8), 001.jpg (8x8), ")
    assert "004.jpg (8x8) and 1,195 more -> choose" in line
    assert str(Issue.of("link-loop", ["a/"])).startswith("links to a folder that contains them (1): a/ -> ")
    assert all(kind.what and kind.fix for kind in KINDS.values())


@pytest.mark.skipif(multiprocessing.get_start_method() != "fork", reason="the patch would not reach the workers")
def test_workers_that_always_die_are_a_user_error(clean, monkeypatch):
    for i in range(80):
        put(clean / f"train/cat/x{i}.jpg")
    monkeypatch.setattr(checking, "read_header", lambda image, decode: os._exit(9))
    monkeypatch.setattr(loader, "MAX_DEATHS", 1)
    with pytest.raises(
        UserError, match=r"2 worker processes of the loader died \(exit code 9.* while reading .*x\d+.jpg.*memory"
    ):
        check_data(clean, workers=2)


# real data


@pytest.mark.parametrize("decode", [False, True])
def test_real_folder(shared, decode):
    report = check_data(shared / "caltech20", decode=decode)
    assert [(issue.kind, len(issue.names)) for issue in report.issues] == [("near-leak", 7), ("grayscale", 48)]
    assert report.modes == {"RGB": 1912, "L": 48}
    counts = [sum(count[split] for count in report.classes.values()) for split in ("train", "val")]
    assert (report.images, *counts) == (1960, 1371, 589)


def test_real_archive(shared):
    report = check_data(shared / "imagenet_samples" / "imagenet_samples_256.tar", decode=True, workers=2)
    assert report.images == 1000
    assert [(issue.kind, len(issue.names)) for issue in report.issues] == [("cannot-split", 1000)]
