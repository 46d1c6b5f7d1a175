"""Archives that claim more than they should: members, headers, and chains of headers."""

import contextlib
import gzip
import io
import random
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resmlp.imaging.archives import archive_members
from resmlp.utils.errors import UserError

ZEROS = 2**27


def packed(path: Path, name: str, size: int, kind: bytes = tarfile.REGTYPE) -> Path:
    """A compressed archive with one member of zeros."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(size // 2**20):
            file.write(bytes(2**20))
        file.write(bytes(1024))
    return path


def error_of(path: Path) -> str:
    with pytest.raises(UserError) as error:
        list(archive_members(path))
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.SOLARIS_XHDTYPE])
def test_headers_of_any_length_are_not_read(tmp_path, kind):
    assert "a header of more than" in error_of(packed(tmp_path / "a.tgz", "x", ZEROS, kind))


def test_image_of_zeros_is_not_kept(tmp_path):
    assert "do not fit into" in error_of(packed(tmp_path / "a.tgz", "a/0.png", ZEROS))


def test_other_member_of_zeros_is_passed_over(tmp_path):
    assert list(archive_members(packed(tmp_path / "a.tgz", "a/0.txt", ZEROS))) == [("a/0.txt", None)]


def test_chain_of_headers_is_refused(tmp_path):
    info = tarfile.TarInfo("x")
    info.size, info.type = 12, tarfile.XHDTYPE
    link = info.tobuf() + b"12 path=abc\n".ljust(512, b"\0")
    (tmp_path / "a.tar").write_bytes(link * 2000 + bytes(1024))
    assert "a header of more than" in error_of(tmp_path / "a.tar")


def test_long_names_are_read(tmp_path):
    image = io.BytesIO()
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(image, "PNG")
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with tarfile.open(tmp_path / "a.tar", "w", format=form) as tar:
            info = tarfile.TarInfo("ä/" * 1000 + "0.png")
            info.size = len(image.getvalue())
            tar.addfile(info, io.BytesIO(image.getvalue()))
        ((path, member),) = archive_members(tmp_path / "a.tar")
        assert path == info.name
        assert member.read().size == (2, 2)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_flipped_bytes_are_one_line(tmp_path, form):
    """The checksum of a header is made to fit, so that the damage gets through to the parser."""
    buffer, rng = io.BytesIO(), random.Random(0)
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name in ("a/0.png", "b/" + "x" * 80 + ".png"):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = 700, 0.5 if form == tarfile.PAX_FORMAT else 0
            tar.addfile(info, io.BytesIO(bytes(700)))
    for _ in range(200):
        data = bytearray(buffer.getvalue())
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.choice([0, 32, 48, 57, 61, 128, 255, rng.randrange(256)])
        for start in range(0, len(data), 512):
            if data[start + 257 : start + 262] == b"ustar":
                data[start + 148 : start + 156] = b" " * 8
                data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
        path = tmp_path / "a.tar"
        path.write_bytes(data)
        with contextlib.suppress(UserError):  # anything else is a failure
            list(archive_members(path))
