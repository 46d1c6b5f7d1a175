"""Runs the rows of a table: skips finished rows, continues interrupted ones, and goes on after a row that fails."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from resmlp.analysis.profiling.device import describe
from resmlp.config import Recipe
from resmlp.paper import TABLES
from resmlp.reproduction.figure4 import with_figure
from resmlp.reproduction.measure import MEASURES, Case, Evaluate, count, evaluate_model
from resmlp.reproduction.measured_json import MEASURED, read_measured
from resmlp.reproduction.pages import html, markdown
from resmlp.reproduction.plan import Plan, Plans, Training, Weights, changed, sets
from resmlp.reproduction.record import Record, make_record
from resmlp.tasks import complete
from resmlp.training.train import check_same_recipe, recorded_recipe, train, versions
from resmlp.utils.checks import demand
from resmlp.utils.console import console
from resmlp.utils.errors import UserError
from resmlp.utils.files import only_writer, read_json, write_json, write_text
from resmlp.utils.run_folder import RECIPE, SUMMARY
from resmlp.utils.serialization import to_dict


@dataclass(frozen=True)
class Request:
    """A table or figure to reproduce: its scale, rows and seeds, and the output folder."""

    table: str
    scale: str
    plans: Plans
    out: Path
    device: str
    root: Path | None = None
    """the folder of all data sets"""
    rows: tuple[str, ...] = ()
    """empty: all rows that have a plan"""
    seeds: tuple[int, ...] = (0,)
    evaluate: Evaluate = evaluate_model

    def selected(self) -> dict[str, Plan]:
        """The rows to run. Raises `UserError` for a row without a plan, and for missing data."""
        plans = self.plans[self.table]
        planned = [name for name, plan in plans.items() if not isinstance(plan, str)]
        hint = f"--row takes {', '.join(planned)}" if planned else "try another --scale"
        for name in self.rows:
            demand(name in planned, f"{name} is not run at {self.scale} scale: {plans[name]}", hint)
        selected = {name: plans[name] for name in self.rows or planned}
        unfinished = [plan for name, plan in selected.items() if not self.is_measured(name)]
        for data in sorted({data for plan in unfinished for data in sets(plan)}):
            self.data_folder(data)
        return selected

    def is_measured(self, row: str) -> bool:
        """Whether a row is finished for all seeds."""
        return all(read_measured(self.run_folder(f"{self.table}/{row}", seed)) for seed in self.seeds)

    def data_folder(self, data: str) -> Path:
        """The folder of a data set in --data.root; --data.root itself if the table reads no other set.

        Raises `UserError` if it does not exist.
        """
        needed = sorted({name for plan in self.plans[self.table].values() for name in sets(plan)})
        hint = "a folder that holds " + ", ".join(f"{name}/" for name in needed)
        if self.root is None:
            raise UserError(f"{self.table} at {self.scale} scale needs --data.root", hint)
        inside = self.root / data
        is_found = inside.exists() or (len(needed) == 1 and self.root.exists())
        demand(is_found, f"--data.root {self.root} has no {data}/", hint)
        return inside if inside.exists() else self.root

    def run_folder(self, place: str, seed: int) -> Path:
        """The folder of a run: `place` is TABLE/ROW."""
        table, _, row = place.partition("/")
        return self.out / table / self.scale / row / f"seed-{seed}"


def run_request(request: Request) -> Record:
    """Run the selected rows, and write the pages after each row.

    Raises the errors of failed rows at the end: `UserError` if all of them are, else `RuntimeError`. Raises `UserError`
    at once for a wrong request, and if another process works in the same folder.
    """
    selected = request.selected()
    with only_writer(request.out, "reproduces into"):
        return _run_rows(request, selected)


def _run_rows(request: Request, selected: dict[str, Plan]) -> Record:
    """Run the rows while the lock of the folder is held."""
    failed: dict[str, Exception] = {}
    record = write_pages(request, {})
    for seed in request.seeds:  # all rows with one seed before the next seed
        for name, plan in selected.items():
            if name in failed:
                continue
            console.print(f"{request.table} {name}, seed {seed}", soft_wrap=True)
            try:
                run_row(request, name, plan, seed)
                record = write_pages(request, failed)
            except Exception as error:
                failed[name] = error
                console.print(f"{name} failed: {error}", soft_wrap=True)
    if failed:
        write_pages(request, failed)
        errors = "; ".join(f"{name}: {error}" for name, error in failed.items())
        what = f"{len(failed)} of {len(selected)} rows of {request.table} failed: {errors}"
        finished = f"the others are finished, see {request.out}; " if len(failed) < len(selected) else ""
        hint = f"{finished}fix this and run the same command again"
        if all(isinstance(error, UserError) for error in failed.values()):
            raise UserError(what, hint)
        raise RuntimeError(f"{what} ({hint})") from next(iter(failed.values()))
    return record


def run_row(request: Request, name: str, plan: Plan, seed: int) -> None:
    """Train what one row needs with one seed, and measure it; nothing if it is measured already."""
    folder = request.run_folder(f"{request.table}/{name}", seed)
    if read_measured(folder):
        return
    start, model, seconds = time.monotonic(), "", 0.0
    assert not isinstance(plan, str)
    if isinstance(plan, Training):
        model = str(run_chain(request, f"{request.table}/{name}", plan, seed))
        seconds = float(read_json(Path(model) / SUMMARY)["seconds"])
        start = time.monotonic()
    elif isinstance(plan, Weights):
        model = plan.name
    device = torch.device(request.device)
    row = TABLES[request.table].row(name)
    folder.mkdir(parents=True, exist_ok=True)
    is_brief = request.scale == "smoke"
    case = Case(row, model, plan, folder, request.root, is_brief, device, request.evaluate)
    results = dict(MEASURES[request.table](case))
    numbers = {key: value for key, value in results.items() if isinstance(value, int | float)}
    others = {key: value for key, value in results.items() if key not in numbers}
    conditions = {"machine": describe(device), "versions": versions(), "model": model}
    seconds = round(seconds + time.monotonic() - start, 1)
    write_json(folder / MEASURED, {"numbers": numbers, **others, "seconds": seconds, **conditions})


def run_chain(request: Request, place: str, plan: Training, seed: int) -> Path:
    """Train a run and the runs that it needs, without the finished ones; returns its folder."""
    start, teacher = (
        run_chain(request, f"{place}-{role}", needed, seed) if needed else None
        for role, needed in (("start", plan.start), ("teacher", plan.teacher))
    )
    folder = request.run_folder(plan.at or place, seed)
    is_finished = (folder / SUMMARY).is_file()
    recipe = final_recipe(plan, request, seed, start, teacher)
    update_paths(recipe, folder, is_finished)
    check_same_recipe(complete(recipe, recorded_recipe(folder)), folder)
    if not is_finished:
        train(recipe, folder)
    return folder


def update_paths(recipe: Recipe, folder: Path, is_finished: bool) -> None:
    """Update the paths of other runs in the recipe.json of a run folder, after --out was moved or copied.

    The recipe of a finished run may have another data root as well.
    """
    path = folder / RECIPE
    if not path.is_file():
        return
    saved, current = read_json(path), to_dict(recipe)
    fields = [("model", "checkpoint"), ("task", "teacher"), *([("data", "root")] if is_finished else [])]
    is_moved = False
    for part, field in fields:
        values = saved.get(part) if isinstance(saved, dict) else None
        new = current.get(part, {}).get(field)
        if isinstance(values, dict) and new and values.get(field) and values[field] != new:
            values[field], is_moved = new, True
    if is_moved:
        write_json(path, saved)


def final_recipe(plan: Training, request: Request, seed: int, start: Path | None, teacher: Path | None) -> Recipe:
    """The recipe of a plan with its seed, device, data, and the folders of the runs that it needs."""
    recipe = plan.recipe
    changes: dict[str, Any] = {"run": changed(recipe.run, seed=seed, device=request.device)}
    if plan.data:
        changes["data"] = replace(recipe.data, root=str(request.data_folder(plan.data)))
    if start:
        changes["model"] = replace(recipe.model, checkpoint=str(start))
    if teacher:
        changes["task"] = changed(recipe.task, teacher=str(teacher))
    return replace(recipe, **changes)


def write_pages(request: Request, failed: dict[str, Exception]) -> Record:
    """Write TABLE-SCALE.json, .md and .html of everything that is finished, and return the record."""
    table, plans = TABLES[request.table], request.plans[request.table]
    messages = {row: str(error) or type(error).__name__ for row, error in failed.items()}
    record = make_record(request.table, table, plans, request.scale, request.out, messages, count)
    stem = f"{request.table}-{request.scale}"
    if request.table == "figure4":
        record = with_figure(record, request.out / f"{stem}.png")
    write_json(request.out / f"{stem}.json", record.to_dict())
    write_text(request.out / f"{stem}.md", markdown(record))
    write_text(request.out / f"{stem}.html", html(record, request.out))
    return record
