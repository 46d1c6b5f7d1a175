"""libtiff writes its complaints to standard error itself, without the name of the file; Pillow raises them as well."""

import ctypes
from contextlib import suppress

from PIL import _imaging

HANDLERS = ("TIFFSetErrorHandler", "TIFFSetWarningHandler")


def silence() -> None:
    """Remove libtiff's handlers: for all threads, and for processes that are forked afterwards.

    They are found among the libraries that Pillow's extension is linked to. Where the system does not look there, as
    Windows, the lines remain. The other libraries of Pillow write nothing.
    """
    with suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(_imaging.__file__)
        for name in HANDLERS:
            getattr(library, name)(None)
