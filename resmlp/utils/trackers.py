"""The trackers that a run also logs to: TensorBoard, Weights & Biases and Trackio, by the classes of Accelerate."""

import contextlib
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zlib import crc32

from resmlp.utils.errors import UserError, notice

LONGEST = 100
"""characters of the message of a tracker"""


def check_installed(names: Iterable[str]) -> None:
    """Raise `UserError` for a tracker whose package is not installed."""
    for name in names:
        if name not in sys.modules and find_spec(name) is None:
            raise UserError(f"--run.log {name}: {name} is not installed", f"pip install {name}, or leave it out")


class Trackers:
    """Sends numbers to trackers. One that fails gives a notice and gets no more numbers; the run goes on."""

    def __init__(self, names: Iterable[str], folder: Path):
        """Start the trackers `names` for the run in `folder`, in the first process and after its `Accelerator`."""
        names = tuple(dict.fromkeys(names))
        check_installed(names)
        self.active: dict[str, Any] = {}
        for name in names:
            try:
                tracker = _tracker(name, folder.absolute())
                tracker.start()
                self.active[name] = tracker
            except Exception as error:
                _tell(name, error)

    def log(self, values: dict[str, float], step: int) -> None:
        """Send the values of a step to all trackers."""
        for name, tracker in list(self.active.items()):
            try:
                tracker.log(values, step=step)
            except Exception as error:
                del self.active[name]
                _tell(name, error)
                with contextlib.suppress(Exception):  # it may hold a file or a connection
                    tracker.finish()

    def finish(self) -> None:
        """End all trackers: what they keep in memory is sent."""
        while self.active:
            name, tracker = self.active.popitem()
            try:
                tracker.finish()
            except Exception as error:
                _tell(name, error)


def _tracker(name: str, folder: Path) -> Any:
    """The tracker of this name, not started. TensorBoard writes into the run folder.

    A run that continues continues its page: the identifier of a run is its name and a checksum of its path, because the
    folds of two cross-validations have the same names.
    """
    from accelerate import tracking

    identifier = f"{folder.name}-{crc32(str(folder).encode(errors='surrogateescape')):08x}"
    if name == "tensorboard":
        return tracking.TensorBoardTracker(folder.name, folder.parent)
    if name == "wandb":
        own = {"name": folder.name, "id": identifier, "dir": str(folder)}
        return tracking.WandBTracker("resmlp", resume="allow", **own)
    return tracking.TrackioTracker("resmlp", resume="allow", name=identifier)


def _tell(name: str, error: Exception) -> None:
    """Say that a tracker failed."""
    what = " ".join(str(error).split())[:LONGEST] or type(error).__name__
    notice(f"{name} fails and gets nothing more of this run, which goes on: {what}")
