"""The folder of files that can be made again at any time; it may be deleted when nothing runs."""

import os
from contextlib import suppress
from pathlib import Path

from resmlp.utils.errors import UserError


def cache_folder(name: str) -> Path | None:
    """`name` in `$RESMLP_CACHE`, else in resmlp/ in the user's cache folder; None for a user without a home."""
    own, shared = (os.environ.get(variable, "") for variable in ("RESMLP_CACHE", "XDG_CACHE_HOME"))
    folder = Path(own) if own else Path(shared or "~/.cache", "resmlp")
    with suppress(RuntimeError):
        return folder.expanduser().absolute() / name
    return None


def needed_cache_folder(name: str) -> Path:
    """The same, where there is no way without it. Raises `UserError`."""
    folder = cache_folder(name)
    if folder is None:
        raise UserError("the user has no home folder for a cache", "set RESMLP_CACHE to a folder")
    return folder
