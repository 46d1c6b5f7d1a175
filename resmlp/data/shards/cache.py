"""Shards of a server as files of this machine, up to a number of bytes: those not used for the longest time go first.

A file is named by the checksum of its shard, so none is ever of another version. Any number of processes share the
folder: one fetches a shard while the others wait for it. A file that is open can be read after it was deleted.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from resmlp.data.shards.folder import Shard
from resmlp.data.shards.remote import FetchError, download, read_range
from resmlp.imaging.decode import UnreadableArchive
from resmlp.utils.cache import needed_cache_folder
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError
from resmlp.utils.files import sync

GB = 10**9
LIMIT = "RESMLP_CACHE_GB"
DEFAULT_LIMIT = "50"
FAILED, PART, WHOLE = ".failed", ".part", ".tar"
AGAIN = 600
"""seconds after which a shard that could not be fetched is asked for again"""
TOUCHED = 60
"""seconds within which one note of the use of a file is enough"""
ABANDONED = 86_400
"""seconds after which a part of a file is nobody's"""


@dataclass(frozen=True)
class ShardCache:
    """The files in a folder. Safe to pickle."""

    folder: Path
    limit: int
    """bytes; processes that fetch at the same time may exceed it by a shard each"""

    def open(self, shard: Shard, address: str) -> int:
        """A file descriptor of the shard, which is fetched from its address if it is not there.

        Raises `UnreadableArchive` if that fails, and during `AGAIN` seconds after that at once; `UserError` where the
        folder cannot be written to.
        """
        path = self._path(shard)
        with disk_errors_of(self.folder):
            found = self.find(shard)
            if found is not None:
                return found
            self._raise_if_failed(address)
            self.folder.mkdir(parents=True, exist_ok=True)
            part = self.folder / f".{shard.checksum}.{shard.bytes}{PART}"
            with locked(part):
                found = self.find(shard)  # another process may have fetched it meanwhile
                if found is not None:
                    return found
                self._raise_if_failed(address)
                self._make_room(shard.bytes)
                try:
                    download(address, part, shard.bytes, shard.checksum)
                except FetchError as error:
                    raise self._failed(address, error) from None
                sync(part)
                found = os.open(part, os.O_RDONLY)  # before others can delete it
                part.replace(path)
                return found

    def find(self, shard: Shard) -> int | None:
        """A file descriptor of the shard; None if it is not in the folder."""
        return _open_whole(self._path(shard), shard.bytes)

    def fetch_range(self, shard: Shard, address: str, offset: int, size: int) -> bytes | None:
        """Bytes of the shard at an address, which are not kept; None if the server sends whole files alone.

        Raises as `open` does.
        """
        with disk_errors_of(self.folder):
            self._raise_if_failed(address)
            try:
                return read_range(address, offset, size, shard.bytes)
            except FetchError as error:
                raise self._failed(address, error) from None

    def forget_failures(self) -> None:
        """Let shards that could not be fetched be asked for again: a new command may find them."""
        for mark in self.folder.glob(f".*{FAILED}"):
            with suppress(OSError):
                mark.unlink()

    def _path(self, shard: Shard) -> str:
        return f"{self.folder}/{shard.checksum}{WHOLE}"

    def _failed(self, address: str, error: FetchError) -> UnreadableArchive:
        """Note that a shard cannot be fetched, and why."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._mark(address).write_text(str(error), encoding="utf-8", errors="replace")
        return UnreadableArchive(address, str(error))

    def _mark(self, address: str) -> Path:
        """The file that says why the last try failed."""
        return self.folder / f".{blake2b(address.encode(), digest_size=16).hexdigest()}{FAILED}"

    def failure(self, address: str) -> str | None:
        """Why a shard could not be fetched in the last `AGAIN` seconds; None: it could, or nobody tried."""
        mark = self._mark(address)
        try:
            age, reason = time.time() - mark.stat().st_mtime, mark.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return reason if age < AGAIN else None

    def _raise_if_failed(self, address: str) -> None:
        reason = self.failure(address)
        if reason is not None:
            raise UnreadableArchive(address, reason)

    def _make_room(self, needed: int) -> None:
        """Delete the shards that were not used for the longest time, until `needed` bytes have room.

        The part of the file that needs them is there, with the number of its bytes in its name.
        """
        used, files = 0, list[tuple[float, int, Path]]()
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):
                found = path.stat()
                if path.name.endswith(WHOLE):
                    files.append((found.st_mtime, found.st_size, path))
                    used += found.st_size
                elif path.name.endswith(PART) and time.time() - found.st_mtime > ABANDONED:
                    path.unlink()
                elif path.name.endswith(PART):
                    used += int(path.name.split(".")[-2])
        excess = max(used - self.limit, needed - shutil.disk_usage(self.folder).free)
        for _, size, path in sorted(files):
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= size


def open_cache() -> ShardCache:
    """The cache of this user. Raises `UserError` for a limit that is no number."""
    text = os.environ.get(LIMIT, DEFAULT_LIMIT)
    try:
        limit = float(text)
    except ValueError:
        limit = 0
    demand(0 < limit < 10**9, f"{LIMIT} is {text!r}", "give a number of GB, such as 50")
    return ShardCache(needed_cache_folder("shards"), int(limit * GB))


@contextmanager
def disk_errors_of(folder: Path) -> Iterator[None]:
    """Turns an `OSError` of a cache into a `UserError`."""
    try:
        yield
    except OSError as error:
        hint = "make room, or set RESMLP_CACHE to another folder"
        raise UserError(f"cannot use the cache {folder}: {error.strerror or error}", hint) from None


@contextmanager
def locked(part: Path) -> Iterator[None]:
    """Waits for the lock of this file, which is made, and removed at the end unless it was renamed.

    flock also holds between the threads of a process; the system frees it however the process ends.
    """
    while True:
        lock = os.open(part, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_at(part, lock):
            break
        os.close(lock)  # the one before has renamed or removed it
    try:
        yield
    finally:
        if _is_at(part, lock):
            part.unlink()
        fcntl.flock(lock, fcntl.LOCK_UN)  # a forked process may have the descriptor as well
        os.close(lock)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is the one at this path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _open_whole(path: str, size: int) -> int | None:
    """A descriptor of a file of this size, whose use is noted; a file of another size is deleted."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    found = os.fstat(descriptor)
    if found.st_size != size:
        os.close(descriptor)
        Path(path).unlink(missing_ok=True)
        return None
    if time.time() - found.st_mtime > TOUCHED:
        with suppress(OSError):  # another user's
            os.utime(descriptor)
    return descriptor
