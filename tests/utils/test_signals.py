"""Signals within imports, and those that come after the first one was obeyed."""

import os
import subprocess
import sys

import pytest

MODULE = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
except BaseException:
    pass
print("imported")
"""
COMMAND = """
import signal
from resmlp import __main__
signal.signal(signal.SIGINT, __main__._interrupt)
import hurt
"""
WAITING = """
from resmlp.utils.interruption import Interruption
with Interruption():
    import hurt
"""
AFTERWARDS = """
import os, signal
from resmlp.utils.interruption import Interrupted, Interruption
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests run under nohup
try:
    with Interruption() as interruption:
        interruption.has_trained = True
        os.kill(os.getpid(), signal.{first})
        os.kill(os.getpid(), signal.SIGTERM)
        interruption.check()
except Interrupted as stop:
    os.kill(os.getpid(), signal.SIGTERM)  # a launcher's, while the process ends
"""


def python(code: str, folder: object = ".") -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60)


@pytest.mark.parametrize("code", [COMMAND, WAITING], ids=["a verb", "a run"])
def test_a_signal_within_an_import_ends_at_once(tmp_path, code):
    """Torch's own modules catch, or cannot stand, an exception there."""
    (tmp_path / "hurt.py").write_text(MODULE)
    done = python(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


def test_outside_an_import_it_is_an_exception():
    code = COMMAND.replace(
        "import hurt", "import os\ntry:\n    os.kill(os.getpid(), 2)\nexcept KeyboardInterrupt:\n    print(7)"
    )
    assert python(code).stdout == "7\n"


@pytest.mark.parametrize(("first", "code"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGHUP", 129)])
def test_later_signals_keep_the_exit_code(first, code):
    """A rank that has saved gets its launcher's SIGTERM while it ends."""
    done = python(AFTERWARDS.format(first=first))
    assert done.returncode == code, done.stderr


def test_nohup_stays():
    code = "import signal\nfrom resmlp.utils.interruption import Interruption\n"
    code += (
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\nwith Interruption():\n    signal.raise_signal(signal.SIGHUP)\n"
    )
    assert python(code).returncode == 0
