"""What the command line does, from Python."""

import contextlib
import ctypes
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import accelerate
import timm
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from resmlp.analysis.overlay import SHOWN, colors, draw_labeled
from resmlp.analysis.report import write_report
from resmlp.config import Recipe, Run
from resmlp.models import count_parameters
from resmlp.recipes import open_recipe
from resmlp.tasks import Segment, Task, make_task
from resmlp.training.checkpoint import Progress
from resmlp.training.engine import Engine
from resmlp.training.optim import in_words, undecayed
from resmlp.utils.devices import Place, find_device
from resmlp.utils.errors import UserError, counted
from resmlp.utils.files import only_writer, read_json, write_json
from resmlp.utils.logger import console, show_table
from resmlp.utils.seeding import seed_all
from resmlp.utils.serialization import difference, from_dict, to_dict

MALLOC = {-4: 0, -1: 2**31 - 1, -2: 2**26}
"""glibc's M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD: no block is mapped on its own, none is given back"""

INDIFFERENT = {
    *("data.workers", "run.device", "run.log_every", "run.save_minutes", "run.tensorboard", "run.wandb", "task.cache"),
    "task.stop_on_collapse",
}
"""fields that a continued run may change: they decide how fast it goes and what it shows, not what it learns"""


def train(recipe: Recipe | str, out: str | Path | None = None, **parts: Any) -> dict[str, Any]:
    """Train as `recipe` says into the run folder `out` (`runs/NAME`), continuing what is there; returns the summary.

    `parts` are what a recipe cannot name: `teacher=`, a network or a function, for a recipe that distils.

    The summary has the best evaluation's numbers at its top level (accuracies are fractions), wall-clock in seconds
    and samples per second. Raises `UserError` for a mistake in the recipe, the data or the folder.
    """
    if isinstance(recipe, str):
        recipe = open_recipe(recipe)
    folder = Path(out or f"runs/{recipe.name}")
    accelerator = make_accelerator(recipe.run)
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    try:
        check_same_recipe(recipe, folder)
        place = Place(accelerator.device, accelerator.process_index, accelerator.num_processes)
        seed_all(recipe.run.seed)  # the first weights are the same in every process, and at every start
        task = make_task(recipe, place, **parts)
        main = accelerator.is_main_process
        with only_writer(folder, "is training into") if main else contextlib.nullcontext():
            if accelerator.is_main_process:
                write_json(folder / "recipe.json", to_dict(recipe))
                show_table(f"{recipe.name}: {recipe.about} -> {folder}", describe(task, recipe, accelerator))
            engine = Engine(task, recipe, folder, accelerator)
            try:
                progress = engine.fit()
            except KeyboardInterrupt:
                if accelerator.is_main_process:
                    write_report(folder)  # what there is so far
                raise
            accelerator.wait_for_everyone()
            return finish(engine, progress) if accelerator.is_main_process else {}
    finally:
        # Accelerate's settings are global to the process; the next run in it may want others
        AcceleratorState._reset_state(reset_partial_state=accelerator.num_processes == 1)


def make_accelerator(run: Run) -> Accelerator:
    """Accelerate on the device of `run`; processes come from `accelerate launch` or `torchrun`."""
    cpu = find_device(run.device).type == "cpu"  # told so, Accelerate joins processes that compute on it
    return Accelerator(cpu=cpu, mixed_precision="no")  # the engine casts by itself


