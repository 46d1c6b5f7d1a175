"""`fetch` in its own process, because huggingface_hub reads the environment once; and its output."""

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

time.sleep = lambda seconds: None  # between attempts
if "--small-disk" in sys.argv:
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    print(fetch(*[arg for arg in sys.argv[1:] if not arg.startswith("--")]))
except UserError as error:
    print(error)
    sys.exit(2)
"""


class Fetched(NamedTuple):
    """The output of a process."""

    code: int
    out: str
    err: str

    @property
    def content(self) -> bytes:
        """The bytes of the fetched file; the process printed nothing else."""
        assert (self.code, self.err) == (0, ""), self
        return Path(self.out).read_bytes()

    @property
    def error(self) -> str:
        """The one-line error."""
        assert (self.code, self.err) == (2, ""), self
        assert len(self.out.splitlines()) == 1
        return self.out


@pytest.fixture
def home(tmp_path) -> Path:
    """HF_HOME, which does not exist yet."""
    return tmp_path / "hf"


@pytest.fixture
def start(hub, home) -> Callable[..., subprocess.Popen]:
    """`fetch(*args)` in a process; keywords are environment variables."""

    def run(*args: str, stderr: int = subprocess.PIPE, **env: str) -> subprocess.Popen:
        environ = hub.env(home, PYTHONPATH=str(ROOT)) | env
        command = [sys.executable, "-c", CHILD, *args]
        return subprocess.Popen(command, env=environ, text=True, stdout=subprocess.PIPE, stderr=stderr)

    return run


@pytest.fixture
def fetch(start) -> Callable[..., Fetched]:
    """`start`, until the process ends."""

    def run(*args: str, **env: str) -> Fetched:
        process = start(*args, **env)
        out, err = process.communicate(timeout=60)
        return Fetched(process.returncode, out.rstrip("\n"), err)

    return run


@pytest.fixture
def terminal() -> tuple[int, int]:
    """Both ends of a terminal of 100 columns: for the test, and for a process."""
    import fcntl
    import pty
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    yield master, slave
    os.close(master)
