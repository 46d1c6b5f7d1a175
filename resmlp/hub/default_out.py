"""The folder that a verb writes to when none is given."""

import re
from pathlib import Path

from resmlp.config.pretrained import FILE_ENDINGS
from resmlp.hub.names import on_disk


def default_out(model: str, verb: str) -> Path:
    """`RUN/verb` for a run folder, else `verb/NAME` in the working directory."""
    path = Path(model)
    local = on_disk(model)
    if local and path.is_dir():
        return path / verb
    name = path.name if local else model
    stem, _, ending = name.rpartition(".")
    return Path(verb) / (re.sub(r"[^\w.-]", "_", stem if ending in FILE_ENDINGS else name).lstrip(".") or "model")
