"""Runs what a table needs: finished rows are skipped, those that stopped go on, and one that fails stops no other."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from resmlp.analysis.device import describe
from resmlp.api import check_same_recipe, train, versions
from resmlp.checks import demand
from resmlp.config import Recipe
from resmlp.errors import UserError
from resmlp.files import read_json, write_json, write_text
from resmlp.paper import TABLES
from resmlp.reproduce.figure4 import draw_figure4
from resmlp.reproduce.measure import MEASURES, Case, Evaluate, counted
from resmlp.reproduce.pages import html, markdown
from resmlp.reproduce.plan import Plan, Plans, Training, Weights, changed, sets
from resmlp.reproduce.record import MEASURED, make_record, read_measured


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
        for name in self.rows:
            demand(name in found, f"{name} is not run at {self.scale} scale: {plans[name]}", "see `--row`, `--scale`")
        for place in sorted({place for plan in found.values() for place in sets(plan)}):
            self.place_of(place)
        return found

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
    mistakes of the user's.
    """
    failed: dict[str, Exception] = {}
    chosen = order.chosen
    record = write_pages(order, {})
    for seed in order.seeds:  # all rows once before any twice
        for name, plan in chosen.items():
            if name in failed:
                continue
            tell(f"{order.table} {name}, seed {seed}")
            try:
                make_row(order, name, plan, seed)
            except Exception as error:
                failed[name] = error
                tell(f"{name} failed: {error}")
            record = write_pages(order, {row: str(error) or type(error).__name__ for row, error in failed.items()})
    if failed:
        what = "; ".join(f"{name}: {error}" for name, error in failed.items())
        what = f"{len(failed)} of {len(chosen)} rows of {order.table} failed: {what}"
        hint = f"the others are done, see {order.out}; the same command goes on"
        if all(isinstance(error, UserError) for error in failed.values()):
            raise UserError(what, hint)
        raise RuntimeError(f"{what} ({hint})") from next(iter(failed.values()))
    return record


def make_row(order: Order, name: str, plan: Plan, seed: int) -> None:
    """Train what one row needs with one seed, and measure it."""
    folder = order.folder(f"{order.table}/{name}", seed)
    begun, model, seconds = time.monotonic(), "", 0.0
    if isinstance(plan, Training):
        model = str(run_chain(order, f"{order.table}/{name}", plan, seed))
        seconds = float(read_json(Path(model) / "summary.json")["seconds"])
        begun = time.monotonic()
    elif isinstance(plan, Weights):
        model = plan.name
    if read_measured(folder):
        return
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
    recipe = settled(plan, order, seed, start, teacher)
    folder = order.folder(plan.at or place, seed)
    check_same_recipe(recipe, folder)
    if not (folder / "summary.json").is_file():
        train(recipe, folder)
    return folder


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


def write_pages(order: Order, failed: dict[str, str]) -> dict[str, Any]:
    """TABLE-SCALE.json, .md and .html of all that is finished; returns the first."""
    table, plans = TABLES[order.table], order.plans[order.table]
    record = make_record(order.table, table, plans, order.scale, order.out, failed, counted)
    stem = f"{order.table}-{order.scale}"
    if order.table == "figure4":
        record["not_drawn"] = draw_figure4(record, order.out / f"{stem}.png")
        record["figures"] = [f"{stem}.png"]
    write_json(order.out / f"{stem}.json", record)
    write_text(order.out / f"{stem}.md", markdown(record))
    write_text(order.out / f"{stem}.html", html(record, order.out))
    return record
