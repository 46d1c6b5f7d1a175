"""Files on a server or in object storage, by fsspec: the packages of its protocols are an extra, loaded when needed.

A request that fails is repeated, unless its answer is final; then it raises `FetchError`.
"""

import errno
import os
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from resmlp.data.shards.folder import checksum
from resmlp.utils.address import HTTP, scheme_of
from resmlp.utils.errors import UserError, install_hint

T = TypeVar("T")
TIMEOUT = 10.0
"""seconds that a connection may take, and seconds until the next bytes"""
PAUSES = (1.0, 4.0)
"""seconds before the second and the third request"""
PACKAGES = {"http": "aiohttp", "https": "aiohttp", "s3": "s3fs"}
"""of the extra"""
PARTIAL = 206
"""the status of a part of a file"""
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""errors of the own disk"""


class FetchError(Exception):
    """A file cannot be fetched; the text says why, and `is_final` whether the next request must fail as well."""

    def __init__(self, why: str, is_final: bool = False):
        super().__init__(why)
        self.is_final = is_final


def download(address: str, path: Path, size: int, expected: str = "") -> None:
    """Write the file at this address, of `size` bytes, to `path`; with its `expected` checksum, if that is known.

    Raises `FetchError`, for a file of another size or checksum as well; `UserError` for a protocol that is not
    installed; `OSError` where the disk refuses.
    """

    def fetch(system: Any, place: str) -> None:
        system.get_file(place, str(path), callback=_at_most(size))
        found = path.stat().st_size
        if found != size:
            raise FetchError(f"it has {found:,} bytes, and {size:,} when it was packed")
        with path.open("rb") as file:
            if expected and checksum(file) != expected:
                raise FetchError("it has another checksum than when it was packed")

    _repeated(address, fetch)


def read_header(address: str, largest: int) -> bytes:
    """The first 8 bytes of a file, and the following ones that they count: the header of a safetensors file.

    Raises `FetchError`, for more than `largest` bytes as well, and `UserError` as `download`.
    """

    def read(system: Any, place: str) -> bytes:
        # a stream, as a server may send no ranges: it is closed before its end
        one_stream = {"block_size": 0, "size": largest} if scheme_of(address) in HTTP else {"cache_type": "none"}
        with system.open(place, "rb", **one_stream) as file:
            start = _read(file, 8)
            length = int.from_bytes(start, "little")
            if not 2 <= length <= largest:
                raise FetchError("it is no index of a packed data set", is_final=True)
            return start + _read(file, length)

    return _repeated(address, read)


def read_range(address: str, start: int, count: int, total: int | None = None) -> bytes | None:
    """`count` bytes of a file from `start` on; None if the server sends whole files alone.

    A server of HTTP also says how many bytes the file has: they must be `total`. Raises as `download` does.
    """

    def read(system: Any, place: str) -> bytes | None:
        if scheme_of(address) not in HTTP:
            return _exactly(system.cat_file(place, start=start, end=start + count), count)
        headers = {"Range": f"bytes={start}-{start + count - 1}", "Accept-Encoding": "identity"}
        with system.open(place, "rb", block_size=0, size=count, headers=headers) as file:
            if file.r.status != PARTIAL:
                return None
            found = file.r.headers.get("Content-Range", "").rpartition("/")[2]
            if total is not None and found.isdigit() and int(found) != total:
                raise FetchError(f"it has {int(found):,} bytes, and {total:,} when it was packed")
            return _read(file, count)

    return _repeated(address, read)


def _exactly(data: bytes, count: int) -> bytes:
    if len(data) != count:
        raise FetchError(f"the server sent {len(data):,} of {count:,} bytes")
    return data


def _read(file: Any, count: int) -> bytes:
    """Exactly so many bytes: a stream gives them as they arrive."""
    parts = list[bytes]()
    while count:
        part = file.read(count)[:count]
        if not part:
            raise FetchError(f"it ends {count:,} bytes too early")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _repeated(address: str, action: Callable[[Any, str], T]) -> T:
    """`action(file system, path)`, again after a pause where that may help. Raises as `download` does."""
    system, place = _file_system(address)
    for pause in (*PAUSES, None):
        try:
            return action(system, place)
        except Exception as error:  # the packages of the protocols raise many kinds
            if isinstance(error, OSError) and error.errno in DISK:
                raise
            reason, is_final = _explain(error)
            if is_final or pause is None:
                raise FetchError(reason, is_final) from error
            time.sleep(pause)
    raise AssertionError


def _explain(error: BaseException) -> tuple[str, bool]:
    """Why a request failed, in a few words, and whether the next one must fail as well."""
    if isinstance(error, FileNotFoundError) and error.__cause__:  # fsspec raises it for any answer
        return _explain(error.__cause__)
    if isinstance(error, FetchError):
        return str(error), error.is_final
    if hasattr(error, "host") and isinstance(error, OSError):
        return _no_connection(error), False
    status = _status(error)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return "it is not there", True
    if isinstance(error, PermissionError) or status in (401, 403):
        return "access is denied", True
    if isinstance(status, int) and status:
        return f"the server answered {status}", status < 500 and status not in (408, 429)
    if isinstance(error, TimeoutError):
        return f"no answer for {TIMEOUT:g} seconds", False
    if type(error).__name__ == "ClientPayloadError":  # aiohttp's
        return "the connection ended before the whole answer came", False
    return " ".join(str(error).split())[:150] or type(error).__name__, False


def _no_connection(error: Any) -> str:
    """Why there is no connection to a server, from an error of aiohttp."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", error)
    place = f"{error.host}:{error.port}"
    if isinstance(cause, ssl.SSLError):
        why = getattr(cause, "verify_message", "") or (cause.reason or "").replace("_", " ").lower()
        return f"no secure connection to {place} ({why or 'TLS'})"
    if isinstance(cause, socket.gaierror) or not cause.errno:
        return f"no connection to {place} ({cause.strerror or cause})"
    return f"no connection to {place} ({os.strerror(cause.errno)})"


