"""`train()`: train by a recipe into a run folder."""

import contextlib
import ctypes
import platform
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import accelerate
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from resmlp.analysis.overlay import SHOWN, colors, draw_segmentations
from resmlp.analysis.report import write_report
from resmlp.config import ImageRecipe, Recipe, Run
from resmlp.models import count_parameters
from resmlp.recipes import open_recipe
from resmlp.tasks import Segment, Task, complete, make_task
from resmlp.tasks.complete import TEACHER, lost
from resmlp.tasks.fit_batch import scale_batch
from resmlp.training.checkpoint import Progress
from resmlp.training.engine import Engine
from resmlp.training.optimizers import train_only
from resmlp.training.settings_table import describe
from resmlp.utils.checks import demand
from resmlp.utils.console import console
from resmlp.utils.devices import Process, find_device, join_processes
from resmlp.utils.errors import UserError
from resmlp.utils.files import only_writer, read_json, write_json
from resmlp.utils.heartbeat import watched
from resmlp.utils.logger import show_table
from resmlp.utils.run_folder import (
    FIGURES,
    IMAGES,
    RECIPE,
    REPORT,
    SUMMARY,
    check_layout,
    checkpoint_steps,
    fold_path,
)
from resmlp.utils.seeding import seed_all
from resmlp.utils.serialization import difference, from_dict, to_dict
from resmlp.utils.trackers import check_installed

MALLOC = {-4: 0, -1: 2**31 - 1, -2: 2**26}
"""glibc's M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD: no separate mapping of large blocks, no return of free memory"""

INDIFFERENT = {
    *(
        "data.workers",
        "run.device",
        "run.log_every",
        "run.save_minutes",
        "run.timeout_minutes",
        "run.log",
        "task.cache",
    ),
    "task.stop_on_collapse",
}
"""fields that may change when a run is continued: they affect its speed and its output, not the training"""


@dataclass(frozen=True)
class Summary:
    """The results of a training run, as in its summary.json."""

    best: dict[str, Any]
    """the best evaluation: its scores, epoch, step, and kind of weights; accuracies are fractions"""
    last: dict[str, dict[str, Any]]
    """the last evaluation of each kind of weights"""
    weights: str
    """the kind of weights that was saved: raw, ema or avg"""
    seconds: float
    """wall-clock time of training, with evaluations"""
    samples_per_s: float
    parameters: int
    device: str
    versions: dict[str, str]
    notes: dict[str, Any]
    """what the task noted about the data"""

    @classmethod
    def read(cls, folder: Path) -> "Summary":
        """The summary of the finished run in `folder`. Raises `UserError` for a damaged file."""
        saved = read_json(folder / SUMMARY)
        try:
            own = {f.name: saved[f.name] for f in fields(cls) if f.name != "notes"}
        except (KeyError, TypeError):
            raise UserError(f"{folder / SUMMARY} is not the summary of a run", "remove it") from None
        summary = cls(**own, notes={})
        return replace(summary, notes={key: saved[key] for key in saved.keys() - summary.to_dict().keys()})

    @property
    def scores(self) -> dict[str, float]:
        """The scores of the best evaluation."""
        return {key: value for key, value in self.best.items() if key not in ("weights", "epoch", "step")}

    def to_dict(self) -> dict[str, Any]:
        """The contents of summary.json: the best scores at its top level."""
        own = {key: value for key, value in vars(self).items() if key != "notes"}
        return self.scores | own | self.notes

    def __getitem__(self, key: str) -> Any:
        return self.to_dict()[key]

    def __str__(self) -> str:
        scores = ", ".join(f"{name} {value:.4f}" for name, value in self.scores.items())
        return f"best {scores}; {self.seconds:.0f} s"


def train(recipe: Recipe | str, out: str | Path | None = None, teacher: Any = None) -> Summary | None:
    """Train by `recipe` into the run folder `out` (default `runs/NAME`), or continue the interrupted run in it.

    `recipe` is a value, a name of `resmlp list recipes`, or the path of a recipe.json. A batch larger than the training
    set is reduced (`resmlp.tasks.fit_batch`). `teacher`, a network or a function from images B 3 H W in [0, 1] to
    logits B K, replaces the teacher of a distillation recipe. Returns the summary in the first process, None in the
    others. Raises `UserError` for an error in the recipe, the data or the folder, and `KeyboardInterrupt` on Ctrl-C or
    SIGTERM, after saving a checkpoint.
    """
    recipe = open_recipe(recipe) if isinstance(recipe, str) else recipe
    folder = default_folder(recipe) if out is None else Path(out)
    check_layout(folder)
    check_installed(recipe.run.log)
    recipe = complete(recipe, recorded_recipe(folder))
    accelerator = make_accelerator(recipe.run)
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    try:
        check_same_recipe(recipe, folder)
        gone = {flag: path for flag, path in lost(recipe).items() if flag != TEACHER or teacher is None}
        if gone and (folder / SUMMARY).is_file():
            console.print("all steps are done already")
            return Summary.read(folder) if accelerator.is_main_process else None
        for flag, path in gone.items():
            raise UserError(f"{flag} {path} is gone, and the run in {folder} is not finished", "put it back")
        process = Process(accelerator.device, accelerator.process_index, accelerator.num_processes, folder)
        seed_all(recipe.run.seed)  # the initial weights are the same in every process and at every start
        task = make_task(recipe, process, **({"teacher": teacher} if teacher is not None else {}))
        train_only(task.model, recipe.optim.only)
        recipe = task.recipe  # the batch fits the training set
        check_same_recipe(recipe, folder, exact=True)
        main = accelerator.is_main_process
        engine = Engine(task, recipe, folder, accelerator)
        engine.take_over()
        with only_writer(folder, "is training into") if main else contextlib.nullcontext():
            if main:
                write_json(folder / RECIPE, to_dict(recipe))
                task.record(folder)
                show_table(f"{recipe.name}: {recipe.about} -> {folder}", describe(task, recipe, accelerator))
            try:
                with watched(recipe.run.timeout_minutes, lambda: engine.agreement.arrivals):
                    progress = engine.fit()
            except KeyboardInterrupt:
                if main:
                    write_report(folder)  # of the steps so far
                raise
            accelerator.wait_for_everyone()
            return finish(engine, progress) if main else None
    finally:
        # Accelerate's settings are global to the process; the next run may need others
        AcceleratorState._reset_state(reset_partial_state=accelerator.num_processes == 1)


