"""A packed data set on a server: the same images as in its folder, whatever the server does."""

import pickle
import shutil
import threading
from pathlib import Path

import pytest
from shardserver import IN_SHARD, Server, pack_small

from resmlp.cli.image_files import list_inputs
from resmlp.config import Augment, Data
from resmlp.data import TrainBatches, open_eval, open_splits
from resmlp.data.checking.check import check_data
from resmlp.data.images.image_list import make_image_list
from resmlp.data.images.imageset import ImageSet
from resmlp.data.images.sources import open_images
from resmlp.data.images.unlabeled import open_collection
from resmlp.data.images.value_range import spaced
from resmlp.data.shards import remote
from resmlp.data.shards.cache import GB
from resmlp.data.shards.index import INDEX
from resmlp.evaluation.batch_inference.inputs import open_inputs
from resmlp.utils.errors import UserError

SHARDS = ["train-00000.tar", "train-00001.tar", "train-00002.tar", "train-00003.tar"]
SPLITS = {"train": SHARDS, "val": ["val-00000.tar", "val-00001.tar"]}


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    """Not to be written to."""
    return pack_small(tmp_path_factory.mktemp("packed"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """The folder of the shards that were fetched; a test does not wait between requests."""
    monkeypatch.setenv("RESMLP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0))
    return tmp_path / "cache" / "shards"


@pytest.fixture
def server(packed):
    with Server(packed).running() as server:
        yield server


def data(root: object, **fields) -> Data:
    return Data(root=str(root), img_size=(8,), batch_size=8, **({"workers": 0} | fields))


def described(images: ImageSet) -> list[tuple]:
    return [(images.path(i), images.labels[i], images.read(i).tobytes()) for i in range(len(images))]


def batches(root: object, epoch: int = 0, **fields) -> tuple[list[tuple], list[str]]:
    """The batches of an epoch, and the names of what could not be read."""
    settings = data(root, **fields)
    found = list(TrainBatches(open_splits(settings).train, settings, Augment(), seed=1).epoch(epoch))
    contents = [(batch["image"].numpy().tobytes(), batch["label"].tolist(), batch["index"].tolist()) for batch in found]
    return contents, [name for batch in found for name in batch["unreadable"]]


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_batches_are_those_of_the_folder(packed, server, workers):
    assert batches(server.address, workers=workers) == batches(packed)
    assert server.requests.total() == 2 + len(SHARDS), "the header of the index, the index, each shard once"


def test_a_set_is_fetched_once(packed, server):
    for root in (server.address, f"{server.address}/"):
        for ours, theirs in zip(open_splits(data(root)), open_splits(data(packed))):
            assert described(ours) == described(theirs)
    assert {name: server.requests[name] for name in server.requests} == {
        INDEX: 3,
        **dict.fromkeys(SHARDS + SPLITS["val"], 1),
    }


def test_every_command_lists_the_same_images(packed, server, cache):
    assert described(open_eval(data(server.address))) == described(open_eval(data(packed)))
    assert described(open_images(data(server.address))) == described(open_images(data(packed)))
    ours, theirs = (open_collection(data(root), labels=False).train for root in (server.address, packed))
    assert described(ours) == described(theirs)
    ours, theirs = (list_inputs([str(root)]) for root in (server.address, packed))
    assert [image.read().tobytes() for image in ours] == [image.read().tobytes() for image in theirs]
    ours, theirs = (open_inputs(str(root)) for root in (server.address, packed))
    assert list(ours.labels) == list(theirs.labels)
    assert described(ours.images) == described(theirs.images)
    assert ours.checksum() == theirs.checksum()
    ours, theirs = (check_data(root).to_dict() | {"seconds": 0, "path": ""} for root in (server.address, packed))
    assert ours == theirs


def test_to_open_a_set_fetches_no_shards(packed, server):
    splits = open_splits(data(server.address))
    listed = make_image_list(*splits)
    assert {entry.content for entry in listed.entries} == {""}
    assert server.requests.keys() == {INDEX}
    assert len(spaced(splits.train.images)) == IN_SHARD, "values are measured in one shard"
    # a run that began on the folder, and knows the contents of its images, continues on the server
    known = make_image_list(*open_splits(data(packed)))
    assert open_splits(data(server.address), known).train.paths == tuple(splits.train.paths)


def test_a_new_version_is_never_taken_for_the_old_one(packed, tmp_path):
    with Server(packed).running() as server:
        before = described(open_splits(data(server.address)).train)
        server.folder = other = pack_small(tmp_path, seed=1)
        assert (other / INDEX).stat().st_size == (packed / INDEX).stat().st_size
        after = described(open_splits(data(server.address)).train)
        assert after == described(open_splits(data(other)).train)
        assert [row[:2] for row in after] == [row[:2] for row in before]
        assert after != before


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (404, "it is not there"),
        (403, "access is denied"),
        (500, "the server answered 500"),
        ("cut", "bytes, and 10,240 when it was packed"),
        ("breaks", "the connection ended before the whole answer came"),
        pytest.param("stalls", "no answer for 0.4 seconds", marks=pytest.mark.slow),
        ("other bytes", "another checksum than when it was packed"),
    ],
)
def test_a_lost_shard_is_one_name_and_its_images_are_replaced(packed, server, monkeypatch, fault, reason):
    if fault == "stalls":
        monkeypatch.setattr(remote, "TIMEOUT", 0.4)
        monkeypatch.setattr(remote, "PAUSES", (0.0,))
    server.faults["train-00001.tar"] = fault
    found, unreadable = batches(server.address)
    (name,) = set(unreadable)
    assert name.startswith(f"{server.address}/train-00001.tar (")
    assert reason in name
    assert len(unreadable) == IN_SHARD, "each time that an image of it was asked for"
    whole, _ = batches(packed)
    lost = set(range(IN_SHARD, 2 * IN_SHARD))
    for (_, _, ours), (_, _, theirs) in zip(found, whole):
        assert all(i not in lost and (i == j or j in lost) for i, j in zip(ours, theirs))
    assert server.requests["train-00001.tar"] <= 3
    with pytest.raises(UserError) as caught:
        batches(server.address, strict=True)
    assert str(caught.value).startswith(f"cannot read {server.address}/train-00001.tar: ")
    assert "\n" not in str(caught.value)
    server.faults.clear()
    assert batches(server.address) == batches(packed), "the same command again asks the server again"


def test_the_check_names_a_lost_shard_and_not_its_images(server):
    server.faults["val-00001.tar"] = 500
    report = check_data(server.address)
    ((names, details),) = ((issue.names, issue.details) for issue in report.errors)
    assert (names, details) == ([f"{server.address}/val-00001.tar"], ["the server answered 500"])


def test_a_request_that_failed_is_repeated(packed, server):
    server.faults |= {"train-00001.tar": "fails twice", INDEX: "fails twice"}
    assert batches(server.address) == batches(packed)


def test_a_server_that_vanished_is_named(packed):
    with Server(packed).running() as server:
        images = open_splits(data(server.address)).train
    with pytest.raises(UserError, match=f"cannot read {server.address}/train-00000.tar: no connection to"):
        images.read(0)


@pytest.fixture(scope="module")
def other_protocol(packed):
    """The https address of a server that speaks http."""
    with Server(packed).running() as server:
        yield server.address.replace("http", "https")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        (
            "http://127.0.0.1:1/x",
            r"no connection to 127.0.0.1:1 \(Connection refused\) \(check the address and its server",
        ),
        ("http://no-such-host.invalid/x", r"no connection to no-such-host.invalid:80 \(.*\) \(check the address"),
        ("", r"no secure connection to 127.0.0.1:\d+ \(.*(version|record).*\) \(check the address"),
        ("http://", "the address http:// names no server"),
        ("https:///x", "the address https:///x names no server"),
        ("s3://", "the address s3:// names no server"),
    ],
)
def test_an_address_without_a_server_is_one_line(other_protocol, address, why):
    with pytest.raises(UserError, match=why) as caught:
        open_splits(data(address or other_protocol))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("fault", [404, 500, "cut", "breaks", "a page", "other bytes"])
