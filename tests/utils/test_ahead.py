"""A function in another process: its value, its errors, and what happens where that process dies."""

import subprocess
import sys

import pytest

from resmlp.utils.ahead import ahead

CODE = """
import os, signal, sys
from resmlp.utils.ahead import ahead
from resmlp.utils.errors import UserError

main = os.getpid()

def here(*args):
    return os.getpid() == main, args

def refuse(what):
    raise UserError(what, "a hint")

def fail():
    raise ZeroDivisionError(os.getpid() == main)

def die():
    if os.getpid() != main:
        os.kill(os.getpid(), signal.SIGKILL)
    return "here"

results = [ahead(here, 1, "x"), ahead(refuse, "a\\nb"), ahead(fail), ahead(die), ahead(lambda: bytes(10**7))]
never_asked = ahead(lambda: bytes(10**7))
print(results[0]())
for result in results[1:3]:
    try:
        result()
    except Exception as error:
        print(type(error).__name__, error, getattr(error, "hint", ""))
print(results[3](), len(results[4]()), "torch" in sys.modules)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked on Linux alone")
def test_another_process_runs_it():
    ended = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.splitlines() == [
        "(False, (1, 'x'))",
        r"UserError a\nb (a hint) a hint",
        "ZeroDivisionError True ",
        "here 10000000 False",
    ]
    assert ended.stderr == ""


def test_it_runs_here_where_torch_is_loaded():
    import torch  # noqa: F401

    calls = []
    result = ahead(calls.append, 1)
    assert calls == []
    result()
    assert calls == [1]
