"""More of a run: a new run from the last checkpoint of another one, with its schedule stretched or restarted."""

import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from resmlp.cli.main import main
from resmlp.config import ImageRecipe, Optim
from resmlp.config.tasks import Distill
from resmlp.config.training import Origin
from resmlp.recipes import base_recipe, recipe_of_run
from resmlp.tasks import make_task
from resmlp.training import more
from resmlp.training.engine import Engine
from resmlp.training.optimizers import learning_rate
from resmlp.training.origin import last_whole_step
from resmlp.utils.devices import Process
from resmlp.utils.errors import UserError
from resmlp.utils.files import read_json
from resmlp.utils.logger import read_metrics
from resmlp.utils.run_folder import checkpoint_path, checkpoint_steps

STEPS = 5  # of an epoch


def more_of(run: Path, *flags: str) -> int:
    return main(["train", str(run), *flags])


def rates(folder: Path) -> dict[int, float]:
    """Step -> the learning rate of the step before it, as it was logged."""
    return {entry["step"]: entry["lr"] for entry in read_metrics(folder) if entry["kind"] == "train"}


def expected_rate(step: int, epochs: int) -> float:
    """Of `resmlp train digits`: two warm-up epochs from 1e-6 to 3e-3, then half a cosine to 1e-5."""
    if step < 2 * STEPS:
        return 1e-6 + (3e-3 - 1e-6) * step / (2 * STEPS)
    progress = (step - 2 * STEPS) / ((epochs - 2) * STEPS)
    return 1e-5 + (3e-3 - 1e-5) * (1 + math.cos(math.pi * progress)) / 2


@pytest.mark.slow
def test_a_stretched_run_has_the_rates_of_a_longer_one(stopped, digits, capsys):
    """The run was interrupted after step 3 of 10; more of it has those of 4 epochs at the same steps."""
    assert more_of(stopped, "--run.epochs", "4") == 0
    new = stopped.parent / "stopped-4"
    logged = rates(new)
    assert list(logged) == list(range(4, 21))
    assert logged == pytest.approx({step + 1: expected_rate(step, 4) for step in range(3, 20)})
    shown = capsys.readouterr().err
    assert "step-00000003: weights, ema, optimizer; the schedule is that of 4 epochs" in shown
    assert checkpoint_steps(stopped) == [3]  # it is as it was
    assert read_json(new / "recipe.json")["origin"] == {"run": str(stopped), "step": 3, "schedule": "stretch"}
    assert more_of(stopped, "--run.epochs", "4") == 0
    assert "all steps are done already" in capsys.readouterr().err
    assert more_of(stopped, "--run.epochs", "4", "--schedule", "restart") == 2
    assert "origin.schedule: stretch -> restart" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["lamb", "muon"])
def test_a_stretched_run_ends_as_one_that_was_longer_from_the_start(tmp_path, digits, optimizer):
    """With a constant learning rate the schedules are the same, and so is every bit."""
    same = ["--optim.schedule", "constant", "--optim.warmup-epochs", "0", "--optim.name", optimizer]
    same += ["--run.average", "2", "--model.drop-path", "0.1", "--optim.lr", "1e-3"]
    assert digits(tmp_path / "long", *same, "--run.epochs", "3") == 0
    assert digits(tmp_path / "short", *same, "--run.epochs", "1") == 0
    assert more_of(tmp_path / "short", "--run.epochs", "3", "--out", str(tmp_path / "more")) == 0
    for name in ("raw", "ema", "avg"):
        long, new = (load_file(checkpoint_path(tmp_path / run, 15) / f"{name}.safetensors") for run in ("long", "more"))
        assert all(torch.equal(long[key], new[key]) for key in long)
    assert (tmp_path / "long" / "model.safetensors").read_bytes() == (
        tmp_path / "more" / "model.safetensors"
    ).read_bytes()


@pytest.mark.slow
def test_a_restarted_run_has_the_weights_and_a_new_schedule(whole, tmp_path, interrupt_at, capsys):
    new = tmp_path / "new"
    flags = ("--run.epochs", "3", "--schedule", "restart", "--out", str(new), "--optim.weight-decay", "0.01")
    interrupt_at(2)
    assert more_of(whole, *flags) == 130
    assert more_of(whole, *flags) == 0  # and continues
    assert "continuing after step 3 of 15" in capsys.readouterr().err
    assert rates(new) == pytest.approx({step + 1: expected_rate(step, 3) for step in range(15)})