def test_an_index_that_cannot_be_fetched_is_one_line(server, fault):
    server.faults[INDEX] = fault
    with pytest.raises(UserError) as caught:
        open_splits(data(server.address))
    assert f"{server.address}/{INDEX}" in str(caught.value)
    is_final = fault in (404, "a page", "other bytes")
    assert ("give the address of a packed data set" if is_final else "try again") in str(caught.value)
    assert "\n" not in str(caught.value)
    server.faults.clear()
    assert len(open_splits(data(server.address)).train) == 16


def test_the_cache_is_bounded(packed, server, cache, monkeypatch):
    size = (packed / SHARDS[0]).stat().st_size
    monkeypatch.setenv("RESMLP_CACHE_GB", str(2.5 * size / GB))
    images = open_splits(data(server.address)).train
    assert "fetched again and again, as the server sends no parts of files" in images.notes[0]
    for i in range(16):
        images.read(i)
        assert sum(path.stat().st_size for path in cache.iterdir()) <= 2.5 * size
    assert described(images) == described(open_splits(data(packed)).train)
    monkeypatch.setenv("RESMLP_CACHE_GB", str(0.9 * size / GB))
    with pytest.raises(UserError, match=r"the shard .*tar has .* GB, and the cache .* GB \(set RESMLP_CACHE_GB"):
        open_splits(data(server.address))
    monkeypatch.setenv("RESMLP_CACHE_GB", "many")
    with pytest.raises(UserError, match="RESMLP_CACHE_GB is 'many'"):
        open_splits(data(server.address))


