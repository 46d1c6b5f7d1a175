"""The folder of files that can be made again at any time."""

import os
from contextlib import suppress
from pathlib import Path


def cache_folder(name: str) -> Path | None:
    """`name` in `$RESMLP_CACHE`, else in resmlp/ in the user's cache folder; None for a user without a home."""
    own, shared = (os.environ.get(variable, "") for variable in ("RESMLP_CACHE", "XDG_CACHE_HOME"))
    folder = Path(own) if own else Path(shared or "~/.cache", "resmlp")
    with suppress(RuntimeError):
        return folder.expanduser().absolute() / name
    return None
