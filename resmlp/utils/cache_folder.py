"""The folder for what resmlp keeps of other machines and of earlier calls; it may be deleted when nothing runs."""

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """The folder for this kind of files: in $RESMLP_CACHE, or in resmlp/ of $XDG_CACHE_HOME, by default ~/.cache."""
    if own := os.environ.get("RESMLP_CACHE"):
        return Path(own).expanduser() / kind
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "resmlp" / kind
