"""Runs what a table needs: finished rows are skipped, those that stopped go on, and one that fails stops no other."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from resmlp.analysis.profiling.device import describe
from resmlp.config import Recipe
from resmlp.paper import TABLES
from resmlp.reproduction.figure4 import draw_figure4
from resmlp.reproduction.measure import MEASURES, Case, Evaluate, counted
from resmlp.reproduction.pages import html, markdown
from resmlp.reproduction.plan import Plan, Plans, Training, Weights, changed, sets
from resmlp.reproduction.record import MEASURED, make_record, read_measured
from resmlp.training.train import check_same_recipe, train, versions
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError
from resmlp.utils.files import only_writer, read_json, write_json, write_text
from resmlp.utils.serialization import to_dict


@dataclass(frozen=True)
class Order:
    """What is asked for: a table or figure, at a scale, into a folder."""

    table: str
    scale: str
    plans: Plans
    out: Path
    device: str
    evaluate: Evaluate
    root: Path | None = None
    rows: tuple[str, ...] = ()
    """those to run; empty: all that have a plan"""
    seeds: tuple[int, ...] = (0,)

    @property
    def chosen(self) -> dict[str, Plan]:
        """The rows to run. Raises `UserError` where none of those asked for can be, or where data is missing."""
        plans = self.plans[self.table]
        names = self.rows or tuple(plans)
        found = {name: plans[name] for name in names if not isinstance(plans[name], str)}
        able = [name for name, plan in plans.items() if not isinstance(plan, str)]
        hint = f"--row takes {', '.join(able)}" if able else "none of its rows is: see `--scale`"
        for name in self.rows:
            demand(name in found, f"{name} is not run at {self.scale} scale: {plans[name]}", hint)
        missing = [plan for name, plan in found.items() if not self.is_measured(name)]
        for place in sorted({place for plan in missing for place in sets(plan)}):
            self.place_of(place)
        return found

    def is_measured(self, row: str) -> bool:
        """Whether nothing is left to do for a row, with any of the seeds."""
        return all(read_measured(self.folder(f"{self.table}/{row}", seed)) for seed in self.seeds)

    def place_of(self, data: str) -> Path:
        """Where a set lies: its folder in --data.root, or --data.root itself where the table reads no other set.

        Raises `UserError` where it is not there.
        """
        needed = sorted({place for plan in self.plans[self.table].values() for place in sets(plan)})
        hint = "a folder that holds " + ", ".join(f"{place}/" for place in needed)
        if self.root is None:
            raise UserError(f"{self.table} at {self.scale} scale needs --data.root", hint)
        inside = self.root / data
        there = inside.exists() or (len(needed) == 1 and self.root.exists())
        demand(there, f"--data.root {self.root} has no {data}/", hint)
        return inside if inside.exists() else self.root

    def folder(self, place: str, seed: int) -> Path:
        """TABLE/ROW -> where its run lies."""
        table, _, row = place.partition("/")
        return self.out / table / self.scale / row / f"seed-{seed}"


def reproduce(order: Order, tell: Callable[[str], None]) -> dict[str, Any]:
    """Run the rows asked for, and write the pages after each; returns the record, as TABLE-SCALE.json has it.

    `tell` is told which row is next. Raises at the end what stopped any of the rows: `UserError` where all of it was
    mistakes of the user's; and at once where another process is at work in the same folder.
    """
    chosen = order.chosen
    with only_writer(order.out, "reproduces into"):
        return run_rows(order, chosen, tell)


def run_rows(order: Order, chosen: dict[str, Plan], tell: Callable[[str], None]) -> dict[str, Any]:
    """`reproduce`, in a folder of which we have the lock."""
    failed: dict[str, Exception] = {}
    record = write_pages(order, {})
    for seed in order.seeds:  # all rows once before any twice
        for name, plan in chosen.items():
            if name in failed:
                continue
            tell(f"{order.table} {name}, seed {seed}")
            try:
                make_row(order, name, plan, seed)
                record = write_pages(order, failed)
            except Exception as error:
                failed[name] = error
                tell(f"{name} failed: {error}")
    if failed:
        write_pages(order, failed)
        what = "; ".join(f"{name}: {error}" for name, error in failed.items())
        what = f"{len(failed)} of {len(chosen)} rows of {order.table} failed: {what}"
        done = f"the others are done, see {order.out}; " if len(failed) < len(chosen) else ""
        hint = f"{done}once that is mended, the same command goes on"
        if all(isinstance(error, UserError) for error in failed.values()):
            raise UserError(what, hint)
        raise RuntimeError(f"{what} ({hint})") from next(iter(failed.values()))
    return record


def make_row(order: Order, name: str, plan: Plan, seed: int) -> None:
    """Train what one row needs with one seed, and measure it."""
    folder = order.folder(f"{order.table}/{name}", seed)
    if read_measured(folder):
        return
    begun, model, seconds = time.monotonic(), "", 0.0
    if isinstance(plan, Training):
        model = str(run_chain(order, f"{order.table}/{name}", plan, seed))
        seconds = float(read_json(Path(model) / "summary.json")["seconds"])
        begun = time.monotonic()
    elif isinstance(plan, Weights):
        model = plan.name
    device = torch.device(order.device)
    row = TABLES[order.table].row(name)
    folder.mkdir(parents=True, exist_ok=True)
    case = Case(row, model, plan, folder, order.root, order.scale == "smoke", device, order.evaluate)
    found = dict(MEASURES[order.table](case))
    numbers = {key: value for key, value in found.items() if isinstance(value, int | float)}
    others = {key: value for key, value in found.items() if key not in numbers}
    about = {"machine": describe(device), "versions": versions(), "model": model}
    measured = {"numbers": numbers, **others, "seconds": round(seconds + time.monotonic() - begun, 1), **about}
    write_json(folder / MEASURED, measured)


def run_chain(order: Order, place: str, plan: Training, seed: int) -> Path:
    """Train a run and those before it, as far as they are not finished; returns its folder."""
    start, teacher = (
        run_chain(order, f"{place}-{word}", before, seed) if before else None
        for word, before in (("start", plan.start), ("teacher", plan.teacher))
    )
    folder = order.folder(plan.at or place, seed)
    finished = (folder / "summary.json").is_file()
    recipe = settled(plan, order, seed, start, teacher)
    follow(recipe, folder, finished)
    check_same_recipe(recipe, folder)
    if not finished:
        train(recipe, folder)
    return folder


def follow(recipe: Recipe, folder: Path, finished: bool) -> None:
    """Have the recipe in a run folder say where the runs that it builds on lie now, after --out was moved or copied.

    They lie in --out as before, so that only their places may differ. Of a finished run its data may have moved too.
    """
    path = folder / "recipe.json"
    if not path.is_file():
        return
    known, now = read_json(path), to_dict(recipe)
    places = [("model", "checkpoint"), ("task", "teacher"), *([("data", "root")] if finished else [])]
    moved = False
    for part, field in places:
        own = known.get(part) if isinstance(known, dict) else None
        here = now.get(part, {}).get(field)
        if isinstance(own, dict) and here and own.get(field) and own[field] != here:
            own[field], moved = here, True
    if moved:
        write_json(path, known)


def settled(plan: Training, order: Order, seed: int, start: Path | None, teacher: Path | None) -> Recipe:
    """The recipe with its seed, its device, its data, and the runs that it builds on."""
    recipe = plan.recipe
    changes: dict[str, Any] = {"run": changed(recipe.run, seed=seed, device=order.device)}
    if plan.data:
        changes["data"] = replace(recipe.data, root=str(order.place_of(plan.data)))
    if start:
        changes["model"] = replace(recipe.model, checkpoint=str(start))
    if teacher:
        changes["task"] = changed(recipe.task, teacher=str(teacher))
    return replace(recipe, **changes)


def write_pages(order: Order, failed: dict[str, Exception]) -> dict[str, Any]:
    """TABLE-SCALE.json, .md and .html of all that is finished; returns the first."""
    table, plans = TABLES[order.table], order.plans[order.table]
    said = {row: str(error) or type(error).__name__ for row, error in failed.items()}
    record = make_record(order.table, table, plans, order.scale, order.out, said, counted)
    stem = f"{order.table}-{order.scale}"
    if order.table == "figure4":
        record["not_drawn"], record["not_named"] = draw_figure4(record, order.out / f"{stem}.png")
        record["figures"] = [f"{stem}.png"]
    write_json(order.out / f"{stem}.json", record)
    write_text(order.out / f"{stem}.md", markdown(record))
    write_text(order.out / f"{stem}.html", html(record, order.out))
    return record
