"""The index of a packed data set: what it holds, what a damaged or hostile file comes to, and its memory."""

import json
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from resmlp.data.shards.columns import DIGEST, digest_of, write_columns
from resmlp.data.shards.folder import Shard
from resmlp.data.shards.index import DTYPES, INDEX, Index, Split, name_columns, write_index
from resmlp.data.shards.rows import Images, Labels, Paths
from resmlp.utils.errors import UserError

NAMES = ["train/cat/1.png", "train/dog/ü.png", "train/dog/2.png", "val/cat/犬.png", "val/dog/x y.png"]
SHARDS = [Shard("train-00000.tar", 4000, "00" * 16), Shard("val-00000.tar", 3000, "11" * 16)]
SPLITS = {"train": Split(0, 3, "train/"), "val": Split(3, 2, "val/")}


def columns(**changes) -> dict[str, np.ndarray]:
    own = {
        "label": np.array([0, 1, 1, 0, 1]),
        "shard": np.array([0, 0, 0, 1, 1]),
        "offset": np.array([512, 1536, 2560, 512, 1536]),
        "size": np.array([70, 80, 90, 100, 110]),
        **name_columns(NAMES),
    }
    return own | {name: np.asarray(value) for name, value in changes.items()}


def write(folder: Path, plan="p", classes=("cat", "dog"), shards=SHARDS, splits=SPLITS, **changes) -> Path:
    write_index(folder, columns(**changes), classes=classes, shards=shards, splits=splits, plan=plan)
    return folder / INDEX


def error_of(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        Index(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200 + 2 * len(str(path))
    return str(caught.value)


def test_what_was_written_is_read(tmp_path):
    index = Index(write(tmp_path))
    assert [index.name(row) for row in range(len(index))] == NAMES
    assert (index.classes, index.shards, index.splits) == (("cat", "dog"), tuple(SHARDS), SPLITS)
    member = Images(index, index.splits["val"].range)[1]
    assert (member.archive, member.path) == (str(tmp_path / "val-00000.tar"), "val/dog/x y.png")
    assert (member.offset, member.size) == (1536, 110)


def test_the_library_of_safetensors_reads_the_same_columns(tmp_path):
    read = load_file(write(tmp_path))
    assert read.keys() == DTYPES.keys()
    for name, values in columns().items():
        np.testing.assert_array_equal(read[name], values)


def test_the_same_content_gives_the_same_bytes(tmp_path):
    first = write(tmp_path).read_bytes()
    assert write(tmp_path).read_bytes() == first


def test_columns_are_aligned_views(tmp_path):
    index = Index(write(tmp_path))
    for name in DTYPES:
        array = getattr(index, name)
        assert not array.flags.owndata
        assert array.flags.aligned


def test_rows_are_sequences(tmp_path):
    index = Index(write(tmp_path))
    labels, paths = Labels(index, range(3)), Paths(index, range(3))
    assert list(labels) == [0, 1, 1]
    np.testing.assert_array_equal(np.bincount(labels), [1, 2])
    assert np.asarray(labels).dtype == np.int32
    assert np.shares_memory(np.asarray(labels), index.label)
    assert list(paths.take([2, 0])) == [NAMES[2], NAMES[0]]
    assert list(paths.take([2, 0]) + Paths(index, range(3, 5))) == [NAMES[2], NAMES[0], *NAMES[3:]]
    assert list(Labels(index, range(5))[::-2]) == np.asarray(Labels(index, range(5))[::-2]).tolist() == [1, 1, 0]
    assert paths[-1] == NAMES[2]
    with pytest.raises(IndexError):
        paths[3]


def test_a_pickled_index_is_its_path(tmp_path):
    index = Index(write(tmp_path))
    text = pickle.dumps((Labels(index, range(5)), Paths(index, range(5))))
    labels, paths = pickle.loads(text)
    assert len(text) < 1000 + len(str(tmp_path))
    assert labels.packed is paths.packed
    assert (list(labels), list(paths)) == ([0, 1, 1, 0, 1], NAMES)
    write(tmp_path, plan="another")
    with pytest.raises(UserError, match="has changed since it was opened"):
        pickle.loads(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"label": [0, 1, 2, 0, 1]},
        {"label": [0, 1, -1, 0, 1]},
        {"shard": [0, 0, 0, 1, 2]},
        {"shard": [0, 0, -1, 1, 1]},
        {"offset": [512, 1536, 3911, 512, 1536]},
        {"offset": [512, 1536, -1, 512, 1536]},
        {"offset": [512, 1536, 2**63 - 1, 512, 1536]},
        {"size": [70, 80, 90, 100, 2**40]},
        {"size": [70, 80, 90, 100, -1]},
        {"name_start": [0, 15, 10, 40, 50, 64]},
        {"name_start": [0, 15, 15, 40, 50, 64]},
        {"name_start": [0, 2**62, 15, 40, 50, 64]},
        {"name_start": [0, -(2**63), 15, 40, 50, 64]},
        {"names": np.full(64, 0xFF)},
        {"name_start": [0, 26, 31, 47, 50, 64]},
        {"label": [0, 1, 1, 0]},
        {"classes": ("cat", "cat")},
        {"classes": ()},
        {"shards": [Shard("../x.tar", 4000, ""), SHARDS[1]]},
        {"shards": [Shard("/etc/x.tar", 4000, ""), SHARDS[1]]},
        {"shards": [Shard("x.tar", -1, ""), SHARDS[1]]},
        {"splits": {"train": Split(0, 3, ""), "val": Split(2, 3, "")}},
        {"splits": {"train": Split(0, 4, "")}},
        {"splits": {"train": Split(0, 2**60, "")}},
        {"splits": {"other": Split(0, 5, "")}},
    ],
    ids=str,
)
def test_values_that_cannot_be_are_an_error(tmp_path, changes):
    assert "index.safetensors is damaged: " in error_of(write(tmp_path, **changes))


