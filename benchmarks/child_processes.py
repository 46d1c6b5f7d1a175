"""Commands that run a few at a time, each in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence

Command = Sequence[str]


def run_all(commands: Sequence[Command], jobs: int) -> None:
    """Run all commands, at most `jobs` at once, with one thread each, in their order.

    Ctrl-C and SIGTERM reach the running ones as SIGTERM, and this waits for them, so that a training can save its
    checkpoint. Exits with code 1 at the first command that fails.
    """
    waiting, running = deque(commands), list[subprocess.Popen]()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                # a session of its own: the terminal's Ctrl-C would come in addition to the SIGTERM
                running.append(
                    subprocess.Popen(
                        waiting.popleft(),
                        env=os.environ | {"OMP_NUM_THREADS": "1"},
                        stdout=subprocess.DEVNULL,
                        start_new_session=True,
                    )
                )
            time.sleep(0.1)
            failed = [child.args for child in running if child.poll()]
            if failed:
                sys.exit(f"error: {' '.join(map(str, failed[0]))} failed")
            running = [child for child in running if child.returncode is None]
    finally:
        for child in running:
            child.terminate()
        for child in running:
            child.wait()
        signal.signal(signal.SIGTERM, before)
