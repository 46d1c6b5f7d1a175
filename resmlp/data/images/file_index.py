"""The index of a folder of images: their paths in one blob of text, in a file that is mapped into memory.

N images, F folders. The images are in the order of their paths, so that all images below a folder follow one another.
"""

import json
import os
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from resmlp.config.preprocessing import Decoding
from resmlp.data.shards.columns import Columns, digest_of, read_columns
from resmlp.imaging.image_file import File
from resmlp.imaging.passed_over import Skipped
from resmlp.imaging.walk import Files, path_in_set
from resmlp.utils.checks import demand

DTYPES = {"start": "I64", "first": "I64", "stop": "I64", "names": "U8", "folders": "U8", "watched": "U8", "rest": "U8"}
"""the columns: the path of image i on the disk, below the root, is names[start[i]:start[i + 1]], N + 1 numbers; the
images below folder f are first[f] to stop[f]; `folders` and `watched` are texts with NUL between them, and `rest` is
JSON"""
AFTER = chr(ord("/") + 1)
"""in place of the '/' at the end of a folder: the first text after all paths in it"""
SETTLED = 2 * 10**9
"""nanoseconds: a folder that changed later than this before it was listed may change again at the same time of its
file system, whose times may be as coarse"""


class FileIndex:
    """The images below `root`, from the columns of an index. Pickled, it is the path of its file, if it has one."""

    def __init__(self, root: str | Path, columns: Columns, path: Path | None = None):
        self.folder, self.root, self.path = root, before_paths(root), path
        self._columns = columns
        self._names, self._start = columns.arrays["names"], columns.arrays["start"]
        self.digest: str = columns.about["listing"]
        """identifies the paths of the images"""
        self._inside: dict[str, dict[str, range]] = {}
        """what `inside` has found"""

    def __len__(self) -> int:
        return len(self._start) - 1

    def __reduce__(self) -> tuple[Any, ...]:
        if self.path is None:
            return FileIndex, (self.folder, self._columns)
        return _reopen, (self.folder, self.path, self.digest)

    def name(self, row: int) -> str:
        """The path of an image in the folder, as it identifies the image."""
        return path_in_set(_on_disk(self._names, self._start, row))

    def member(self, row: int, decoding: Decoding) -> File:
        """An image."""
        return File(self.root + _on_disk(self._names, self._start, row), decoding)

    def rows(self, folder: str) -> range:
        """The images below a folder, at any depth; its path ends in '/', that of the root is empty."""
        i = bisect_left(self._folders, folder)
        return self._rows(i) if self._folders[i : i + 1] == [folder] else range(0)

    def inside(self, folder: str) -> dict[str, range]:
        """The names of the folders directly in a folder that have images at any depth, and these images."""
        if folder in self._inside:
            return self._inside[folder]
        found, i = self._inside.setdefault(folder, {}), bisect_right(self._folders, folder)
        while i < len(self._folders) and self._folders[i].startswith(folder):
            child = self._folders[i]
            found[child[len(folder) : -1]] = self._rows(i)
            i = bisect_left(self._folders, child[:-1] + AFTER, i)
        return found

    def others(self) -> list[str]:
        """Paths of the files that are not images, and of empty folders (these end in '/')."""
        return list(self._rest["others"])

    def skipped(self) -> Iterator[Skipped]:
        """What is passed over."""
        return (Skipped(kind, path) for kind, path in self._rest["skipped"])

    def _rows(self, i: int) -> range:
        return range(int(self._columns.arrays["first"][i]), int(self._columns.arrays["stop"][i]))

    @cached_property
    def _folders(self) -> list[str]:
        """The folders that have images at any depth, in order; each ends in '/', and the first is '', the root."""
        return self._columns.arrays["folders"].tobytes().decode().split("\0")

    @cached_property
    def _rest(self) -> dict[str, Any]:
        return dict(json.loads(self._columns.arrays["rest"].tobytes()))


def _reopen(root: str | Path, path: Path, digest: str) -> FileIndex:
    columns = read_columns(path, DTYPES)
    what = f"{path}, the index of {root}, has changed since it was opened"
    demand(columns.about["listing"] == digest, what, "start the command again")
    return FileIndex(root, columns, path)


