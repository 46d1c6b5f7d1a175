"""Atomic files: written next to the final path, flushed to the disk, then renamed."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from resmlp.utils.errors import UserError

LOCK = ".lock"
"""the file by which a process keeps others from writing to its folder"""
MAX_JSON = 2**26
"""bytes of a JSON file: in memory it takes up to 30 times as much"""


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def exists(name: str) -> bool:
    """Whether a file or folder of this name exists; False for a name that no file can have."""
    try:
        return bool(name.strip()) and Path(name).exists()
    except (OSError, ValueError):
        return False


def check_file(path: Path) -> None:
    """Raise `UserError` unless `path` is a regular file: to read a pipe would wait, and a device may have no end."""
    if path.is_file():
        return
    if not os.path.lexists(path):
        raise UserError(f"no file {path}", "check the path")
    kind = "a folder" if path.is_dir() else "a pipe or a device" if path.exists() else "a broken link"
    raise UserError(f"{path} is {kind}, not a file", "move it away, or restore the file")


def remove(path: Path) -> None:
    """Delete what has this name, if anything: a file, a pipe, a link but not its target, or a folder with all in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns an `OSError` into a `UserError` that names `path`."""
    kept = f"; the old {'folder' if path.is_dir() else 'file'} is unchanged" if exists(str(path)) else ""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        hint = f"make room or choose another --out{kept}"
        raise UserError(f"cannot write {path}: {reason}", hint) from error


@contextmanager
def only_writer(folder: Path, does: str) -> Iterator[None]:
    """Holds the lock of the folder, which is made if it is missing. The system frees the lock however the process ends.

    Where an error ends the block before it has written anything, the lock and the folders that were made for it are
    removed. Raises `UserError` if another process holds the lock, with the verb `does` ("trains in"), and if the folder
    cannot be written to.
    """
    try:
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        before = set[Path]() if made else set(folder.iterdir())
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}", "choose another --out") from None
    try:
        try:
            fcntl.lockf(
                lock, fcntl.LOCK_EX | fcntl.LOCK_NB
            )  # unlike flock's, this lock is not inherited by the loader's workers
        except BlockingIOError:
            hint = "wait for it, or choose another --out"
            raise UserError(f"another process {does} {folder}", hint) from None
        try:
            yield
        except BaseException:
            if folder / LOCK not in before:
                _remove_unused(folder, before, made)
            raise
    finally:
        os.close(lock)


def _remove_unused(folder: Path, before: set[Path], made: list[Path]) -> None:
    """Remove the lock of a folder that else has what it had `before`, then the folders that were `made`, if empty."""
    with suppress(OSError):
        if set(folder.iterdir()) - {folder / LOCK} == before:
            (folder / LOCK).unlink(missing_ok=True)
            for path in made:
                path.rmdir()


def check_writable(what: str, path: Path) -> None:
    """Raise `UserError` naming `what` (a flag and its value) where the file `path` cannot be written."""
    if path.is_dir():
        raise UserError(f"{what} is a folder", "give the name of a file")
    trial = path.with_name(f".{path.name}.{os.getpid()}")  # each process has its own
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise UserError(f"cannot write {what}: {error.strerror}", "choose another path") from None


def write_whole(path: Path, write: Callable[[Path], Any], aside: Path | None = None) -> None:
    """Call `write(aside)`, which fills a file next to `path`, then rename that file to `path`.

    Where several processes may write the same file, each needs an `aside` of its own, on the same file system.
    """
    write_together({path: write}, {path: aside} if aside else {})


def write_together(writes: dict[Path, Callable[[Path], Any]], own: Mapping[Path, Path] = MappingProxyType({})) -> None:
    """As `write_whole`, for files that belong together: none is renamed before all are on the disk."""
    asides = {path: own.get(path, path.with_name(f".{path.name}.part")) for path in writes}
    try:
        for path, write in writes.items():
            with disk_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                remove(asides[path])  # a killed process may have left it, and anything may have its name
                write(asides[path])
                sync(asides[path])
        for path, aside in asides.items():
            with disk_errors(path):
                aside.replace(path)
                sync(path.parent)
    finally:
        for aside in asides.values():
            with suppress(OSError):
                remove(aside)


def write_folder(path: Path, write: Callable[[Path], Any]) -> None:
    """As `write_whole`, for a new folder that `write(aside)` fills."""
    aside = path.with_name(f".{path.name}.part")
    with disk_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            remove(aside)
            aside.mkdir()
            write(aside)
            for file in aside.iterdir():
                sync(file)
            sync(aside)
            aside.rename(path)
            sync(path.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    write_whole(path, lambda aside: aside.write_text(text, encoding="utf-8", errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path, limit: int = MAX_JSON) -> Any:
    """The value of a JSON file of at most `limit` bytes. Raises `UserError` for a file that is missing or broken."""
    try:
        check_file(path)
        if path.stat().st_size > limit:
            raise ValueError(f"it has more than {limit:,} bytes")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"cannot read {path}: {reason}", "it should be a complete JSON file") from None
