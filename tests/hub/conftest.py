"""`fetch` in a process of its own, as huggingface_hub reads its environment once; and what came of it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]

CHILD = """
import resource, signal, sys, time
from resmlp.utils.errors import UserError
from resmlp.hub.download import fetch

time.sleep = lambda seconds: None  # between the attempts
if "--small-disk" in sys.argv:
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    print(fetch(*[arg for arg in sys.argv[1:] if not arg.startswith("--")]))
except UserError as error:
    print(error)
    sys.exit(2)
"""


class Fetched(NamedTuple):
    """What a process printed."""

    code: int
    out: str
    err: str

    @property
    def content(self) -> bytes:
        """Of the file that was fetched, without a word."""
        assert (self.code, self.err) == (0, ""), self
        return Path(self.out).read_bytes()

    @property
    def error(self) -> str:
        """The one line that says why not."""
        assert (self.code, self.err) == (2, ""), self
        assert len(self.out.splitlines()) == 1
        return self.out


@pytest.fixture
def home(tmp_path) -> Path:
    """HF_HOME, not there yet."""
    return tmp_path / "hf"


@pytest.fixture
def start(hub, home) -> Callable[..., subprocess.Popen]:
    """`fetch(*args)` in a process; keywords are further variables of its environment."""

    def run(*args: str, stderr: int = subprocess.PIPE, **env: str) -> subprocess.Popen:
        environ = hub.env(home, PYTHONPATH=str(ROOT)) | env
        command = [sys.executable, "-c", CHILD, *args]
        return subprocess.Popen(command, env=environ, text=True, stdout=subprocess.PIPE, stderr=stderr)

    return run


@pytest.fixture
def fetch(start) -> Callable[..., Fetched]:
    """As `start`, to its end."""

    def run(*args: str, **env: str) -> Fetched:
        process = start(*args, **env)
        out, err = process.communicate(timeout=60)
        return Fetched(process.returncode, out.rstrip("\n"), err)

    return run


@pytest.fixture
def terminal() -> tuple[int, int]:
    """Both ends of a terminal of 100 columns: ours, and the one for a process."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    yield ours, theirs
    os.close(ours)