class StartedError(Exception):
    """The run has started: the test ends it."""


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, engine) -> Callable[..., object]:
    """`start(run, changes)`: an engine whose run has just started from `run`, before its first step."""

    def start(run: Path, changes: Callable[[ImageRecipe], ImageRecipe], schedule: more.Schedule = "restart"):
        recipe = changes(base_recipe(run))
        step = checkpoint_steps(run)[-1]
        recipe = replace(recipe, origin=Origin(str(run.absolute()), step, schedule))
        torch.manual_seed(7)  # the new network is another one
        made = engine(make_task(recipe, Process()), recipe, "new")
        monkeypatch.setattr(Engine, "steps", lambda self: (_ for _ in ()).throw(StartedError))
        with pytest.raises(StartedError):
            made.fit()
        return made

    return start


def with_run(**fields) -> Callable[[ImageRecipe], ImageRecipe]:
    return lambda recipe: replace(recipe, run=replace(recipe.run, **fields))


def test_weights_at_the_start_are_those_of_the_run(whole, start):
    last = checkpoint_path(whole, 10)
    made = start(whole, with_run(epochs=3))
    for name, module in made.kinds.items():
        saved = load_file(last / f"{name}.safetensors")
        assert saved.keys() == module.state_dict().keys()
        assert all(torch.equal(saved[key], tensor) for key, tensor in module.state_dict().items())
    moments = torch.load(last / "optimizer.pt", weights_only=True)["state"]
    now = made.optimizer.state_dict()["state"]
    assert all(torch.equal(moments[i][key], now[i][key]) for i in moments for key in moments[i])
    assert (made.progress.step, made.earlier) == (0, 10)


def test_averages_that_the_run_has_not_begin_with_its_weights(whole, start):
    made = start(whole, with_run(epochs=3, ema=None, average=2))
    raw = load_file(checkpoint_path(whole, 10) / "raw.safetensors")
    assert list(made.kinds) == ["raw", "avg"]
    for module in made.kinds.values():
        assert all(torch.equal(raw[key], tensor) for key, tensor in module.state_dict().items())


def test_another_optimizer_begins_anew(whole, start, capsys):
    made = start(whole, lambda recipe: replace(recipe, optim=replace(recipe.optim, name="sgd", momentum=0.5)))
    assert not made.optimizer.state_dict()["state"]
    assert "weights, ema; a new schedule of 2 epochs begins" in " ".join(capsys.readouterr().err.split())


def test_settings_of_the_same_optimizer_are_those_of_the_new_run(whole, start):
    made = start(whole, lambda recipe: replace(recipe, optim=replace(recipe.optim, momentum=0.5, weight_decay=0.3)))
    groups = made.optimizer.state_dict()["param_groups"]
    assert {group["betas"] for group in groups} == {(0.5, 0.999)}
    assert {group["weight_decay"] for group in groups} == {0.3, 0.0}


REFUSED = [
    (("--model.depth", "2"), "model.depth: 1 -> 2"),
    (("--model", "resmlp_cifar"), "model.name: resmlp_digits -> resmlp_cifar"),
    (("--model.checkpoint", "resmlp_s12"), "model.checkpoint: None -> resmlp_s12"),
    (("--data.img-size", "16"), "data.img_size: [8] -> [16]"),
    (("--data.source", "folder"), "data.source: digits -> folder"),
    (("--data.fraction", "0.5"), "data.fraction: 1.0 -> 0.5"),
    (("--data.split-seed", "1"), "data.split_seed: 0 -> 1"),
    (("--data.folds", "5", "--data.fold", "1"), "data.folds: 0 -> 5"),
    (("--data.batch-size", "120"), "data.batch_size: 240 -> 120 (--schedule restart"),
    (("--augment.repeats", "3"), "augment.repeats: 1 -> 3 (--schedule restart"),
]


@pytest.mark.parametrize(("flags", "words"), REFUSED, ids=[flags[0] for flags, _ in REFUSED])
def test_what_cannot_change_is_named(whole, flags, words, capsys):
    assert more_of(whole, "--run.epochs", "3", *flags) == 2
    error = capsys.readouterr().err.strip()
    assert words in error
    assert len(error.splitlines()) == 1


def test_another_task_is_refused(whole):
    recipe = base_recipe(whole)
    with pytest.raises(UserError, match=re.escape("task.kind: supervised -> distill")):
        more.train_more(whole, replace(recipe, task=Distill(), run=replace(recipe.run, epochs=3)))


def test_weights_that_do_not_fit_are_named(whole, start, tmp_path):
    """The list of classes is not part of a recipe: here the checkpoint has other ones than the data."""
    run = shutil.copytree(whole, tmp_path / "other")
    file = checkpoint_path(run, 10) / "raw.safetensors"
    tensors = load_file(file)
    save_file(tensors | {"head.weight": tensors["head.weight"][:7].clone()}, file)
    with pytest.raises(UserError, match=re.escape("head.weight: (7, ")) as caught:
        start(run, with_run(epochs=3))
    assert "classes" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--data.workers", "1"), ("--run.device", "cpu")])
