"""Addresses of folders on a server or in object storage: https://host/folder, s3://bucket/folder."""

import re
from functools import lru_cache
from urllib.parse import quote, urlsplit

from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

HTTP = ("http", "https")
SUCH_AS = "give one such as https://host/folder or s3://bucket/folder"
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")


def is_address(path: str | None) -> bool:
    """Whether this is an address, and not a path of this machine."""
    return path is not None and bool(_SCHEME.match(path))


def scheme_of(address: str) -> str:
    """https of https://host/folder."""
    return address.partition(":")[0].lower()


def check_address(path: str | None) -> None:
    """Raise `UserError` for an address with a password or a query: messages and the files of a run show addresses."""
    if path is None or not is_address(path):
        return
    try:
        parts = urlsplit(path)
        shown = f"{parts.scheme}://{parts.hostname or ''}"
    except ValueError:
        raise UserError(f"{scheme_of(path)}://... is no address", SUCH_AS) from None
    named = bool(parts.hostname) or scheme_of(path) not in (*HTTP, "s3")
    demand(named, f"the address {path} names no server", SUCH_AS)
    secret = "@" in parts.netloc or bool(parts.query or parts.fragment)
    what = f"the address {shown}/... has a password or a query, which would be written into the run"
    demand(not secret, what, "leave it out; ~/.netrc or the settings of fsspec can have it (docs/scale.md)")


@lru_cache(2**16)  # it is asked for with each image
def join_address(folder: str, name: str) -> str:
    """The address of a file in a folder."""
    return f"{folder}/{quote(name) if scheme_of(folder) in HTTP else name}"
