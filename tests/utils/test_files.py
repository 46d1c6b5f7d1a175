"""Files are atomic whatever goes wrong while they are written; a full disk gives one line."""

import errno
import json
import os

import pytest

from resmlp.utils.errors import UserError
from resmlp.utils.files import (
    check_file,
    only_writer,
    read_json,
    remove,
    write_folder,
    write_json,
    write_text,
    write_whole,
)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_write_and_read_back(tmp_path):
    value = {"a": [1, 2.5, None], "ż": "żółw"}
    write_json(tmp_path / "deep" / "er" / "v.json", value)
    assert read_json(tmp_path / "deep" / "er" / "v.json") == value
    assert json.loads((tmp_path / "deep/er/v.json").read_bytes().decode("utf-8")) == value
    write_text(tmp_path / "deep" / "er" / "v.json", "new")
    assert (tmp_path / "deep/er/v.json").read_text() == "new"
    assert names(tmp_path / "deep" / "er") == ["v.json"]


class StopError(Exception):
    pass


@pytest.mark.parametrize("error", [StopError(), KeyboardInterrupt(), ValueError("x")], ids=repr)
@pytest.mark.parametrize("old", [True, False])
def test_an_error_in_the_middle_leaves_the_old_file(tmp_path, error, old):
    path = tmp_path / "v.txt"
    if old:
        path.write_text("old")

    def half(aside):
        aside.write_text("half of the n")
        assert not old or path.read_text() == "old"
        raise error

    with pytest.raises(type(error)):
        write_whole(path, half)
    assert names(tmp_path) == (["v.txt"] if old else [])
    assert not old or path.read_text() == "old"


def test_a_value_that_is_no_json_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "v.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "v.json", object())
    assert read_json(tmp_path / "v.json") == 1
    assert names(tmp_path) == ["v.json"]


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_a_full_disk(tmp_path, monkeypatch, where):
    path = tmp_path / "v.txt"
    path.write_text("old")
    if where == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    if where == "replace":
        monkeypatch.setattr(type(path), "replace", full)
    for name, kept in (("v.txt", "; the old file is unchanged"), ("new.txt", "")):
        with pytest.raises(UserError) as error:
            write_whole(tmp_path / name, full if where == "write" else lambda aside: aside.write_text("new"))
        expected = f"{name}: No space left on device (make room or choose another --out{kept})"
        assert str(error.value).endswith(expected)
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["v.txt"]


def test_a_full_disk_while_text_is_written(tmp_path, monkeypatch):
    path = tmp_path / "v.txt"
    write_text(path, "old")
    monkeypatch.setattr(type(path), "write_text", full)
    with pytest.raises(UserError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"


def test_paths_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "v.txt", tmp_path / "folder"):
        with pytest.raises(UserError, match="cannot write"):
            write_text(path, "new")
    assert names(tmp_path) == ["file", "folder"]


def test_a_part_left_by_a_killed_process_is_overwritten(tmp_path):
    (tmp_path / ".v.txt.part").write_text("half")
    write_text(tmp_path / "v.txt", "new")
    assert names(tmp_path) == ["v.txt"]
    (tmp_path / ".d.part").mkdir()
    (tmp_path / ".d.part" / "stale").write_text("half")
    write_folder(tmp_path / "d", lambda aside: (aside / "a").write_text("1"))
    assert names(tmp_path / "d") == ["a"]
    assert names(tmp_path) == ["d", "v.txt"]


def fill(aside):
    (aside / "a").write_text("1")
    (aside / "sub").mkdir()
    (aside / "sub" / "b").write_text("2")


def test_write_folder(tmp_path):
    def watch(aside):
        fill(aside)
        assert not (tmp_path / "deep" / "d").exists()

    write_folder(tmp_path / "deep" / "d", watch)
    assert names(tmp_path / "deep") == ["d"]
    assert (tmp_path / "deep/d/sub/b").read_text() == "2"


@pytest.mark.parametrize("error", [StopError(), KeyboardInterrupt()], ids=repr)
def test_an_error_in_the_middle_leaves_no_folder(tmp_path, error):
    def half(aside):
        fill(aside)
        raise error

    with pytest.raises(type(error)):
        write_folder(tmp_path / "d", half)
    assert names(tmp_path) == []


@pytest.mark.parametrize("where", ["write", "fsync", "rename"])
def test_a_full_disk_for_a_folder(tmp_path, monkeypatch, where):
    if where == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    if where == "rename":
        monkeypatch.setattr(type(tmp_path), "rename", full)
    with pytest.raises(UserError, match="No space left on device"):
        write_folder(tmp_path / "d", full if where == "write" else fill)
    assert names(tmp_path) == []