def keep_freed_memory() -> None:
    """Have glibc reuse large blocks instead of returning each to the system, which zeroes every page of it again.

    A training step on the CPU frees and takes the same hundreds of MB each time. No effect with other C libraries.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in MALLOC.items():
            mallopt(parameter, value)


def check_same_recipe(recipe: Recipe, folder: Path) -> None:
    """Refuse a folder that holds a run of another recipe, naming the fields that differ."""
    path = folder / "recipe.json"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file", "choose another --out")
    if not path.exists() or not any(folder.glob("checkpoints/step-*")):
        return  # nothing was learned here yet
    before, now = to_dict(from_dict(Recipe, read_json(path))), to_dict(recipe)
    for said in ("name", "about", "paper", "expected"):
        del before[said], now[said]
    differs = [change for change in difference(before, now) if change.split(":")[0] not in INDIFFERENT]
    if differs:
        shown = "; ".join(differs[:5]) + (f"; and {len(differs) - 5} more" if len(differs) > 5 else "")
        raise UserError(
            f"{folder} holds a run of another recipe: {shown}", "choose another --out, or the same settings"
        )


def describe(task: Task, recipe: Recipe, accelerator: Accelerator) -> Iterator[tuple[str, str]]:
    """What a person checks before a long run."""
    optim, run, world = recipe.optim, recipe.run, accelerator.num_processes
    device = accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else counted(torch.get_num_threads(), "thread")
    yield "device", f"{device.type} ({name}), {run.precision}, {counted(world, 'process')}"
    yield "parameters", f"{count_parameters(task.model):,}"
    yield from task.describe()
    split = (
        f" over {counted(world, 'process')} x {counted(run.accumulate, 'part')}" if world * run.accumulate > 1 else ""
    )
    length = f"{counted(task.steps_per_epoch, 'step')} an epoch, {counted(run.epochs, 'epoch')}"
    yield "batch", f"{task.samples_per_step}{split}; {length}"
    yield "optimizer", in_words(optim, task.steps_per_epoch, run.epochs)
    slow = [f"each layer at {optim.layer_decay:g} of the next one's rate"] * (optim.layer_decay < 1)
    if optim.freeze_epochs:
        slow.append(f"the head alone for {min(optim.freeze_epochs, run.epochs)} of {run.epochs} epochs")
    if slow:
        yield "fine-tuning", ", ".join(slow)
    final = "" if optim.final_weight_decay is None else f" to {optim.final_weight_decay:g} by a cosine"
    yield "weight decay", f"{optim.weight_decay:g}{final}, not on {undecayed(task.model)}"


def finish(engine: Engine, progress: Progress) -> dict[str, Any]:
    """Write the model, the summary, the figures and the report of a run whose steps are all done."""
    metric, folder = engine.task.metric, engine.folder
    weights = max(progress.last, key=lambda kind: progress.last[kind][metric])
    engine.task.save(folder, engine.kinds[weights])
    best = {key: value for key, value in progress.best.items() if key not in ("weights", "epoch", "step")}
    steps = progress.step * engine.task.samples_per_step
    summary = {
        **best,
        "best": progress.best,
        "last": progress.last,
        "weights": weights,
        "seconds": round(progress.seconds, 1),
        "samples_per_s": round(steps / max(progress.seconds, 1e-9), 1),
        "parameters": count_parameters(engine.raw),
        "device": str(engine.accelerator.device),
        "versions": versions(),
        **progress.notes,
    }
    write_json(folder / "summary.json", summary)
    try:
        draw_examples(engine.task, engine.kinds[weights], folder)
        write_report(folder)
    except UserError as error:
        raise UserError(f"the run is finished and saved, but {error.what}", error.hint) from None
    shown = ", ".join(f"{name} {value:.4f}" for name, value in best.items())
    console.print(f"best {shown}; {progress.seconds:.0f} s; see {folder / 'report.html'}", soft_wrap=True)
    return summary


def versions() -> dict[str, str]:
    """What the numbers of a run depend on."""
    from resmlp import __version__

    ours = {"resmlp": __version__, "python": platform.python_version()}
    return ours | {module.__name__: str(module.__version__) for module in (torch, accelerate, timm)}


def draw_examples(task: Task, model: nn.Module, folder: Path) -> None:
    """Draw `figures/labeled.png` of what a trained segmenter says of held-out images; nothing for another task."""
    if isinstance(task, Segment):
        found = task.examples(model, SHOWN)
        draw_labeled(found, task.card.classes, colors(task.card), folder / "figures" / "labeled.png")
