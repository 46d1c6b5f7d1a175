"""Columns of numbers in one safetensors file, which are mapped into memory and not read.

A file is not trusted: its header must describe exactly the columns that are expected, each byte of the file once.
"""

import json
import os
from collections.abc import Mapping
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, brief
from resmlp.utils.files import check_file

MAX_HEADER = 2**26
"""bytes of a header"""
DTYPES: dict[str, np.dtype[Any]] = {"I32": np.dtype("<i4"), "I64": np.dtype("<i8"), "U8": np.dtype("u1")}
"""from the name of a type in a header to the type"""
DIGEST = "digest"
"""the entry of the metadata with a checksum of everything else"""


class Columns(NamedTuple):
    """The content of a file."""

    arrays: dict[str, np.ndarray]
    """one dimension each; views of the mapped file"""
    about: dict[str, Any]
    """the metadata"""
    digest: str
    """the checksum of both, as the file has it"""


def damaged(path: Path, why: str) -> UserError:
    """The error for a file that is not as it was written."""
    return UserError(f"{path} is damaged: {brief(why)[:150]}", "pack the data again, or copy the file again")


def read_columns(path: Path, dtypes: Mapping[str, str], optional: Mapping[str, str] = MappingProxyType({})) -> Columns:
    """Map the file; `dtypes` are the names of its columns and their types. It may have all `optional` ones as well.

    Raises `UserError` if it cannot be read, or if its header is not that of such a file. Values are not looked at.
    """
    check_file(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER, size - 8):
                raise ValueError(f"a header of {length:,} bytes in a file of {size:,}")
            header = json.loads(file.read(length).decode("utf-8"))
            raw = np.memmap(file, np.uint8, "r").view(np.ndarray)[8 + length :]
        dtypes = {**dtypes, **(optional if optional.keys() <= header.keys() else {})}
        places = _places(header, dtypes, len(raw))
        about = {key: json.loads(value) for key, value in header["__metadata__"].items()}
        digest = str(about.pop(DIGEST))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "check its permissions") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(path, str(error) or type(error).__name__) from None
    arrays = {name: raw[start:end].view(DTYPES[dtypes[name]]) for name, (start, end) in places.items()}
    return Columns(arrays, about, digest)


def _places(header: Any, dtypes: Mapping[str, str], size: int) -> dict[str, tuple[int, int]]:
    """The bytes of each column after the header. Raises ValueError unless they follow one another, up to `size`."""
    if not isinstance(header, dict) or header.keys() != {"__metadata__", *dtypes}:
        raise ValueError("the header names other columns")
    places = {}
    for name, dtype in dtypes.items():
        field = header[name]
        if field["dtype"] != dtype:
            raise ValueError(f"{name} is of type {field['dtype']}, not {dtype}")
        (count,), (start, end) = field["shape"], field["data_offsets"]
        if any(type(number) is not int or number < 0 for number in (count, start, end)):
            raise ValueError(f"{name} has a size that is no whole number from 0 on")
        if end - start != count * DTYPES[dtype].itemsize:
            raise ValueError(f"{name} has {count:,} values in {end - start:,} bytes")
        places[name] = (start, end)
    ordered = sorted(places.values())
    if [ordered[0][0], ordered[-1][1]] != [0, size] or any(one[1] != next_[0] for one, next_ in pairwise(ordered)):
        raise ValueError("the columns overlap, leave bytes out, or end beyond the file")
    return places


def digest_of(arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> str:
    """A checksum of the columns and the metadata, without a copy of the columns."""
    total = blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=16)
    for name in sorted(arrays):
        total.update(np.ascontiguousarray(arrays[name]).view(np.uint8).data)
    return total.hexdigest()


def write_columns(path: Path, arrays: Mapping[str, np.ndarray], dtypes: Mapping[str, str], about: Any) -> None:
    """Write a safetensors file of columns of one dimension and JSON values: the same bytes for the same content.

    `dtypes` has the columns in their order in the file: those of larger numbers come first, so that all are aligned.
    """
    arrays = {name: np.ascontiguousarray(arrays[name], DTYPES[dtype]) for name, dtype in dtypes.items()}
    texts = {key: json.dumps(value, sort_keys=True) for key, value in about.items()}
    header: dict[str, Any] = {"__metadata__": texts | {DIGEST: json.dumps(digest_of(arrays, about))}}
    end = 0
    for name, array in arrays.items():
        start, end = end, end + array.nbytes
        header[name] = {"dtype": dtypes[name], "shape": [len(array)], "data_offsets": [start, end]}
    text = json.dumps(header, sort_keys=True).encode()
    text += b" " * (-len(text) % 8)
    demand(len(text) <= MAX_HEADER, f"{path} would have a header of {len(text):,} bytes", "use a larger --shard-size")
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(array.view(np.uint8).data)
