"""Images in Parquet files, as the `datasets` library of Hugging Face and its hub keep them, as an image tree.

A row is an image: its bytes, and its class. The file that it is in names its part: train-00000-of-00002.parquet, or
train/0000.parquet. The path of a row in the tree is PART/CLASS/FILE-ROW.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from resmlp.data.images.split_names import split_role
from resmlp.data.images.tree_files import Tree, short_list
from resmlp.imaging.image_file import ImageSource
from resmlp.imaging.parquet_file import ParquetImage
from resmlp.imaging.walk import path_in_set
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, brief, install_hint

ENDING, MAGIC = ".parquet", b"PAR1"
MAX_GROUP = 2**30
"""bytes of the images of a row group: a process holds at least one"""
IMAGES, LABELS = ("image", "img"), ("label", "labels", "fine_label", "class")
"""names of columns, the preferred one first, where the file says of several what they are"""


class Columns(NamedTuple):
    """The columns of a Parquet file of images."""

    image: str
    """that of the bytes, as Parquet names it"""
    label: str | None
    names: tuple[str, ...]
    """of the labels; empty if the file has none"""


def list_parquet(root: str, files: list[tuple[str, Path]]) -> Tree:
    """The tree of the rows of `files`, (path in the data set, path on the disk). Raises `UserError`."""
    hint = install_hint("parquet")
    demand(find_spec("pyarrow") is not None, f"{files[0][1]} needs pyarrow, which is not installed", hint)
    parts = {path: _part_of(path) for path, _ in files}
    sets = {folder for folder, _ in parts.values()}
    what = f"{root} has the Parquet files of several data sets: {short_list(sets)}"
    demand(len(sets) == 1, what, "give the folder of one of them")
    images, others = list[tuple[str, ImageSource]](), list[str]()
    for path, file in sorted(files):
        part = parts[path][1]
        for name, image in _rows(file):
            full = path_in_set(f"{part}/{name}" if part else name)
            if image is None:
                others.append(full)
            else:
                images.append((full, image))
    return Tree(root, images, others)


def _part_of(path: str) -> tuple[str, str]:
    """(the folder of a file but for that of its part and data/, the part) of a file; the part may be empty."""
    file = PurePosixPath(path)
    folders = list(file.parts[:-1])
    part = re.split(r"[-.]", file.stem)[0]
    if not split_role(part):
        part = folders.pop() if folders and split_role(folders[-1]) else ""
    return "/".join(name for name in folders if name != "data"), part


def _rows(file: Path) -> Iterator[tuple[str, ImageSource | None]]:
    """(CLASS/FILE-ROW, image) of each row, or (FILE-ROW, ...) without labels; None for a row whose class is unknown."""
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(file, pre_buffer=False) as opened:
            columns = find_columns(file, opened.schema_arrow)
            sizes = [_group_size(file, opened.metadata, group, columns.image) for group in range(opened.num_row_groups)]
            labels = None
            if columns.label is not None:
                labels = opened.read(columns=[columns.label], use_threads=False).column(0).to_pylist()
    except (ArrowException, OSError, ValueError, TypeError) as error:
        raise UserError(f"cannot read {file}: {brief(str(error))[:150]}", "is it a complete Parquet file?") from error
    demand(labels is None or len(labels) == sum(sizes), f"{file} has other rows than it says", "download it again")
    folders = _folders(file, columns, labels)
    width, number = len(str(sum(sizes))), 0
    for group, size in enumerate(sizes):
        for row in range(size):
            name, label = f"{file.stem}-{number:0{width}}", labels[number] if labels else None
            number += 1
            if labels is not None and label not in folders:
                yield name, None
                continue
            yield folders.get(label, "") + name, ParquetImage(str(file), name, columns.image, group, row)


def _group_size(file: Path, metadata: Any, group: int, column: str) -> int:
    """The number of rows of a row group. Raises `UserError` for one with too many bytes of images."""
    described = metadata.row_group(group)
    chunks = [described.column(i) for i in range(described.num_columns)]
    size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == column)
    what = f"row group {group} of {file} has {size / 2**30:.1f} GiB of images, all of which are read for one"
    demand(size <= MAX_GROUP, what, "write it with pyarrow.parquet.write_table(..., row_group_size=100)")
    return int(described.num_rows)


def _folders(file: Path, columns: Columns, labels: list[Any] | None) -> dict[Any, str]:
    """From each label to the folder of its class, with '/' at the end. A row without a label has none, nor has -1."""
    folders: dict[Any, str] = {}
    for row, label in enumerate(labels or ()):
        if label is None or label == -1 or label in folders:
            continue
        text = isinstance(label, str)
        valid = text or type(label) is int and (0 <= label < len(columns.names) if columns.names else label >= 0)
        known = f"its {len(columns.names)} classes" if columns.names else "a number from 0 on"
        demand(valid, f"{file}: {columns.label} {brief(str(label))} of row {row} is none of {known}", "correct the row")
        name = label if text else columns.names[label] if columns.names else str(label)
        folders[label] = name.strip().replace("/", "_") + "/" if name.strip() else f"{label!r}/"
    by_folder = defaultdict(list)
    for label, folder in folders.items():
        by_folder[folder].append(label)
    twice = [folder for folder, same in by_folder.items() if len(same) > 1]
    demand(not twice, f"{file} has two classes of one name: {short_list(twice)}", "rename one of them")
    return folders


def find_columns(file: Path, schema: Any) -> Columns:
    """The columns of the images and of their labels: by what the `datasets` library says, by their types, by name."""
    import pyarrow as pa

    features = _features(schema)
    leaves: dict[str, str] = {}
    for field in schema:
        names = [inner.name for inner in field.type] if pa.types.is_struct(field.type) else []
        if _is_binary(field.type):
            leaves[field.name] = field.name
        elif "bytes" in names and _is_binary(field.type.field("bytes").type):
            leaves[field.name] = f"{field.name}.bytes"
    marked = [name for name in leaves if features.get(name, {}).get("_type") == "Image"]
    image = _choose(file, "column of images", marked or [*leaves], IMAGES)
    hint = "images are the bytes of a column; of parallel text, both sides are columns of text"
    demand(image is not None, f"{file} has no column of image bytes, only {_named(schema)}", hint)
    assert image is not None
    typed = [f.name for f in schema if pa.types.is_integer(f.type) or pa.types.is_string(f.type)]
    marked = [name for name in typed if features.get(name, {}).get("_type") == "ClassLabel"]
    label = _choose(file, "column of labels", marked or [name for name in typed if name in LABELS], LABELS)
    given = features.get(label or "", {}).get("names") or ()
    valid = isinstance(given, list | tuple) and all(isinstance(name, str) for name in given)
    demand(valid, f"{file}: the names of {label} are not a list of names", "write it again with the datasets library")
    return Columns(leaves[image], label, tuple(given))


def missing_labels(image: ParquetImage) -> UserError:
    """The error for the file of an image whose rows have no classes."""
    from pyarrow.parquet import read_schema

    named = _named(read_schema(image.archive).remove_metadata())
    what = f"{image.archive} has no column of labels: {', '.join(LABELS[:-1])} or {LABELS[-1]}, of numbers or text"
    return UserError(what, f"give that column one of these names; it has {named}")


def _choose(file: Path, what: str, names: list[str], preferred: tuple[str, ...]) -> str | None:
    """One of the columns; None if there is none. Raises `UserError` if several are as good."""
    known = [name for name in preferred if name in names]
    demand(len(names) < 2 or bool(known), f"{file} has more than one {what}: {short_list(names)}", "keep one of them")
    return known[0] if known else names[0] if names else None


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _named(schema: Any) -> str:
    return short_list(brief(f"{field.name} ({field.type})")[:60] for field in schema) or "nothing"


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """What the `datasets` library wrote about the columns; empty if that is nothing, or damaged."""
    try:
        info = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: about for name, about in info.items() if isinstance(about, dict)}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}


def is_parquet(path: Path) -> bool:
    """Whether a file is a Parquet file, by its content."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC
