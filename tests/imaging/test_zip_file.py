"""Images in a .zip: the bytes of Python's own reader, and archives that claim more or other than they hold."""

import contextlib
import io
import pickle
import random
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from resmlp.imaging.archives import archive_members
from resmlp.imaging.decode import UnreadableImage
from resmlp.imaging.zip_file import ZipMember
from resmlp.utils.errors import UserError


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (value, 0, 9)).save(file, "PNG")
    return file.getvalue()


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data, method)
    return path


def error_of(path: Path) -> str:
    with pytest.raises(UserError) as error:
        list(archive_members(path))
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_members_are_those_of_the_zipfile_module(tmp_path, method):
    path = zipped(tmp_path / "a.data", ("a/0.png", png(1)), ("b/x", png(2)), ("b/y", b"text"), method=method)
    found = dict(archive_members(path))
    assert [*found] == ["a/0.png", "b/x", "b/y"]
    assert found["b/y"] is None, "the content decides where the name does not"
    with zipfile.ZipFile(path) as archive:
        for name in ("a/0.png", "b/x"):
            again = pickle.loads(pickle.dumps(found[name]))
            with again.open() as file:
                assert file.read() == archive.read(name)
            assert again.read().size == (8, 6)
            assert again.name == f"{path}:{name}"


def test_sizes_after_the_data(tmp_path):
    streamed = tmp_path / "streamed.zip"
    with streamed.open("wb") as file, zipfile.ZipFile(Unseekable(file), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/0.png", png(1))  # sizes and checksum come after the data
    ((_, member),) = archive_members(streamed)
    assert member.read().getpixel((0, 0)) == (1, 0, 9)


class Unseekable(io.RawIOBase):
    def __init__(self, file):
        self.file = file

    def write(self, data):
        return self.file.write(data)

    def flush(self):
        self.file.flush()


def test_names(tmp_path):
    marked = zipfile.ZipInfo("katze/straße.png")
    path = zipped(tmp_path / "a.zip", (marked, png(1)), (r"dog\1.png", png(2)), ("/abs/1.png", png(3)), ("d/", b""))
    data = path.read_bytes()
    assert list(dict(archive_members(path))) == ["katze/straße.png", "dog/1.png", "abs/1.png"]
    flag = struct.pack("<H", 0x800)
    path.write_bytes(data.replace(flag, bytes(2)))  # the mark of UTF-8 is missing, as in archives of macOS
    assert "katze/straße.png" in dict(archive_members(path))


def test_hidden_members_and_links_are_no_images(tmp_path):
    link = zipfile.ZipInfo("a/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    members = ((link, b"/etc/passwd"), ("../up/1.png", png(1)), ("a/._1.png", png(1)), ("a/1.png", png(1)))
    found = dict(archive_members(zipped(tmp_path / "a.zip", *members)))
    assert [path for path, image in found.items() if image] == ["a/1.png"]


def test_encrypted_and_unusual_members_are_one_line(tmp_path):
    path = zipped(tmp_path / "a.zip", ("a/0.png", png(1)))
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 8] |= 1
    path.write_bytes(data)
    assert "a/0.png is encrypted" in error_of(path)
    assert "lzma" in error_of(zipped(tmp_path / "b.zip", ("a/0.png", png(1)), method=zipfile.ZIP_LZMA))


def test_bombs_are_one_line(tmp_path):
    zeros = bytes(2**27)
    assert "shrinks so far" in error_of(zipped(tmp_path / "a.zip", ("a/0.png", zeros)))
    path = zipped(tmp_path / "b.zip", ("a/0.png", png(1)))
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = struct.pack("<I", 2**31)
    path.write_bytes(data)
    assert "claims 2,147,483,648 bytes" in error_of(path)


def test_member_is_unpacked_no_further_than_it_claims(tmp_path):
    """A small claim before a large stream: only one byte more than the claim is made."""
    packed = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    stream = packed.compress(bytes(2**26)) + packed.flush()
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04" + bytes(26) + stream)
    member = ZipMember(str(tmp_path / "a.zip"), "0.png", 0, len(stream), 100, zipfile.ZIP_DEFLATED, 0)
    assert len(member.unpack(101)) == 101
    with pytest.raises(UnreadableImage, match="wrong checksum or size"):
        member.read()


def test_archives_in_an_archive_are_one_line(tmp_path):
    from resmlp.config import Data
    from resmlp.data import open_splits

    inner = zipped(tmp_path / "inner.zip", ("a/0.png", png(1))).read_bytes()
    for name in ("in.zip", "x/in.tar.gz", "y.tgz"):
        path = zipped(tmp_path / "outer.zip", (name, inner), ("readme.txt", b"text"))
        with pytest.raises(UserError, match=rf"{name} is an archive in an archive \(unpack the outer one\)"):
            open_splits(Data(root=str(path)))
    path = zipped(tmp_path / "outer.zip", ("in.zip", inner), *((f"{c}/{i}.png", png(i)) for c in "ab" for i in (1, 2)))
    assert "in.zip" in open_splits(Data(root=str(path))).train.notes[0]


def test_flipped_bytes_are_one_line(tmp_path):
    whole = zipped(tmp_path / "whole.zip", ("a/0.png", png(1)), ("b/ä.png", png(2)), ("c", png(3))).read_bytes()
    rng, path = random.Random(0), tmp_path / "a.zip"
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 5)):
            data[rng.randrange(4, len(data))] = rng.choice([0, 1, 255, rng.randrange(256)])
        path.write_bytes(data[: rng.choice([len(data), rng.randrange(5, len(data))])])
        with contextlib.suppress(UserError):  # anything else is a failure
            for _, image in archive_members(path):
                if image:
                    image.read()
