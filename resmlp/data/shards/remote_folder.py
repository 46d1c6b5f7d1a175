"""A packed data set on a server: its index is a file of this machine that is never stale, its shards are in a cache."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

from resmlp.data.shards.cache import GB, LIMIT, ShardCache, disk_errors_of, locked, open_cache
from resmlp.data.shards.columns import MAX_HEADER
from resmlp.data.shards.folder import Shard, ShardFolder
from resmlp.data.shards.index import INDEX, Index
from resmlp.data.shards.remote import FetchError, download, read_header, read_range
from resmlp.utils.address import check_address, join_address
from resmlp.utils.cache import needed_cache_folder
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError
from resmlp.utils.files import sync


@dataclass(frozen=True)
class RemoteFolder(ShardFolder):
    """A folder on a server or in object storage, by its address."""

    address: str
    cache: ShardCache
    in_parts: bool = False
    """whether images are fetched one by one: the cache has no room for all shards"""
    is_local = False

    def where(self, shard: Shard) -> str:
        """The address of the file."""
        return join_address(self.address, shard.name)

    def open(self, shard: Shard) -> int:
        """The file in the cache."""
        return self.cache.open(shard, self.where(shard))

    def read(self, shard: Shard, offset: int, size: int) -> bytes:
        """Bytes of a shard, which is fetched as a whole only if it is kept. Raises `UnreadableArchive`."""
        found = self.cache.find(shard) if self.in_parts else None
        if self.in_parts and found is None:
            data = self.cache.fetch_range(shard, self.where(shard), offset, size)
            if data is not None:
                return data
        return self.read_open(self.open(shard) if found is None else found, shard, offset, size)

    def failure(self, shard: Shard) -> str | None:
        """As of `ShardFolder`."""
        return self.cache.failure(self.where(shard))

    def notes(self, shards: Sequence[Shard]) -> Iterator[str]:
        """Where the shards are kept, and whether all have room there."""
        total = sum(shard.bytes for shard in shards)
        sizes = f"{self.address} has {total / GB:.1f} GB, and the cache {self.cache.limit / GB:g} GB ({LIMIT})"
        if self.in_parts:
            yield f"{sizes}: each image is fetched when it is read, and not kept"
        elif total > self.cache.limit:
            yield f"{sizes}: its shards are fetched again and again, as the server sends no parts of files"
        else:
            yield f"shards are kept in {self.cache.folder}, up to {self.cache.limit / GB:g} GB ({LIMIT})"


def open_remote(address: str) -> Index:
    """The index of the packed data set at an address. Raises `UserError` if it cannot be fetched, or is damaged."""
    check_address(address)
    folder = RemoteFolder(address.rstrip("/"), open_cache())
    own = needed_cache_folder("indexes")
    with disk_errors_of(own):
        path = _fetch_index(folder.address, own)
        try:
            index = Index(path, folder=folder)
        except UserError:  # the file of an earlier call may be damaged
            path.unlink(missing_ok=True)
            index = _open_fetched(_fetch_index(folder.address, own), folder)
    _check_room(index, folder.cache.limit)
    folder.cache.forget_failures()
    if sum(shard.bytes for shard in index.shards) > folder.cache.limit:
        index.folder = replace(folder, in_parts=_sends_parts(folder.address))
    return index


def _sends_parts(address: str) -> bool:
    """Whether a server sends parts of files."""
    try:
        return read_range(join_address(address, INDEX), 0, 8) is not None
    except FetchError:
        return False


def _open_fetched(path: Path, folder: RemoteFolder) -> Index:
    try:
        return Index(path, folder=folder)
    except UserError as error:
        path.unlink(missing_ok=True)
        what = error.what.replace(str(path), join_address(folder.address, INDEX))
        raise UserError(what, "copy it to the server again, or pack the data again") from None


def _fetch_index(folder: str, own: Path) -> Path:
    """The index as a file of this machine.

    It is named by its header, which has a checksum of all the rest, and which is read from the server at each call. So
    it is not fetched twice, and it is never that of an earlier version.
    """
    address = join_address(folder, INDEX)
    try:
        header = read_header(address, MAX_HEADER)
        path = own / f"{blake2b(header, digest_size=16).hexdigest()}.safetensors"
        if path.exists():
            return path
        own.mkdir(parents=True, exist_ok=True)
        part = own / f".{path.name}.part"
        with locked(part):
            if not path.exists():  # another process may have fetched it meanwhile
                download(address, part, _size(header))
                with part.open("rb") as file:
                    if file.read(len(header)) != header:
                        raise FetchError("it changed while it was fetched")
                sync(part)
                part.replace(path)
    except FetchError as error:
        hint = "give the address of a packed data set, the folder of its index and its shards"
        hint = hint if error.is_final else "check the address and its server, and try again"
        raise UserError(f"cannot fetch {address}: {error}", hint) from None
    return path


def _size(header: bytes) -> int:
    """The bytes of a safetensors file with this header. Raises `FetchError`."""
    try:
        fields = json.loads(header[8:].decode("utf-8"))
        ends = [field["data_offsets"][1] for name, field in fields.items() if name != "__metadata__"]
        return len(header) + int(max(ends))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        raise FetchError("it is no index of a packed data set", is_final=True) from None


def _check_room(index: Index, limit: int) -> None:
    """Raise `UserError` if the cache cannot hold the largest shard, or if a name of a file would leave it."""
    largest = max(index.shards, key=lambda shard: shard.bytes)
    what = f"the shard {largest.name} has {largest.bytes / GB:.3g} GB, and the cache {limit / GB:g} GB"
    demand(largest.bytes <= limit, what, f"set {LIMIT} to a larger number")
    known = all(len(shard.checksum) == 32 and shard.checksum.isalnum() for shard in index.shards)
    demand(known, f"{index.folder.where(largest)}: the index has no checksums of its shards", "pack the data again")
