"""The members of tars of every format are those that `tarfile` reads, and a damaged header is found."""

import gzip
import io
import tarfile

import pytest

from resmlp.imaging import tar_headers
from resmlp.imaging.archives import HardLink, archive_members
from resmlp.imaging.tar_headers import file_header, plain_header
from resmlp.utils.errors import UserError

FORMATS = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}
NAMES = ("a/0.png", "a/1.png", "b/" + "x" * 97, "c/" + "y" * 98, "d/" + "z" * 60 + "/" + "z" * 60 + ".png", "e/ä.png")


def make(form: str, global_header: bool = False) -> bytes:
    """A tar of files of several sizes, folders, links and names of every length."""
    buffer = io.BytesIO()
    headers = {"comment": "x", "size": "3"} if global_header else {}
    with tarfile.open(fileobj=buffer, mode="w", format=FORMATS[form], pax_headers=headers) as tar:
        for number, name in enumerate(NAMES):
            for kind, more in ((tarfile.DIRTYPE, "/f"), (tarfile.REGTYPE, ""), (tarfile.SYMTYPE, ".s")):
                info = tarfile.TarInfo(name + more if kind != tarfile.DIRTYPE else f"dir{number}/")
                info.type, info.size = kind, (0, 1, 511, 512, 513, 2000)[number] * (kind == tarfile.REGTYPE)
                tar.addfile(info, io.BytesIO(bytes([number + 1]) * info.size))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.LNKTYPE, "a/0.png"
        tar.addfile(link)
    return buffer.getvalue()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("packed", [False, True], ids=["tar", "gz"])
def test_members_are_those_of_tarfile(form, packed, tmp_path, monkeypatch):
    data, plain = make(form), []
    path = tmp_path / ("a.tar.gz" if packed else "a.tar")
    path.write_bytes(gzip.compress(data) if packed else data)
    monkeypatch.setattr(tar_headers, "plain_header", lambda block: plain.append(plain_header(block)) or plain[-1])
    found = dict(archive_members(path))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = [info for info in tar.getmembers() if not info.isdir()]
        assert set(found) == {info.name for info in expected}
        for info in expected:
            image = found[info.name]
            if info.islnk():
                assert image == HardLink("a/0.png")
            elif info.isreg() and info.name.endswith(".png"):
                assert image.open().read() == tar.extractfile(info).read()
            else:
                assert image is None
    assert sum(size >= 0 for _, size in plain) >= 2, "no header was read at once"


def test_a_global_header_counts_for_all(tmp_path):
    """The size of all members is 3 by it, whatever their own headers say."""
    (tmp_path / "a.tar").write_bytes(make("pax", global_header=True))
    with tarfile.open(tmp_path / "a.tar") as tar:
        expected = tar.next(), tar.next()
    assert {info.size for info in expected} == {3}
    with pytest.raises(UserError):
        list(archive_members(tmp_path / "a.tar"))  # nor does tarfile find the second member


def test_a_global_remark_changes_nothing(tmp_path, monkeypatch):
    """`git archive` writes a comment before all members."""
    plain, buffer = [], io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "x"}) as tar:
        for number in range(3):
            tar.addfile(tarfile.TarInfo(f"{number}.png"))
    (tmp_path / "a.tar").write_bytes(buffer.getvalue())
    monkeypatch.setattr(tar_headers, "plain_header", lambda block: plain.append(plain_header(block)) or plain[-1])
    assert [name for name, _ in archive_members(tmp_path / "a.tar")] == ["0.png", "1.png", "2.png"]
    assert ("1.png", 0) in plain


@pytest.mark.parametrize("size", [0, 1, 511, 512, 8**11 - 1, 8**11])
@pytest.mark.parametrize("name", ["", "a.png", "x" * 99, "x" * 100, "x" * 101, "ä" * 49, "ä" * 50, "犬/1.png"])
def test_a_header_that_is_written_is_that_of_tarfile(name, size):
    info = tarfile.TarInfo(name)
    info.size = size
    assert file_header(name, size) == info.tobuf(tarfile.GNU_FORMAT, "utf-8")


@pytest.mark.parametrize("packed", [False, True], ids=["tar", "gz"])
def test_an_archive_that_ends_early_is_refused(packed, tmp_path):
    data = make("gnu")
    for end in range(700, len(data.rstrip(b"\0")), 491):
        (tmp_path / "a.tar").write_bytes(gzip.compress(data[:end], 1) if packed else data[:end])
        with pytest.raises(UserError, match="cannot read the archive"):
            list(archive_members(tmp_path / "a.tar"))


def test_a_header_with_another_checksum_is_not_plain():
    info = tarfile.TarInfo("a.png")
    info.size = 8
    header = info.tobuf(tarfile.USTAR_FORMAT)
    assert plain_header(header) == ("a.png", 8)
    for place in range(512):
        changed = bytes([*header[:place], header[place] ^ 1, *header[place + 1 :]])
        assert plain_header(changed) == ("", -1)
    for part in (b"", header[:300], header[:511], bytes(512)):
        assert plain_header(part) == ("", -1)