class Listing(Files):
    """The files below a folder while they are listed: an index in the making."""

    def __init__(self, root: Path):
        super().__init__()
        self.root = before_paths(root)
        self._names, self._start = bytearray(), array("q", [0])
        self._last, self._in_order = "", True
        self._folders: list[str] = []
        self._watched: list[bytes] = []
        self._marks, self._newest, self._began = Marks(), 0, time.time_ns()

    def __len__(self) -> int:
        return len(self._start) - 1

    def add(self, path: str, name: str) -> None:
        """Add the image at `path` in the folder, `name` on the disk."""
        self._names += os.fsencode(name[len(self.root) :])
        self._start.append(len(self._names))
        self._in_order, self._last = self._in_order and self._last <= path, path

    def depends_on(self, name: str, is_folder: bool) -> None:
        """Take the times of a folder or a file, before it is read."""
        self._newest = max(self._newest, self._marks.add(name))
        inner = name[len(self.root) :]
        self._watched.append(os.fsencode(inner))
        if is_folder and inner:
            self._folders.append(path_in_set(inner) + "/")

    def paths(self) -> list[str]:
        """The path of each image on the disk, below the root, in the order of the paths in the data set."""
        paths = [os.fsdecode(bytes(self._names[begin:end])) for begin, end in pairwise(self._start)]
        return paths if self._in_order else sorted(paths, key=path_in_set)

    def columns(self, skipped: Iterable[Skipped], about: dict[str, Any]) -> Columns:
        """The columns of the index, and its metadata with those of `about`."""
        names, start = np.frombuffer(self._names, np.uint8), np.frombuffer(self._start, np.int64)
        if not self._in_order:  # the names of two folders differ only in their Unicode form
            encoded = [os.fsencode(path) for path in self.paths()]
            names, start = np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([0, *map(len, encoded)])
        folders, first, stop = _ranges(lambda row: path_in_set(_on_disk(names, start, row)), len(self), self._folders)
        rest = {"others": self.others, "skipped": [item[:2] for item in skipped]}
        arrays: dict[str, np.ndarray] = {"start": start, "first": np.array(first), "stop": np.array(stop)}
        texts = {"folders": "\0".join(folders).encode(), "watched": b"\0".join(self._watched)}
        texts["rest"] = json.dumps(rest).encode()
        arrays |= {"names": names, **{name: np.frombuffer(text, np.uint8) for name, text in texts.items()}}
        settled = self._newest < self._began - SETTLED
        listing = digest_of({"names": names, "start": start}, {})
        about = about | {"listing": listing, "mark": self._marks.digest(), "settled": settled}
        return Columns(arrays, about, digest_of(arrays, about))


class Marks:
    """A checksum of the times and sizes of folders and files, which is another one when any of them has changed."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)

    def add(self, name: str | bytes) -> int:
        """Add a folder or a file; the time of its last change, in nanoseconds, and 0 if it is gone."""
        try:
            found = os.stat(name)  # noqa: PTH116  # a Path would take longer than the call
        except OSError:
            self._hash.update(b"gone\n")
            return 0
        mark = (found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        self._hash.update(f"{mark}\n".encode())
        return max(found.st_mtime_ns, found.st_ctime_ns)

    def digest(self) -> str:
        """The checksum of what was added, in its order."""
        return self._hash.hexdigest()


def before_paths(root: str | Path) -> str:
    """What stands before the path of a file below the folder `root`."""
    return f"{root}/" if str(root) != "/" else "/"


def _on_disk(names: np.ndarray, start: np.ndarray, row: int) -> str:
    """The path of an image below the root."""
    begin, end = start[row : row + 2].tolist()
    return os.fsdecode(names[begin:end].tobytes())


def _ranges(name: Callable[[int], str], count: int, folders: Iterable[str]) -> tuple[list[str], list[int], list[int]]:
    """Those of the folders that have images, in order, with their first image and the one after their last.

    `name` is the path of each of the `count` images, which are in order.
    """
    found, first, stop = [""], [0], [count]
    begin = 0
    for folder in sorted(set(folders)):
        begin = _search(name, folder, begin, count)
        end = _search(name, folder[:-1] + AFTER, begin, count)
        if begin < end:
            found.append(folder)
            first.append(begin)
            stop.append(end)
    return found, first, stop


def _search(name: Callable[[int], str], text: str, begin: int, count: int) -> int:
    """The first of the images from `begin` on whose path is not before `text`; most often it is near `begin`."""
    step = 1
    while begin + step < count and name(begin + step) < text:
        step *= 2
    return bisect_left(range(count), text, begin, min(begin + step, count), key=name)