def default_folder(recipe: Recipe) -> Path:
    """The run folder where none is named: `runs/NAME`, or `fold-0` and so on in it."""
    folder = Path(f"runs/{recipe.name}")
    fold = recipe.data.fold if isinstance(recipe, ImageRecipe) else None
    return folder if fold is None else fold_path(folder, fold)


def make_accelerator(run: Run) -> Accelerator:
    """Accelerate on the device of `run`; processes come from `accelerate launch` or `torchrun`."""
    device = find_device(run.device)
    join_processes(device, run.time_limit)
    return Accelerator(cpu=device.type == "cpu", mixed_precision="no")  # the engine uses its own autocast


def keep_freed_memory() -> None:
    """Make glibc reuse large blocks, because the system zeroes every page of a returned block again.

    A training step on the CPU frees and allocates the same hundreds of MB. No effect with other C libraries.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in MALLOC.items():
            mallopt(parameter, value)


def recorded_recipe(folder: Path) -> Recipe | None:
    """The recipe of the run in `folder`; None if no training step is saved yet. Raises `UserError` for a file."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file", "choose another --out")
    path = folder / RECIPE
    return from_dict(Recipe, read_json(path)) if path.exists() and checkpoint_steps(folder) else None


def check_same_recipe(recipe: Recipe, folder: Path, exact: bool = False) -> None:
    """Raise `UserError` for a folder with a run of another recipe, and name the fields that differ.

    Unless `exact`, the batch of the run may be smaller than that of `recipe`, with the learning rate scaled with it:
    the number of training images is not known yet.
    """
    saved = recorded_recipe(folder)
    if saved is None:
        return
    missing = f"--data.root is not given, and the run in {folder} has one"
    demand(recipe.data.root is not None or saved.data.root is None, missing, f"give --data.root {saved.data.root}")
    if not exact and isinstance(saved, ImageRecipe) and isinstance(recipe, ImageRecipe):
        recipe = _with_smaller_batch(recipe, saved.data.batch_size)
    before, now = to_dict(saved), to_dict(recipe)
    for description in ("name", "about", "paper", "expected"):
        del before[description], now[description]
    checked_later = (
        {"data.root", "data.labels"} if (folder / IMAGES).is_file() else set()
    )  # the task compares the images themselves
    indifferent = INDIFFERENT | checked_later
    changes = [change for change in difference(before, now) if change.split(":")[0] not in indifferent]
    if changes:
        shown = "; ".join(changes[:5]) + (f"; and {len(changes) - 5} more" if len(changes) > 5 else "")
        raise UserError(
            f"{folder} holds a run of another recipe: {shown}", "choose another --out, or use the same settings"
        )


def _with_smaller_batch(recipe: ImageRecipe, batch_size: int) -> ImageRecipe:
    """The recipe with `batch_size`, if that is smaller and possible."""
    if batch_size < recipe.data.batch_size:
        with contextlib.suppress(UserError):
            return scale_batch(recipe, batch_size)
    return recipe


def finish(engine: Engine, progress: Progress) -> Summary:
    """Write the model, the summary, the figures and the report of a finished run."""
    metric, folder = engine.task.metric, engine.folder
    weights = max(progress.last, key=lambda kind: progress.last[kind][metric])
    engine.task.save(folder, engine.kinds[weights], progress.last[weights])
    samples = progress.step * engine.task.samples_per_step
    summary = Summary(
        best=progress.best,
        last=progress.last,
        weights=weights,
        seconds=round(progress.seconds, 1),
        samples_per_s=round(samples / max(progress.seconds, 1e-9), 1),
        parameters=count_parameters(engine.raw),
        device=str(engine.accelerator.device),
        versions=versions(),
        notes=progress.notes,
    )
    write_json(folder / SUMMARY, summary.to_dict())
    try:
        draw_examples(engine.task, engine.kinds[weights], folder)
        write_report(folder)
    except UserError as error:
        raise UserError(f"the run is finished and saved, but {error.what}", error.hint) from None
    console.print(f"{summary}; see {folder / REPORT}", soft_wrap=True)
    return summary


def versions() -> dict[str, str]:
    """The versions of the packages on which the results of a run depend."""
    packages = {module.__name__: str(module.__version__) for module in (torch, accelerate)}
    packages["timm"] = version("timm")  # to import it takes a third of a second
    return {"resmlp": version("resmlp"), "python": platform.python_version()} | packages


def draw_examples(task: Task, model: nn.Module, folder: Path) -> None:
    """Draw predictions of a segmenter for validation images as `figures/labeled.png`; nothing for other tasks."""
    if isinstance(task, Segment):
        examples = task.examples(model, SHOWN)
        draw_segmentations(examples, task.config.classes, colors(task.config), folder / FIGURES / "labeled.png")
