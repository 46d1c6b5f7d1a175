"""The index of a packed data set: label, shard, place and path of each image, in columns that are mapped into memory.

N images, K classes.
"""

import codecs
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from resmlp.config.preprocessing import Decoding
from resmlp.data.shards.columns import damaged, digest_of, read_columns, write_columns
from resmlp.data.shards.folder import LocalFolder, Shard, ShardFolder, ShardImage
from resmlp.imaging.archive_limits import MAX_MEMBER
from resmlp.imaging.decode import DEFAULT
from resmlp.utils.checks import demand
from resmlp.utils.files import write_whole

INDEX = "index.safetensors"
"""the file in the folder of the shards"""
VERSION = 1
DTYPES = {"offset": "I64", "size": "I64", "name_start": "I64", "label": "I32", "shard": "I32", "names": "U8"}
"""the columns: offset and size N are the bytes of an image in its shard; the path of image i is the UTF-8 text
names[name_start[i]:name_start[i + 1]]; label and shard N are numbers in the lists of the metadata. Without classes, all
labels are 0"""
MASKS = {"mask_offset": "I64", "mask_size": "I64"}
"""further columns of images with masks: the bytes of the mask of each image in the same shard, N"""
CHUNK = 2**20  # rows that are checked at a time, so that no copy of a column is made
MAX_NAME = 2**14  # bytes of a path
MASK_ENDING = ".mask.png"
"""of a mask in a shard"""


class Split(NamedTuple):
    """The rows of a split, which follow one another."""

    first: int
    rows: int
    folder: str
    """what the paths of its images begin with: the folder of the split, with '/' at the end, or empty"""

    @property
    def range(self) -> range:
        """The numbers of its rows."""
        return range(self.first, self.first + self.rows)


class Index:
    """The index at `path`. Pickled, it is its path: another process maps the file again.

    The shards are in `folder`, by default next to it. Raises `UserError` if the file is damaged. `check=False` leaves
    the values out, which another process has checked.
    """

    def __init__(self, path: Path, check: bool = True, folder: ShardFolder | None = None):
        self.path, self.folder = path, folder or LocalFolder(path.parent)
        columns = read_columns(path, DTYPES, MASKS)
        self.digest = columns.digest
        """identifies the content of the index"""
        arrays, about = columns.arrays, columns.about
        self.offset, self.size, self.name_start = arrays["offset"], arrays["size"], arrays["name_start"]
        self.label, self.shard, self.names = arrays["label"], arrays["shard"], arrays["names"]
        self.masks = (arrays["mask_offset"], arrays["mask_size"]) if arrays.keys() >= MASKS.keys() else None
        """offset and size of the mask of each image; None without masks"""
        try:
            self._read_about(about)
            _check_counts(arrays)
            if check:
                _check_values(arrays, len(self.classes), np.array([shard.bytes for shard in self.shards]))
                if digest_of(arrays, about) != self.digest:
                    raise ValueError("its checksum is wrong")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise damaged(path, str(error) or type(error).__name__) from None

    def __len__(self) -> int:
        return len(self.label)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.digest, self.folder)

    def _read_about(self, about: Mapping[str, Any]) -> None:
        """Take the metadata. Raises ValueError and others if it is damaged."""
        demand(about["version"] == VERSION, f"{self.path} is of another version", "pack the data again")
        self.classes: tuple[str, ...] = tuple(about["classes"])
        """the name of each label, K; empty if the images have no classes"""
        self.shards = tuple(Shard(*entry) for entry in about["shards"])
        self.splits = {name: Split(*entry) for name, entry in about["splits"].items()}
        """train and val, or all; with masks, those of the source, of which an undivided one has an empty name"""
        self.lists: dict[str, str] = dict(about.get("lists", {}))
        """the files with the names and colors of the classes of masks, from name to text"""
        self.plan = str(about["plan"])
        """identifies what was packed, and how"""
        if not _are(str, [*self.lists, *self.lists.values()]):
            raise ValueError("its lists of classes are no texts")
        if len(set(self.classes)) != len(self.classes) or not _are(str, self.classes):
            raise ValueError("its classes are no list of different names")
        for shard in self.shards:
            plain = _are(str, shard[::2]) and shard.name == Path(shard.name).name and not shard.name.startswith(".")
            if not plain or "\0" in shard.name or not _are(int, shard[1:2]) or not 0 <= shard.bytes < 2**62:
                raise ValueError(f"it names a shard {shard.name}")
        if not self.masks and tuple(self.splits) not in (("train",), ("val",), ("train", "val"), ("all",)):
            raise ValueError(f"it has the splits {' '.join(self.splits)}")
        end = 0
        for split in self.splits.values():
            if not _are(int, split[:2]) or split.first != end or split.rows < 1 or not _are(str, split[2:]):
                raise ValueError("its splits do not follow one another")
            end += split.rows
        if end != len(self):
            raise ValueError(f"its splits have {end:,} rows, and it has {len(self):,}")

    def name(self, row: int) -> str:
        """The path of an image in the data set."""
        start, end = self.name_start[row : row + 2].tolist()
        return self.names[start:end].tobytes().decode()

    def member(self, row: int, decoding: Decoding) -> ShardImage:
        """An image: its bytes in its shard."""
        return self._image(row, self.name(row), (self.offset, self.size), decoding)

    def mask(self, row: int) -> ShardImage:
        """The mask of an image."""
        assert self.masks
        return self._image(row, f"{self.name(row).rpartition('.')[0]}{MASK_ENDING}", self.masks, DEFAULT)

    def _image(self, row: int, path: str, places: tuple[np.ndarray, np.ndarray], decoding: Decoding) -> ShardImage:
        shard, folder = self.shards[int(self.shard[row])], self.folder
        offset, size = (int(column[row]) for column in places)
        return ShardImage(folder.where(shard), path, offset, size, shard, folder, decoding)

    def raise_if_not_sent(self, row: int) -> None:
        """Raise `UserError` if a server did not send the shard of an image just now."""
        shard = self.shards[int(self.shard[row])]
        reason = self.folder.failure(shard)
        demand(reason is None, f"cannot fetch {self.folder.where(shard)}: {reason}", "give the same command again")

    def check_shards(self, all_of_them: bool = True) -> tuple[str, ...]:
        """Raise `UserError` for the first shard that is missing, or that has another size than when it was written.

        If not `all_of_them` have to be whole, one is enough: then what is wrong with the others is returned.
        """
        errors = list(self.folder.damaged(self.shards))
        if errors and (all_of_them or len(errors) == len(self.shards)):
            raise errors[0]
        return tuple(error.what for error in errors)


