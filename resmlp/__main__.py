"""`resmlp` and `python -m resmlp`. Ctrl-C ends them with 130 at any moment, also while Python imports."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130


def _stop(number: int = 0, frame: FrameType | None = None) -> NoReturn:
    """End at once: a KeyboardInterrupt within an import or at the end of Python would show a traceback."""
    os.write(2, b"stopped\n")
    os._exit(INTERRUPTED)


def main() -> int:
    """The exit code of the command line. Only while a verb runs is Ctrl-C an exception, as verbs clean up."""
    handled = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else it is ignored, as under nohup
    if handled:
        signal.signal(signal.SIGINT, _stop)
    from resmlp.cli.main import main as run

    try:
        if handled:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return run()
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        if handled:
            signal.signal(signal.SIGINT, _stop)


if __name__ == "__main__":
    sys.exit(main())