@pytest.fixture
def in_parts(packed, monkeypatch):
    """A server that sends parts of files, and a cache with room for two and a half of six shards."""
    monkeypatch.setenv("RESMLP_CACHE_GB", str(2.5 * (packed / SHARDS[0]).stat().st_size / GB))
    with Server(packed, ranges=True).running() as server:
        yield server


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_set_that_the_cache_cannot_hold_is_fetched_once_an_epoch(packed, in_parts, cache, workers):
    (note,) = open_splits(data(in_parts.address)).train.notes
    assert note.endswith("each image is fetched when it is read, and not kept")
    size = sum((packed / name).stat().st_size for name in SHARDS)
    for epoch in range(2):
        in_parts.sent.clear()
        assert batches(in_parts.address, epoch, workers=workers) == batches(packed, epoch)
        assert 0 < sum(in_parts.sent[name] for name in SHARDS) <= size
    assert not list(cache.glob("*.tar"))
    assert check_data(in_parts.address).to_dict()["issues"] == check_data(packed).to_dict()["issues"]
    assert len(list(cache.glob("*.tar"))) == 2, "the check fetches whole shards, and the last ones remain"
    in_parts.requests.clear()
    assert described(open_eval(data(in_parts.address))) == described(open_eval(data(packed)))
    assert in_parts.requests.keys() == {INDEX}, "what is in the cache is read there"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (404, "it is not there"),
        (416, "the server answered 416"),
        (500, "the server answered 500"),
        ("half of the part", "bytes too early"),
        ("grown", "it has 10,752 bytes, and 10,240 when it was packed"),
        ("cut", "bytes, and 10,240 when it was packed"),
    ],
)
def test_a_lost_part_is_the_name_of_its_shard(packed, in_parts, tmp_path, fault, reason):
    shard = SHARDS[1]
    in_parts.faults[shard] = fault
    if fault == "grown":
        in_parts.folder = shutil.copytree(packed, tmp_path / "grown")
        (in_parts.folder / shard).write_bytes((packed / shard).read_bytes() + bytes(512))
    images = open_splits(data(in_parts.address)).train
    with pytest.raises(UserError) as caught:
        images.read(IN_SHARD)
    assert str(caught.value).startswith(f"cannot read {in_parts.address}/{shard}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    _, unreadable = batches(in_parts.address)
    assert {name.partition(" ")[0] for name in unreadable} == {f"{in_parts.address}/{shard}"}
    in_parts.faults.clear()
    in_parts.folder = packed
    assert batches(in_parts.address) == batches(packed), "the same command again asks the server again"


def test_a_file_of_the_cache_may_be_cut_or_deleted(packed, server, cache):
    images, expected = open_splits(data(server.address)).train, described(open_splits(data(packed)).train)
    assert described(images) == expected
    first, second, *_ = cache.iterdir()
    first.write_bytes(b"cut")
    second.unlink()
    (index,) = (cache.parent / "indexes").iterdir()
    index.write_bytes(index.read_bytes()[:-8] + bytes(8))
    assert described(open_splits(data(server.address)).train) == expected


def test_one_of_many_fetches_a_shard(server):
    images = pickle.loads(pickle.dumps(open_splits(data(server.address)).train.images[0:IN_SHARD]))
    read: list[bytes] = []
    threads = [threading.Thread(target=lambda i=i: read.append(images[i % IN_SHARD].read())) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read) == 8
    assert server.requests[SHARDS[0]] == 1


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "aiohttp", None)
    with pytest.raises(UserError, match=r"needs aiohttp, which is not installed \(run pip install '.\[remote\]'"):
        open_splits(data("https://127.0.0.1:1/x"))
    with pytest.raises(UserError, match="gopher:// cannot be read"):
        open_splits(data("gopher://127.0.0.1:1/x"))


@pytest.mark.slow
def test_object_storage(packed, server, monkeypatch):
    """A store that answers a request for an object, or for a part of it, as S3 does."""
    pytest.importorskip("s3fs")
    server.ranges = True
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.address.removesuffix("/set"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    assert batches("s3://set")[0] == batches(packed)[0]
    server.faults[INDEX] = 404
    with pytest.raises(UserError, match=f"cannot fetch s3://set/{INDEX}: it is not there"):
        open_splits(data("s3://set"))
