"""ReaL labels and index lists: the published files, and malformed ones."""

import json

import pytest

from resmlp.metrics import read_indices, read_real, real_labels
from resmlp.metrics.imagenet_labels import image_number
from resmlp.utils.errors import UserError

NAMES = [f"val/x/ILSVRC2012_val_{number:08d}.JPEG" for number in (1, 2, 3)]


def test_the_published_real_labels(shared):
    path = shared / "imagenet_labels" / "real.json"
    entries = read_real(path, 1000)
    assert len(entries) == 50_000
    assert sum(not entry for entry in entries) == 3_163
    assert sum(len(entry) for entry in entries) == 57_553
    numbers = [50_000, 1, 2, 41, 17]
    names = [f"n00000000/ILSVRC2012_val_{number:08d}.JPEG" for number in numbers]
    plain = json.loads(path.read_text())
    assert [sorted(entry) for entry in real_labels(path, names, 1000)] == [sorted(plain[n - 1]) for n in numbers]
    with pytest.raises(UserError, match="holds 999"):
        read_real(path, 999)


@pytest.mark.parametrize("name", ["imagenet_a_indices.txt", "imagenet_r_indices.txt"])
def test_the_published_index_lists(shared, name):
    indices = read_indices(shared / "imagenet_labels" / name, 1000)
    assert len(set(indices)) == 200
    assert indices == sorted(indices)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("a/ILSVRC2012_val_00000001.JPEG", 1),
        ("val.tar:n01440764/ILSVRC2012_val_00050000.jpg", 50_000),
        ("ILSVRC2012_val_00000293_n01440764.JPEG", 293),
        ("ILSVRC2012_val_00000007/ILSVRC2012_val_00000008.png", 8),
    ],
)
def test_the_number_of_a_name(name, number):
    assert image_number(name) == number


@pytest.mark.parametrize(
    "name",
    ["n01440764_10026.JPEG", "00000001.JPEG", "ILSVRC2012_val_0000001.JPEG", "ILSVRC2012_val_000000011.JPEG", "",
     "ILSVRC2012_val_00000001/image.JPEG", "ILSVRC2012_val_٠٠٠٠٠٠٠١.JPEG"],
)  # fmt: skip
def test_a_name_without_a_number_of_the_validation_set(name):
    with pytest.raises(UserError, match="has no number"):
        image_number(name)


@pytest.fixture
def of_three(monkeypatch):
    """A validation set of three images."""
    monkeypatch.setattr("resmlp.metrics.imagenet_labels.IMAGES", 3)


HOSTILE = [
    ("", "cannot read"),
    ("[[1]", "cannot read"),
    ("[" * 100_000, "cannot read"),
    ("\udc80", "cannot read"),
    ("[]", "is not a list of labels"),
    ("{}", "is not a list of labels"),
    ("null", "is not a list of labels"),
    ('"' + 100_000 * "x" + '"', "is not a list of labels"),
    ("[1, 2, 3]", "image 1 is 1"),
    ('[[1], "12", [3]]', "image 2 is '12'"),
    ('[[1], ["2"], [3]]', "image 2 holds '2'"),
    ("[[1], [2], [3.0]]", "image 3 holds 3.0"),
    ("[[1], [true], [3]]", "image 2 holds True"),
    ("[[1], [null], [3]]", "image 2 holds None"),
    ("[[1], [[2]], [3]]", r"image 2 holds \[2\]"),
    ("[[1], [10], [3]]", "image 2 holds 10"),
    ("[[1], [-1], [3]]", "image 2 holds -1"),
    ("[[1], [1e9999], [3]]", "image 2 holds inf"),
    ("[[1], [" + "9" * 4000 + "], [3]]", "image 2 holds 9"),
    ("[[1], [2]]", "has labels of 2 images, not 3"),
]


@pytest.mark.parametrize(("text", "message"), HOSTILE, ids=[text[:24] for text, _ in HOSTILE])
@pytest.mark.usefixtures("of_three")
def test_a_malformed_label_file_gives_one_line(tmp_path, text, message):
    path = tmp_path / "real.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=message) as error:
        real_labels(path, NAMES, 10)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500 + len(str(path))


def test_a_missing_file_or_a_folder(tmp_path):
    for read in (read_real, read_indices):
        with pytest.raises(UserError, match="no file"):
            read(tmp_path / "nothing", 10)
        with pytest.raises(UserError, match=r"cannot read|is a folder, not a file"):
            read(tmp_path, 10)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([*NAMES, "other/ILSVRC2012_val_00000002.png"], "have the same number"),
        ([*NAMES, "ILSVRC2012_val_00000000.JPEG"], "images 1 to 3"),
        ([*NAMES, "ILSVRC2012_val_00000004.JPEG"], "images 1 to 3"),
        ([*NAMES, "image.JPEG"], "has no number"),
    ],
)
@pytest.mark.usefixtures("of_three")
def test_images_without_labels_of_their_own(tmp_path, names, message):
    path = tmp_path / "real.json"
    path.write_text("[[1], [], [3, 4, 3]]")
    assert real_labels(path, NAMES[::-1], 10) == [{3, 4}, set(), {1}]
    with pytest.raises(UserError, match=message):
        real_labels(path, names, 10)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"6\n1000\n", "holds 1000"),
        (b"6\n-1\n", "'-1'"),
        (b"6\n1.0\n", "'1.0'"),
        (b"6\n1_0\n", "'1_0'"),
        (b"6\n" + b"9" * 5000, "holds '999"),
        ("6\n٣\n".encode(), "holds '٣'"),
        (b"6\nn01440764\n", "'n01440764'"),
        (b"6\n11\n6\n", "twice"),
        (b"\xff\xfe", "cannot read"),
    ],
)
def test_a_malformed_index_list_gives_one_line(tmp_path, text, message):
    path = tmp_path / "indices.txt"
    path.write_bytes(text)
    with pytest.raises(UserError, match=message) as error:
        read_indices(path, 1000)
    assert "\n" not in str(error.value)


def test_indices_come_in_increasing_order(tmp_path):
    (tmp_path / "indices.txt").write_text("11\r\n6\n\n 999 \n")
    assert read_indices(tmp_path / "indices.txt", 1000) == [6, 11, 999]