def test_an_unchanged_run_continues_itself(stopped, flags, capsys):
    assert more_of(stopped, *flags) == 0
    assert "continuing after step 3 of 10" in capsys.readouterr().err
    assert [path.name for path in stopped.parent.iterdir()] == ["stopped"]


def test_a_finished_run_needs_more_epochs(whole, capsys):
    for flags in (("--run.epochs", "1"), ("--optim.lr", "1e-4")):
        assert more_of(whole, *flags, "--out", str(whole.parent / "less")) == 2
        [error] = capsys.readouterr().err.strip().splitlines()
        assert not (whole.parent / "less").exists()
        assert "is at step 10, and --run.epochs" in error
        assert "--schedule restart" in error


def test_a_damaged_checkpoint_is_passed_over_and_left_alone(whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "damaged")
    steps = checkpoint_steps(run)
    file = checkpoint_path(run, steps[-1]) / "raw.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert last_whole_step(run) == steps[-2]
    assert checkpoint_steps(run) == steps
    for step in steps:
        (checkpoint_path(run, step) / "progress.json").unlink()
    with pytest.raises(UserError, match="no whole checkpoint"):
        last_whole_step(run)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder.mkdir(), "is not a run folder: it has no recipe.json"),
        (lambda folder: (folder.mkdir(), (folder / "recipe.json").write_text("[")), "cannot read"),
    ],
)
def test_folders_that_are_no_runs(tmp_path, make, words, capsys):
    make(tmp_path / "x")
    assert more_of(tmp_path / "x", "--run.epochs", "3") == 2
    assert words in capsys.readouterr().err


def test_a_run_without_a_checkpoint(whole, tmp_path, capsys):
    run = shutil.copytree(whole, tmp_path / "young", ignore=shutil.ignore_patterns("checkpoints"))
    assert more_of(run, "--run.epochs", "3") == 2
    assert "has no checkpoint yet (continue that run first)" in capsys.readouterr().err


def test_the_schedule_is_only_for_more_of_a_run(capsys):
    assert main(["train", "digits", "--schedule", "restart"]) == 2
    assert "--schedule restart is for more of a run" in capsys.readouterr().err


def test_the_rate_of_a_step_has_one_place():
    """The expectation of these tests is that of the package."""
    optim = Optim("adamw", lr=3e-3, warmup_epochs=2)
    assert all(learning_rate(optim, s, STEPS, 4) == pytest.approx(expected_rate(s, 4)) for s in range(20))


@pytest.mark.slow
def test_the_images_of_the_run_stay_on_their_sides(tmp_path, digits):
    """Images that came later are left out: a validation image of the new run was not trained on by the old one."""
    for label, name in enumerate("ab"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        for i in range(12):
            Image.new("RGB", (8, 8), (i + 100 * label,) * 3).save(tmp_path / "tree" / name / f"{i}.png")
    run, tree = tmp_path / "run", tmp_path / "tree"
    flags = ["--data.source", "folder", "--data.root", str(tree), "--data.workers", "0", "--data.batch-size", "8"]
    assert digits(run, *flags) == 0
    for i in range(20, 40):
        shutil.copy(tree / "a" / "0.png", tree / "a" / f"{i}.png")
    assert more_of(run, "--run.epochs", "3", "--data.root", str(tree.rename(tmp_path / "moved"))) == 0
    before, after = ((folder / "images.tsv").read_text().splitlines()[:-1] for folder in (run, tmp_path / "run-3"))
    assert before == after
    assert recipe_of_run(tmp_path / "run-3").data.root == str(tmp_path / "moved")


@pytest.mark.parametrize(
    ("field", "fixed"),
    [
        *((name, True) for name in ("kind", "label_map", "ignore_index", "reduce_zero_label", "out_dim", "width")),
        *((name, False) for name in ("balance", "label_smoothing", "temperature", "gamma_neg", "loss", "clip")),
    ],
)
def test_of_the_task_the_loss_may_change_and_the_meaning_of_labels_may_not(whole, monkeypatch, field, fixed):
    """The kind of each task is not tried: it is the name of the field that decides."""
    changes = [f"task.{field}: 0 -> 1", "run.epochs: 2 -> 3"]
    monkeypatch.setattr(more, "difference", lambda before, now: changes)
    monkeypatch.setattr(more, "train", lambda recipe, folder: "trained")
    recipe = base_recipe(whole)
    if fixed:
        with pytest.raises(UserError, match=f"cannot have another task.{field}: 0 -> 1"):
            more.train_more(whole, recipe)
    else:
        assert more.train_more(whole, recipe) == "trained"
