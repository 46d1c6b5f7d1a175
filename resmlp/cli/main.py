"""The command line: reads a verb and its flags, runs it, and turns what goes wrong into one line and an exit code."""

import contextlib
import errno
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import tyro
from tyro.conf import FlagCreatePairsOff

from resmlp.cli import VERBS, Verb
from resmlp.cli.base import print_json
from resmlp.utils.errors import UserError, is_out_of_memory, lookup, printable
from resmlp.utils.files import exists

INTERRUPTED = 130
LONGEST = 120  # characters of the message of another library
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `argv`; returns the exit code: 0 done, 1 a failure of ours, 2 a mistake of the user's, 130 on Ctrl-C."""
    args = list(sys.argv[1:] if argv is None else argv)
    warnings.filterwarnings("ignore", module="PIL")  # what it cannot decode, it raises as well
    _open_closed()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal cannot show is no reason to stop
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        run(args)
        return 0
    except UserError as error:
        if "--debug" in args:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print("stopped", file=sys.stderr)
        return getattr(stop, "exit_code", INTERRUPTED)  # of `Interrupted`, where a signal has its own
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        _let_go()
        return 0
    except Exception as error:
        if "--debug" in args:
            raise
        if isinstance(error, OSError) and error.errno in FULL:  # `files.disk_errors` names the file
            _let_go()
            print(f"error: cannot write to standard output: {error.strerror} (see to where it goes)", file=sys.stderr)
            return 2
        if isinstance(error, OSError) and error.filename is not None:  # a path that nothing on the way has refused
            print(f"error: {UserError(f'{error.filename}: {error.strerror}', 'check the path')}", file=sys.stderr)
            return 2
        what = printable(" ".join(str(error).split()))[:LONGEST]
        if is_out_of_memory(error):
            remedy = "take a smaller network or batch; in training, more --run.accumulate"
            print(f"error: not enough memory{': ' * bool(what)}{what} ({remedy})", file=sys.stderr)
            return 2
        print(f"error: {type(error).__name__}: {what} (a fault of resmlp; --debug shows where)", file=sys.stderr)
        return 1


def run(args: list[str]) -> None:
    """Do what `args` ask for, and print the JSON object where they ask for one."""
    try:
        verb = parse(args)
        result = verb.run()
        if verb.json and result:  # of several processes the first has it
            print_json(result)
    finally:
        sys.stdout.flush()  # what it refuses is told now, and not when Python ends


def parse(args: list[str]) -> Verb:
    """The verb that `args` ask for, its fields filled. Exits with 0 after printing help; raises `UserError`."""
    if not args or args[0] in ("-h", "--help", "help"):
        print(overview())
        raise SystemExit(0)
    if args[0] == "--version":
        from resmlp import __version__

        print(__version__)
        raise SystemExit(0)
    kind = lookup("verb", args[0], VERBS).chosen(args[1:])
    default, rest = kind.prepare(args[1:])
    name = " ".join(["resmlp", args[0], *args[1 : len(args) - len(rest)]])
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            default = default or tyro.MISSING_NONPROP
            return tyro.cli(kind, prog=name, args=rest, default=default, config=(FlagCreatePairsOff,))
    except SystemExit as stop:
        if stop.code == 0:
            raise
        raise _dashed(rest) or _one_line(complaint.getvalue(), name, lambda: _flags(kind, default)) from None


def overview() -> str:
    """What `resmlp --help` shows: a line for each verb."""
    lines = [f"  {name:<10} {(kind.__doc__ or '').splitlines()[0]}" for name, kind in VERBS.items()]
    head = "usage: resmlp VERB ...\n\nResMLP and its family: train, evaluate, use, look inside.\n"
    return "\n".join([head, *lines, "\n`resmlp VERB --help` shows a verb's flags; start with `resmlp demo`."])


def _open_closed() -> None:
    """Give a stream that was closed before we started an end that takes everything: Python has None in its place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 (open to the end)


def _let_go() -> None:
    """What standard output did not take goes nowhere: Python would try again when it ends."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _flags(kind: type[Verb], default: Any) -> list[str]:
    """All flags of a verb, as its help shows them."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        tyro.cli(kind, args=["--help"], default=default, config=(FlagCreatePairsOff,))
    return list(dict.fromkeys(re.findall(r"(?<![\w-])--[a-z][\w.-]*", text.getvalue())))


def _last(flag: str) -> str:
    """--run.out -> out"""
    return flag.removeprefix("--").rpartition(".")[2]


def _dashed(args: list[str]) -> UserError | None:
    """The mistake where a file was taken for a flag; None where no argument is one."""
    words = args[: args.index("--")] if "--" in args else args
    file = next((word for word in words if word.startswith("-") and exists(word)), None)
    if file is None:
        return None
    return UserError(f"{file} begins with a dash, as flags do", f"give ./{file}, or -- {file} at the end")


def _one_line(complaint: str, name: str, flags: Callable[[], list[str]]) -> UserError:
    """tyro's boxed complaint as what is wrong and what to do; `flags` of the verb may be meant."""
    sections: list[list[str]] = [[]]
    for line in complaint.splitlines():
        text = line.strip("│| ")
        if text and not text.strip("─-"):
            sections.append([])
        elif text and line[0] not in "╭╰":
            sections[-1].append(text)
    if not complaint.startswith("╭"):  # where output is not UTF-8 there is no box: the title is a section
        del sections[0]
    what = " ".join(sections[0]) or "the command is not understood"
    if what.startswith("Missing from"):
        wanted = [line.split()[0] for line in sections[0] if line.startswith("--") or line.strip(".").isupper()]
        what = "missing " + " and ".join(wanted)
    words = what.removeprefix("Unrecognized options: ").split(", ")
    if not what.startswith("Unrecognized") or not words[0].startswith("--"):
        return UserError(what.replace("Unrecognized options: ", "unknown field "), f"see {name} --help")
    unknown = [word for word in words if word.startswith("--")]  # the others are their values
    known = flags()
    near = [flag for flag in known if _last(flag) == _last(unknown[0])]  # the same field of another part
    near += get_close_matches(unknown[0], known)
    hint = f"did you mean {near[0]}? " if near else ""
    return UserError(f"unknown field{'s' * (len(unknown) > 1)} {', '.join(unknown)}", f"{hint}see {name} --help")