def _reopen(path: Path, digest: str, folder: ShardFolder) -> Index:
    index = Index(path, check=False, folder=folder)
    demand(index.digest == digest, f"{path} has changed since it was opened", "start the command again")
    return index


def _are(kind: type, values: Sequence[Any]) -> bool:
    return all(type(value) is kind for value in values)


def _check_counts(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError unless the columns have as many rows as belong together."""
    rows = len(arrays["label"])
    same = all(len(arrays[name]) == rows for name in ("offset", "size", "shard"))
    if not rows or not same or len(arrays["name_start"]) != rows + 1:
        raise ValueError("its columns have no rows, or not the same number")
    if any(len(arrays[name]) != rows for name in MASKS.keys() & arrays.keys()):
        raise ValueError("it has not as many masks as images")
    start = arrays["name_start"]
    if start[0] != 0 or start[-1] != len(arrays["names"]):
        raise ValueError("its paths do not fill the column names")


def _check_values(arrays: Mapping[str, np.ndarray], classes: int, shards: np.ndarray) -> None:
    """Raise ValueError for a value that is out of range; `shards` are their numbers of bytes, int64."""
    for part in _chunks(len(arrays["label"]), CHUNK):
        _check_range("label", arrays["label"][part], max(classes - 1, 0))
        _check_range("shard", arrays["shard"][part], len(shards) - 1)
        for offset, size in (("offset", "size"), *[tuple(MASKS)] * (arrays.keys() >= MASKS.keys())):
            _check_range(size, arrays[size][part], MAX_MEMBER)
            _check_range(offset, arrays[offset][part], 2**62)
            if (arrays[offset][part] + arrays[size][part] > shards[arrays["shard"][part]]).any():
                raise ValueError("it has an image beyond the end of its shard")
        starts = arrays["name_start"][part.start : part.stop + 1]
        lengths = np.diff(starts)
        if starts.min() < 0 or starts.max() > len(arrays["names"]) or lengths.min() < 1 or lengths.max() > MAX_NAME:
            raise ValueError("it has a path without a length, or with one that is too large")
        firsts = arrays["names"][starts[:-1]]
        if ((firsts & 0xC0) == 0x80).any():  # the middle of a character
            raise ValueError("it has a path that is not UTF-8")
    decoder = codecs.getincrementaldecoder("utf-8")()
    for part in _chunks(len(arrays["names"]), 16 * CHUNK):
        decoder.decode(arrays["names"][part].tobytes())
    decoder.decode(b"", final=True)


def _check_range(name: str, values: np.ndarray, largest: int) -> None:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > largest:
        raise ValueError(f"it has {name} {low if low < 0 else high:,}, and 0 to {largest:,} are possible")


def _chunks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def write_index(
    folder: Path,
    columns: Mapping[str, np.ndarray],
    *,
    classes: Sequence[str],
    shards: Sequence[Shard],
    splits: Mapping[str, Split],
    plan: str,
    lists: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write the index of the `shards` in a folder, atomically; `columns` as in `DTYPES`, perhaps with `MASKS`."""
    about = {
        "version": VERSION,
        "classes": list(classes),
        "shards": [list(shard) for shard in shards],
        "splits": {name: list(split) for name, split in splits.items()},
        "plan": plan,
        **({"lists": dict(lists)} if lists else {}),
    }
    masks = MASKS if columns.keys() >= MASKS.keys() else {}
    dtypes = {**masks, **DTYPES}
    write_whole(folder / INDEX, lambda aside: write_columns(aside, columns, dtypes, about))


def name_columns(names: Sequence[str]) -> dict[str, np.ndarray]:
    """The columns `name_start` and `names` of these paths."""
    encoded = [name.encode() for name in names]
    start = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(name) for name in encoded], out=start[1:])
    return {"name_start": start, "names": np.frombuffer(b"".join(encoded), np.uint8)}