def header_of(data: bytes) -> dict:
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def with_header(data: bytes, header: object) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + int.from_bytes(data[:8], "little") :]


def edited(name: str, **fields):
    def edit(data: bytes) -> bytes:
        header = header_of(data)
        header[name] |= fields
        return with_header(data, header)

    return edit


def flip(place: int):
    return lambda data: data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize(
    "edit",
    [
        lambda data: b"",
        lambda data: data[:7],
        lambda data: data[:100],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: (2**63).to_bytes(8, "little") + data[8:],
        lambda data: with_header(data, b"not JSON"),
        lambda data: with_header(data, b"[" * 100_000),
        lambda data: with_header(data, b"\xff\xfe{}"),
        lambda data: with_header(data, [1, 2]),
        lambda data: with_header(data, {}),
        lambda data: with_header(data, header_of(data) | {"more": header_of(data)["label"]}),
        lambda data: with_header(data, header_of(data) | {"label": None}),
        edited("label", dtype="F32"),
        edited("label", dtype="I64"),
        edited("label", shape=[2**60]),
        edited("label", shape=[5, 1]),
        edited("label", shape=[5.0]),
        edited("label", shape=[True]),
        edited("label", data_offsets=[0, 20]),
        edited("label", data_offsets=[-20, 0]),
        edited("label", data_offsets=[10**12, 10**12 + 20]),
        edited("label", data_offsets=["0", "20"]),
        edited("__metadata__", classes="[1, 2]"),
        edited("__metadata__", classes='["cat", "cow"]'),
        edited("__metadata__", classes=7),
        edited("__metadata__", shards='{"a": 1}'),
        edited("__metadata__", shards='[["a.tar", 4000]]'),
        edited("__metadata__", splits="[]"),
        edited("__metadata__", splits='{"train": "abc"}'),
        edited("__metadata__", version="null"),
        edited("__metadata__", digest='"0"'),
        flip(-3),  # a letter of a path
        flip(-70),
    ],
)
def test_a_damaged_file_is_an_error(tmp_path, edit):
    path = write(tmp_path)
    path.write_bytes(edit(path.read_bytes()))
    error = error_of(path)
    assert str(path) in error
    assert "damaged" in error or "of another version" in error


def test_a_hostile_file_with_a_valid_checksum_is_an_error(tmp_path):
    about = {"version": 1, "classes": ["a"], "shards": [["a.tar", 10, ""]], "splits": {"all": [0, 1, ""]}, "plan": ""}
    arrays = {name: np.zeros(1, np.int64) for name in DTYPES} | {
        "name_start": np.array([0, 1]),
        "names": np.array([65]),
    }
    write_columns(tmp_path / INDEX, arrays, DTYPES, about)
    assert Index(tmp_path / INDEX).name(0) == "A"
    write_columns(tmp_path / INDEX, arrays | {"offset": np.array([11])}, DTYPES, about)
    assert "beyond the end of its shard" in error_of(tmp_path / INDEX)


def test_a_missing_file_and_a_folder(tmp_path):
    assert "no file" in error_of(tmp_path / INDEX)
    (tmp_path / INDEX).mkdir()
    assert "is a folder" in error_of(tmp_path / INDEX)


def test_shards_are_compared_with_the_disk(tmp_path):
    index = Index(write(tmp_path))
    for shard in SHARDS:
        (tmp_path / shard.name).write_bytes(bytes(shard.bytes))
    index.check_shards()
    path = tmp_path / "val-00000.tar"
    path.write_bytes(bytes(2999))
    with pytest.raises(UserError, match="val-00000.tar has 2,999 bytes, and 3,000 when it was packed: it was cut"):
        index.check_shards()
    path.unlink()
    with pytest.raises(UserError, match="no shard .*val-00000.tar"):
        index.check_shards()
    path.mkdir()
    with pytest.raises(UserError, match="val-00000.tar is no file"):
        index.check_shards()


def test_the_checksum_is_that_of_the_columns_and_the_metadata(tmp_path):
    path = write(tmp_path)
    about = {key: json.loads(value) for key, value in header_of(path.read_bytes())["__metadata__"].items()}
    assert about.pop(DIGEST) == digest_of(load_file(path), about) == Index(path).digest


def test_an_image_takes_little_private_memory(tmp_path):
    count = 200_000
    rng = np.random.default_rng(0)
    names = np.char.mod("train/c/%06d.jpg", np.arange(count)).astype("S18")
    write_index(
        tmp_path,
        {
            "label": np.sort(rng.integers(0, 100, count)),
            "shard": np.zeros(count),
            "offset": np.arange(count) * 2048,
            "size": np.full(count, 2000),
            "name_start": np.arange(count + 1) * 18,
            "names": names.view(np.uint8),
        },
        classes=[str(i) for i in range(100)],
        shards=[Shard("train-00000.tar", count * 2048, "")],
        splits={"train": Split(0, count, "train/")},
        plan="",
    )
    tracemalloc.start()
    index = Index(tmp_path / INDEX)
    rows = rng.permutation(count)[: count // 2]
    half = [kind(index, range(count)).take(rows) for kind in (Labels, Images, Paths)]
    counts = np.bincount(half[0], minlength=100)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 64 * count / 2
    assert peak < 64 * count
    assert counts.sum() == len(half[1]) == count // 2
    assert half[2][0] == f"train/c/{rows[0]:06}.jpg"
