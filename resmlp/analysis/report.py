"""The report of a training run: one HTML page made from the files of its run folder."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resmlp.analysis.curves import Entry, is_number, metric_names
from resmlp.analysis.figures import curves
from resmlp.analysis.fonts import unnamed
from resmlp.analysis.page import (
    Remarks,
    code,
    details,
    duration,
    element,
    facts,
    image,
    number,
    page,
    section,
    table,
)
from resmlp.utils.errors import UserError, counted
from resmlp.utils.files import read_json, write_text
from resmlp.utils.logger import read_metrics

LONG = 12  # rows; a longer table is collapsed
CAPTIONS = {
    "confusion": "Rows: true class. Columns: predicted class.",
    "labeled": "Images, the ground truth of their pixels (white: ignored), and the prediction.",
    "predictions": "Predicted class and its probability; below a wrong prediction, the true class.",
    "reliability": "Accuracy by the probability of the predicted class; both are equal if the network is calibrated.",
}


def write_report(folder: Path) -> None:
    """Draw `figures/curves.png` and write `report.html` from the files of a run folder; any file may be missing.

    Raises `UserError` if a file cannot be written.
    """
    run = Folder.read(folder)
    if run.metrics:
        curves(run.metrics, folder / "figures" / "curves.png")
    title = str(run.recipe.get("name") or folder.resolve().name)
    parts = (
        f"<header>\n{element('h1', title)}",
        element("p", run.recipe.get("about", "")),
        element("p", run.recipe.get("paper", ""), "faint"),
        "</header>",
        element("p", run.unfinished(), "note"),
        facts(run.scores(), "main"),
        facts(run.statistics()),
        element("p", " · ".join(f"{name} {of}" for name, of in _object(run.summary, "versions").items()), "faint"),
        section("Figures", *(run.figure(path) for path in run.images())),
        section("Class numbers in figures", run.class_numbers()),
        section("Use the model", code(run.commands())),
        section("Evaluations", run.evaluations()),
        section("Files that could not be read", run.unreadable()),
        section("Recipe", run.settings()),
    )
    write_text(folder / "report.html", page(title, parts))


@dataclass(frozen=True)
class Folder:
    """The contents of a run folder; of an unfinished run, with the summary in its last checkpoint."""

    path: Path
    recipe: dict[str, Any]
    summary: dict[str, Any]
    metrics: list[Entry]
    finished: bool

    @classmethod
    def read(cls, path: Path) -> "Folder":
        """Read the files that exist."""
        summary = _read(path / "summary.json")
        progress = sorted(path.glob("checkpoints/step-*/progress.json"))
        latest = summary or (_read(progress[-1]) if progress else {})
        return cls(path, _read(path / "recipe.json"), latest, read_metrics(path), bool(summary))

    @property
    def evals(self) -> list[Entry]:
        """The evaluations in order of their steps."""
        return [entry for entry in self.metrics if entry["kind"] == "eval"]

    def best(self) -> Entry:
        """The best evaluation according to the summary; without one, the evaluation with the highest main metric."""
        best = self.summary.get("best")
        if isinstance(best, dict) and metric_names([best]):
            return best
        names = metric_names(self.evals)
        scored = [entry for entry in self.evals if names and is_number(entry.get(names[0]))]
        return max(scored, key=lambda entry: entry[names[0]], default={})

    def unfinished(self) -> str:
        """A note for a run that has not finished; "" for a finished run."""
        if self.finished:
            return ""
        step = self.metrics[-1]["step"] if self.metrics else 0
        return f"This run has not finished: {counted(step, 'step')} so far. Run the same command again to continue it."

    def scores(self) -> Iterator[tuple[str, str, Remarks]]:
        """The best value of each metric, with the value that the recipe expects."""
        best, expected = self.best(), dict(self.recipe.get("expected") or ())
        for name in metric_names([best]):
            where = f"best, epoch {best.get('epoch', '?')}, {best.get('weights', '')} weights"
            goal = expected.pop(name, None)
            yield name, number(best[name]), [(where, ""), *([] if goal is None else [_judge(best[name], goal)])]
        for name, goal in expected.items():
            yield name, "–", [(f"expected {goal:g}: not measured", "")]

    def statistics(self) -> Iterator[tuple[str, str, Remarks]]:
        """Last evaluation, wall-clock time, speed, parameters and device."""
        for kind, entry in {str(entry.get("weights", "")): entry for entry in self.evals}.items():
            name = metric_names(self.evals)[0]
            yield f"last {name}, {kind}", number(entry.get(name)), [(f"epoch {entry.get('epoch', '?')}", "")]
        summary, train = self.summary, [entry for entry in self.metrics if entry["kind"] == "train"]
        speed: Any = summary.get("samples_per_s", train[-1].get("samples_per_s") if train else None)
        if is_number(summary.get("seconds")):
            yield "wall-clock", duration(summary["seconds"]), ()
        if is_number(speed):
            yield "samples per second", f"{speed:,.0f}" if speed >= 100 else f"{speed:.3g}", ()
        if is_number(summary.get("parameters")):
            yield "parameters", f"{summary['parameters']:,}", ()
        if summary.get("device"):
            yield "device", str(summary["device"]), ()

    def images(self) -> list[Path]:
        """The figures, curves first."""
        found = (path for path in self.path.glob("figures/*.png") if path.is_file())  # a pipe would be waited for
        return sorted(found, key=lambda path: (path.name != "curves.png", path.name))

    def figure(self, path: Path) -> str:
        """A figure with its alternative text."""
        if path.name == "curves.png":
            return image(path, f"Curves of the run over its epochs. {' '.join(self.trends())}", "")
        caption = CAPTIONS.get(path.stem, path.stem)
        return image(path, f"{path.stem}: {caption}", caption)

    def class_numbers(self) -> str:
        """The legend of the classes that figures show by their numbers, because no installed font has their names."""
        classes = _read(self.path / "model.json").get("classes")
        rows = list(unnamed(list(map(str, classes)) if isinstance(classes, list) else []).items())
        content = table(["class", "name"], rows)
        return details(counted(len(rows), "class"), content) if len(rows) > LONG else content

    def trends(self) -> Iterator[str]:
        """First and last value of the main validation metric and of the training loss, one sentence each."""
        kind = self.best().get("weights")
        val = [entry for entry in self.evals if entry.get("weights") == kind]
        train = [entry for entry in self.metrics if entry["kind"] == "train"]
        for split, entries in (("Validation", val), ("Training", train)):
            for name in metric_names(entries)[:1]:
                values = [entry[name] for entry in entries if is_number(entry.get(name))]
                yield f"{split} {name} goes from {number(values[0])} to {number(values[-1])}."

    def commands(self) -> list[str]:
        """Commands that use the saved model; [] before the model is saved."""
        folder = shlex.quote(str(self.path))
        if not (self.path / "model.json").is_file():
            return []
        translates = _read(self.path / "model.json").get("kind") == "translator"
        use = f"resmlp translate {folder} FILE" if translates else f"resmlp predict {folder} FILE..."
        return [f"resmlp eval {folder} --data.root PATH", use]

    def evaluations(self) -> str:
        """The table of all evaluations, collapsed if it is long."""
        evals, names = self.evals, metric_names(self.evals)
        best, keys = self.best(), [(entry["step"], entry.get("weights")) for entry in self.evals]
        best_key = (best.get("step"), best.get("weights"))
        rows = [[entry.get(key, "") for key in ("epoch", "step", "weights")] for entry in evals]
        rows = [row + [number(entry.get(name)) for name in names] for row, entry in zip(rows, evals)]
        content = table(["epoch", "step", "weights", *names], rows, keys.index(best_key) if best_key in keys else None)
        return details(f"{len(rows)} evaluations", content) if len(rows) > LONG else content

    def unreadable(self) -> str:
        """Files that training skipped because it could not read them."""
        notes = _object(self.summary, "notes") or self.summary
        rows = list(_object(notes, "unreadable").items())
        content = table(["file", "read attempts"], rows)
        return details(counted(len(rows), "file"), content) if len(rows) > LONG else content

    def settings(self) -> str:
        """The fields of the recipe by their command-line names, collapsed."""
        titled = ("name", "about", "paper", "expected")
        rows = list(_flat({key: value for key, value in self.recipe.items() if key not in titled}))
        return details(f"{len(rows)} settings", table(["setting", "value"], rows))


def _judge(value: float, goal: float) -> tuple[str, str]:
    """Whether `value` reaches `goal`, as text and as a CSS class."""
    return (f"✓ expected {goal:g}: reached", "good") if value >= goal else (f"✗ expected {goal:g}: not reached", "bad")


def _flat(values: dict[str, Any], where: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as pairs such as ("data.img-size", "224 224")."""
    for key, value in values.items():
        name = f"{where}.{key}" if where else key
        if isinstance(value, dict):
            yield from _flat(value, name)
        else:
            yield name.replace("_", "-"), " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _object(values: dict[str, Any], key: str) -> dict[str, Any]:
    """The object at `key`; {} if it is missing or something else."""
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def _read(path: Path) -> dict[str, Any]:
    """The object in a JSON file; {} if the file is missing, broken, or not an object."""
    try:
        value = read_json(path)
    except UserError:
        return {}
    return value if isinstance(value, dict) else {}
