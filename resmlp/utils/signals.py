"""Signals while Python imports. Imports nothing, as the first module that runs."""

import os
from types import FrameType
from typing import NoReturn

IMPORTING = "<frozen importlib"


def importing(frame: FrameType | None) -> bool:
    """Whether the code at `frame` runs within an import: an exception there leaves broken modules, or aborts in C++."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(IMPORTING):
            return True
        frame = frame.f_back
    return False


def stop(number: int) -> NoReturn:
    """End the process at once with the exit code of a signal, 128 + its number."""
    os.write(2, b"stopped\n")
    os._exit(128 + number)
