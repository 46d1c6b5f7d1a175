"""The folder of finished parts, from which the one file is joined. A process may be killed at any instant.

Every file is written aside under a name that no other process uses, flushed, and renamed. So two processes that do the
same work twice waste time and nothing else, and no lock is needed but to join only once.
"""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resmlp.evaluation.batch_inference.plan import Plan
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, brief
from resmlp.utils.files import LOCK, disk_errors, read_json, write_whole

if TYPE_CHECKING:
    import pyarrow

PLAN = "plan.json"
MARK = b"resmlp.plan"
"""the entry of a Parquet file's metadata that is its plan"""
GROUP = 16
"""parts that become one row group of the file"""


class Parts:
    """The parts of the file `out`, in the folder OUT.parts."""

    def __init__(self, out: Path, plan: Plan, schema: "pyarrow.Schema"):
        self.out, self.plan = out, plan
        self.schema = schema.with_metadata({**(schema.metadata or {}), MARK: json.dumps(asdict(plan)).encode()})
        self.folder = out.with_name(f"{out.name}.parts")
        self._own = f"{socket.gethostname()}.{os.getpid()}"

    def is_joined(self) -> bool:
        """Whether the file is there, and of this plan. Raises `UserError` if it is of another, or not ours."""
        if not self.out.exists():
            return False
        found = _plan_of(self.out)
        demand(found is not None, f"--out {self.out} is there, with other content", "choose another --out")
        differ = self.plan.differences(found)
        what = f"--out {self.out} is there, of a command with {', '.join(differ)}"
        demand(not differ, what, "choose another --out, or remove the file")
        return True

    def begin(self) -> None:
        """Make the folder, or continue in it. Raises `UserError` if it is of another plan, or has other content."""
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            others = sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))
        path = self.folder / PLAN
        if not path.exists():
            what = f"{self.folder}, where the parts would be, has {', '.join(others[:2])}"
            demand(not others, what, "choose another --out")
            text = json.dumps(asdict(self.plan), indent=2)
            write_whole(path, lambda aside: aside.write_text(text, encoding="utf-8"), self._aside(path))
        differ = self.plan.differences(read_json(path))
        what = f"{self.folder} is of a command with {', '.join(differ)}, which was not finished"
        demand(not differ, what, "give that command again, remove the folder, or choose another --out")

    def missing(self, numbers: range) -> list[int]:
        """Those of the blocks that have no whole part yet."""
        return [number for number in numbers if not self._is_whole(number)]

    def write(self, number: int, table: "pyarrow.Table") -> None:
        """Write the part of a block. Raises `UserError`; nothing is then half written."""
        from pyarrow import parquet

        path, whole = self._path(number), table.replace_schema_metadata(self.schema.metadata)
        write_whole(path, lambda aside: parquet.write_table(whole, aside), self._aside(path))

    def join(self) -> bool:
        """Write the file if all parts are there, and remove them; False if another process still has work to do."""
        if not self.is_joined():
            if not all(self._path(number).exists() for number in range(self.plan.blocks)):
                return False
            try:
                with _first(self.folder / LOCK) as first:
                    if not first:
                        return False
                    if not self.is_joined():  # since it was asked before
                        write_whole(self.out, self._write_all, self.folder / f".joined.{self._own}.part")
            except UserError:
                if not self.is_joined():  # by another process, which has removed the parts
                    raise
        self._remove()
        return True

    def _remove(self) -> None:
        """Remove the parts, the plan last: a folder without it is not ours."""
        if (self.folder / PLAN).exists():
            with suppress(OSError):
                for path in (*self.folder.glob("part-*.parquet"), *self.folder.glob(".*"), self.folder / PLAN):
                    path.unlink(missing_ok=True)
                self.folder.rmdir()

    def _write_all(self, aside: Path) -> None:
        from pyarrow import concat_tables, parquet

        with parquet.ParquetWriter(aside, self.schema) as writer:
            for start in range(0, self.plan.blocks, GROUP):
                numbers = range(start, min(start + GROUP, self.plan.blocks))
                group = concat_tables([self._read(number) for number in numbers])
                writer.write_table(group, row_group_size=len(group))

    def _read(self, number: int) -> "pyarrow.Table":
        from pyarrow import ArrowException, parquet

        path = self._path(number)
        try:
            return parquet.ParquetFile(path).read().cast(self.schema)
        except (ArrowException, ValueError) as error:
            raise UserError(f"{path} is damaged: {brief(str(error))[:80]}", "give the same command again") from None

    def _is_whole(self, number: int) -> bool:
        """Whether a part is there and can be read; what another program damaged is written again."""
        from pyarrow import ArrowException, parquet

        path = self._path(number)
        if not path.exists():
            return False
        try:
            file = parquet.ParquetFile(path)
            return bool(file.metadata.num_rows == len(self.plan.rows(number)) and file.schema_arrow == self.schema)
        except (ArrowException, OSError, ValueError):
            return False

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:05}.parquet"

    def _aside(self, path: Path) -> Path:
        return path.with_name(f".{path.name}.{self._own}.part")


@contextmanager
def _first(lock: Path) -> Iterator[bool]:
    """Whether this process is the first that holds the lock, which the system frees however the process ends."""
    try:
        descriptor = os.open(lock, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise UserError(f"cannot write to {lock.parent}: {error.strerror}", "choose another --out") from None
    try:
        held = True
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = False
        except OSError:  # a file system without locks: to join twice is only slower
            pass
        yield held
    finally:
        os.close(descriptor)


def _plan_of(path: Path) -> Any:
    """The plan of a Parquet file, as JSON; None for any other file."""
    from pyarrow import ArrowException, parquet

    with suppress(OSError, ArrowException, ValueError):
        return json.loads((parquet.read_schema(path).metadata or {}).get(MARK, b"null"))
    return None
