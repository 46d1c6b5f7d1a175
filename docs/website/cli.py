"""The page of all verbs, made from the help that the command line itself prints."""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from unittest.mock import patch

from resmlp.cli import VERBS
from resmlp.cli.main import parse

WIDTH = "100"
"""columns of the terminal that the help is printed for: wider ones would get boxes beside each other"""
SEVERAL: dict[str, tuple[str, ...]] = {
    "train": ("train digits", "train distill", "train dino", "train multilabel", "train scenes", "train numbers"),
    "plan": ("plan imagenet-s12",),
    "data": ("data check", "data masks", "data pack"),
}
"""a verb whose flags depend on its next word -> the commands that have all of them"""
AS = {"plan": "train"}
"""a verb that takes the fields of a recipe -> the one, before it, where they are described"""
HEAD = """# Command line

Made from the help of each command. Every command takes `--json`, which prints one JSON object on standard output, and
`--debug`, which shows the traceback of an error. Exit codes: 0 done, 1 a failure of the program, 2 a mistake in the
command or the data, 130 after Ctrl-C, 143 after SIGTERM.
"""
COMMON = ("--help", "--json", "--debug")


def page() -> str:
    """The whole page in Markdown."""
    parts, seen = [HEAD], dict[str, set[str]]()
    for verb in VERBS:
        seen[verb] = set(seen[AS[verb]]) if verb in AS else set()
        for words in SEVERAL.get(verb, (verb,)):
            parts += [f"## resmlp {words}", *command(help_of(words.split()), seen[verb])]
    return "\n\n".join(parts) + "\n"


def help_of(words: list[str]) -> list[str]:
    """The lines that `resmlp WORDS --help` prints."""
    raw = io.BytesIO()
    terminal = io.TextIOWrapper(raw, encoding="utf-8")  # else the boxes are of other characters
    with (
        patch.dict(os.environ, {"COLUMNS": WIDTH}),
        contextlib.redirect_stdout(terminal),
        contextlib.suppress(SystemExit),
    ):
        parse([*words, "--help"])
    terminal.flush()
    return raw.getvalue().decode().splitlines()


def command(lines: list[str], seen: set[str]) -> Iterator[str]:
    """Usage, description, and a table for each box of flags; a flag in `seen` was described by an earlier command."""
    usage, about = " ".join(line or "\n" for line in lines if line[:1] not in "╭│╰" or not line).split("\n")[:2]
    yield text(about.strip()[:1].upper() + about.strip()[1:]) + "."
    yield f"```text\n{usage.removeprefix('usage: ').strip()}\n```"
    for title, rows in boxes(lines):
        new = [(flag, what) for flag, what in rows if f"{flag}{what}" not in seen and not flag.endswith(COMMON)]
        seen |= {f"{flag}{what}" for flag, what in rows if flag.startswith("-")}
        if new:
            body = "\n".join(f"| `{flag}` | {text(what)} |" for flag, what in new)
            yield f"| {title.removeprefix('positional ')} | |\n| --- | --- |\n{body}"


def boxes(lines: list[str]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The title of each box of the help, and its flags with what they do."""
    title, rows = "", []
    for line in lines:
        if line.startswith("╭"):
            title, rows = line.strip("╭╮─ "), []
        elif line.startswith("╰"):
            yield title, rows
        elif match := re.match(r"│ ([-A-Z{\[]\S*(?: \S+)*?)(?:  +(.*?))?\s*│$", line):
            rows.append((match[1], match[2] or ""))
        elif rows and line.startswith("│  "):
            joined = f"{rows[-1][1]} {line.strip('│ ')}".strip()
            rows[-1] = (rows[-1][0], re.sub(r"(\d,) (\d{3}\b)", r"\1\2", joined))  # 1,024 may be broken at its comma
        else:
            rows = []  # a description above the flags


def text(words: str) -> str:
    """Text of the help as Markdown: what is between backticks stays code, the rest has no markup."""
    parts = words.split("`")
    return "`".join(part if i % 2 else re.sub(r"([\\*_<>\[\]|])", r"\\\1", part) for i, part in enumerate(parts))