def test_an_existing_folder_is_not_changed(tmp_path):
    write_folder(tmp_path / "d", fill)
    with pytest.raises(UserError, match="cannot write"):
        write_folder(tmp_path / "d", lambda aside: (aside / "new").write_text("3"))
    assert names(tmp_path / "d") == ["a", "sub"]
    assert names(tmp_path) == ["d"]


def test_read_json_names_what_is_wrong(tmp_path):
    with pytest.raises(UserError, match="no file .*v.json"):
        read_json(tmp_path / "v.json")
    for content in (b"", b"{", b"\xff\xfe", b"{'a': 1}"):
        (tmp_path / "v.json").write_bytes(content)
        with pytest.raises(UserError, match=r"v\.json"):
            read_json(tmp_path / "v.json")
    with pytest.raises(UserError, match="is a folder, not a file"):
        read_json(tmp_path)


@pytest.mark.parametrize(
    "content",
    ["[" * 10**6, "{" + '"a":{' * 10**5, "1" * 5000, "[" + "9" * 10**5 + "]", "\0" * 99, '{"a": nul}', "\ud800"],
    ids=["lists", "objects", "number", "number in a list", "zeros", "word", "surrogate"],
)
def test_read_json_of_hostile_text_is_one_line(tmp_path, content):
    (tmp_path / "v.json").write_bytes(content.encode(errors="surrogatepass"))
    with pytest.raises(UserError) as error:
        read_json(tmp_path / "v.json")
    assert str(error.value).isprintable()


def test_read_json_reads_no_more_than_its_limit(tmp_path):
    with (tmp_path / "v.json").open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(UserError, match="more than"):
        read_json(tmp_path / "v.json")


def put(path, kind):
    """Something at `path` that is not a regular file."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        (path / "sub").mkdir(parents=True)
    else:
        path.symlink_to(
            {"device": "/dev/zero", "broken link": "nowhere", "loop": path.name, "link to a folder": "."}[kind]
        )


KINDS = ["pipe", "folder", "device", "broken link", "loop", "link to a folder"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_a_file_is_not_read(tmp_path, kind):
    put(tmp_path / "x", kind)
    for read in (check_file, read_json):
        with pytest.raises(UserError, match=r"x is a .*, not a file"):
            read(tmp_path / "x")


def test_a_link_to_a_file_is_a_file(tmp_path):
    (tmp_path / "file").write_text("7")
    (tmp_path / "x").symlink_to("file")
    check_file(tmp_path / "x")
    assert read_json(tmp_path / "x") == 7
    with pytest.raises(UserError, match="no file"):
        check_file(tmp_path / "y")


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_of_any_kind_is_replaced(tmp_path, kind):
    for name in ("v.txt", "d"):
        put(tmp_path / f".{name}.part", kind)
    write_text(tmp_path / "v.txt", "new")
    write_folder(tmp_path / "d", fill)
    assert names(tmp_path) == ["d", "v.txt"]
    assert (tmp_path / "v.txt").read_text() == "new"


def test_remove_keeps_the_target_of_a_link(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_text("1")
    (tmp_path / "x").symlink_to("d")
    remove(tmp_path / "x")
    remove(tmp_path / "x")  # nothing is there
    assert names(tmp_path) == ["d"]
    assert names(tmp_path / "d") == ["a"]
    remove(tmp_path / "d")
    assert names(tmp_path) == []


@pytest.mark.parametrize(("present", "written"), [(None, ()), (("a",), ()), (None, ("b",)), ((".lock",), ())])
def test_an_error_before_anything_is_written_leaves_nothing(tmp_path, present, written):
    """No lock, and none of the folders that were made for it; what was there before stays, as what was written does."""
    folder = tmp_path / "runs" / "x"
    if present:
        folder.mkdir(parents=True)
    for name in present or ():
        (folder / name).touch()

    def fail():
        with only_writer(folder, "tests"):
            assert (folder / ".lock").is_file()
            for name in written:
                (folder / name).touch()
            raise UserError("wrong", "correct it")

    with pytest.raises(UserError, match="wrong"):
        fail()
    left = sorted(path.name for path in folder.iterdir()) if folder.exists() else None
    assert left == (sorted([".lock", *written]) if written else list(present) if present else None)
    assert (tmp_path / "runs").exists() == bool(present or written)
