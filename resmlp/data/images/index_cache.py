"""The indexes of folders of images, in the user's cache folder. None is trusted without a look at its folder.

An index has the times and sizes of all folders, and of the files that were opened because their names do not say what
they are. If one of these has changed, the folder is listed again.
"""

import os
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from resmlp.data.images.file_index import DTYPES, FileIndex, Listing, Marks, before_paths
from resmlp.data.shards.columns import Columns, digest_of, read_columns, write_columns
from resmlp.imaging import file_types, passed_over, walk
from resmlp.imaging.passed_over import Skipped
from resmlp.utils.cache import cache_folder
from resmlp.utils.errors import UserError, notice
from resmlp.utils.files import write_whole

VERSION = 1
UNUSED = 90 * 24 * 3600
"""seconds after which an index that was not used is deleted"""


def cached_index(root: Path) -> FileIndex | None:
    """The index of a folder that has not changed since; None if there is none."""
    path = _place(root)
    if path is None or not path.is_file():
        return None
    try:
        columns = read_columns(path, DTYPES)
        fresh = columns.about.items() >= {**_about(root), "settled": True}.items() and _mark(root, columns)
        if not fresh or digest_of(columns.arrays, columns.about) != columns.digest:
            return None
        index = FileIndex(root, columns, path)
    except (UserError, OSError, ValueError, KeyError, TypeError):  # it is damaged
        return None
    with suppress(OSError):
        os.utime(path)  # it is in use
    return index


def keep_index(root: Path, listing: Listing, skipped: Iterable[Skipped]) -> FileIndex:
    """The index of a folder that was just listed, written into the cache; in memory if that is not possible."""
    columns, path = listing.columns(skipped, _about(root)), _place(root)
    if path is None:
        return _uncached(root, columns, "the user has no home folder")
    own = path.with_name(f"{path.name}.{os.getpid()}")  # another process may write the same index
    try:
        _clean(path.parent)
        write_whole(own, lambda aside: write_columns(aside, columns.arrays, DTYPES, columns.about))
        mapped = read_columns(own, DTYPES)
        own.replace(path)
        return FileIndex(root, mapped, path)
    except (UserError, OSError) as error:
        return _uncached(root, columns, error.what if isinstance(error, UserError) else str(error.strerror))
    finally:
        with suppress(OSError):
            own.unlink(missing_ok=True)


def _uncached(root: Path, columns: Columns, why: str) -> FileIndex:
    if os.environ.get("RANK", "0") == "0":
        _say(f"no index of {root} is kept: {why} (RESMLP_CACHE names another folder)")
    return FileIndex(root, columns)


@cache
def _say(text: str) -> None:
    """Print a note once."""
    notice(text)


def _place(root: Path) -> Path | None:
    """The file of the index: each machine has its own, which no other one replaces while it is mapped."""
    folder = cache_folder("folders")
    mark = blake2b(os.fsencode(f"{os.path.realpath(root)}\0{socket.gethostname()}"), digest_size=16)
    return folder and folder / f"{mark.hexdigest()}.safetensors"


def _about(root: Path) -> dict[str, Any]:
    return {"version": VERSION, "root": os.path.realpath(root), "rules": _rules()}


@cache
def _rules() -> str:
    """A checksum of the programs that decide what an image is."""
    texts = (Path(str(module.__file__)).read_bytes() for module in (file_types, passed_over, walk))
    return blake2b(b"".join(texts), digest_size=16).hexdigest()


def _mark(root: Path, columns: Columns) -> bool:
    """Whether nothing that the index depends on has changed."""
    marks, prefix = Marks(), os.fsencode(before_paths(root))
    for name in columns.arrays["watched"].tobytes().split(b"\0"):
        marks.add(prefix + name)
    return bool(marks.digest() == columns.about["mark"])


def _clean(folder: Path) -> None:
    """Delete the indexes that were not used for long, and what a killed process left."""
    if folder.is_dir():
        for path in folder.iterdir():
            with suppress(OSError):
                if path.stat().st_mtime < time.time() - UNUSED:
                    path.unlink()
