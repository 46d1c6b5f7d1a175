"""The commands that reproduce a record."""

import shlex
from collections.abc import Sequence

from resmlp.reproduction.measured_json import Runs
from resmlp.reproduction.plan import Plan, sets


def whole_command(table: str, scale: str, plans: dict[str, Plan], runs: dict[str, Runs]) -> str:
    """The command for all finished rows and seeds, one part for each set of seeds; before any is finished, all rows."""
    finished = {row: tuple(runs[row]) for row, plan in plans.items() if not isinstance(plan, str) and runs[row]}
    planned = [row for row, plan in plans.items() if not isinstance(plan, str)]
    groups: dict[tuple[int, ...], list[str]] = {}
    for row in finished or planned:
        groups.setdefault(finished.get(row, ()), []).append(row)
    commands = []
    for seeds, rows in groups.items():
        named = [] if rows == planned else rows
        commands.append(command(table, scale, [plans[row] for row in rows], named, seeds))
    return " && ".join(commands) or command(table, scale, [])


def command(table: str, scale: str, plans: Sequence[Plan], rows: Sequence[str] = (), seeds: Sequence[int] = ()) -> str:
    """The command for these rows (default: all) and seeds (default: 0)."""
    words = ["resmlp", "reproduce", table, "--scale", scale]
    words += ["--row", *rows] if rows else []
    words += ["--data.root", "PATH"] if any(sets(plan) for plan in plans) else []
    words += ["--seeds", *map(str, seeds)] if list(seeds) not in ([], [0]) else []
    return shlex.join(words)