def _status(error: BaseException) -> Any:
    """The HTTP status of an answer, as aiohttp and botocore have it; None without one."""
    response = getattr(error.__cause__ or error, "response", None)
    if isinstance(response, dict):
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return getattr(error, "status", None)


def _file_system(address: str) -> tuple[Any, str]:
    """fsspec's file system for an address, and the path there. Raises `UserError` if it is not installed."""
    scheme = scheme_of(address)
    try:
        import fsspec

        return fsspec.core.url_to_fs(address, **_options(scheme))
    except ImportError as error:
        package = PACKAGES.get(scheme, "")
        what = f"{scheme}:// needs {package or 'another package'}, which is not installed"
        raise UserError(what, install_hint("remote") if package else str(error)) from None
    except ValueError as error:
        raise UserError(f"{scheme}:// cannot be read: {error}", "give https:// or s3://, or a folder") from None


def _options(scheme: str) -> dict[str, Any]:
    """Timeouts; ~/.netrc and the proxies of the environment."""
    if scheme in HTTP:
        from aiohttp import ClientTimeout

        timeout = ClientTimeout(total=None, sock_connect=TIMEOUT, sock_read=TIMEOUT)
        return {"client_kwargs": {"timeout": timeout, "trust_env": True}}
    if scheme == "s3":
        return {"config_kwargs": {"connect_timeout": TIMEOUT, "read_timeout": TIMEOUT}}
    return {}


def _at_most(size: int) -> Any:
    """A callback of a download that ends it after more than so many bytes: a server may send without an end."""
    from fsspec.callbacks import Callback

    class Limit(Callback):  # type: ignore[misc]
        def relative_update(self, inc: int = 1) -> None:
            super().relative_update(inc)
            if self.value > size:
                raise FetchError(f"it has more than the {size:,} bytes that it had when it was packed")

    return Limit()
