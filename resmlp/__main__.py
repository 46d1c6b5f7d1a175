"""`resmlp` and `python -m resmlp`. Ctrl-C ends them with 130 at any moment, also while Python imports."""

import gc
import signal
import sys
from types import FrameType

from resmlp.utils.signals import importing, stop

INTERRUPTED = 130


def _stop(number: int = signal.SIGINT, frame: FrameType | None = None) -> None:
    """End at once: before and after a verb nothing is to be cleaned up."""
    stop(number)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, as a verb cleans up; within an import end at once."""
    if importing(frame):
        stop(number)
    signal.default_int_handler(number, frame)


def main() -> int:
    """The exit code of the command line. Only while a verb runs is Ctrl-C an exception."""
    gc.set_threshold(50_000)  # imports make a million objects that stay: to look through them often takes half a second
    handled = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else it is ignored, as under nohup
    if handled:
        signal.signal(signal.SIGINT, _stop)
    from resmlp.cli.main import main as run

    try:
        if handled:
            signal.signal(signal.SIGINT, _interrupt)
        return run()
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        if handled:
            signal.signal(signal.SIGINT, _stop)


if __name__ == "__main__":
    sys.exit(main())
