"""The loop against bare PyTorch on toy tasks of every shape; what it does when a disk, a number or a process fails."""

import errno
import json
import math
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import processes
import pytest
import torch
from numeric import gamma
from torch import nn
from toys import STEPS, TOYS, Distill, SelfDistill, Toy

import resmlp
from resmlp.cli.main import main
from resmlp.metrics import Tally
from resmlp.models.weights import read_tensors
from resmlp.recipes import open_recipe
from resmlp.tasks import Supervised
from resmlp.training.ema import EpochAverage, MovingAverage
from resmlp.training.engine import Engine
from resmlp.training.muon import Muon
from resmlp.utils.errors import UserError
from resmlp.utils.files import read_json
from resmlp.utils.logger import read_metrics
from resmlp.utils.seeding import seed_all


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {key: tensor.detach().clone() for key, tensor in module.state_dict().items()}


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for key, tensor in ours.items():
        assert torch.equal(tensor, theirs[key]), key


# the loop itself


def rate(optim, step: int, epochs: int) -> float:
    epoch = step / STEPS
    if epoch < optim.warmup_epochs:
        return optim.warmup_lr + (optim.lr - optim.warmup_lr) * epoch / optim.warmup_epochs
    share = (epoch - optim.warmup_epochs) / (epochs - optim.warmup_epochs)
    return optim.min_lr + (optim.lr - optim.min_lr) * (1 + math.cos(math.pi * share)) / 2


class BareMuon:
    """The two optimizers side by side."""

    def __init__(self, matrices: list[nn.Parameter], others: list[nn.Parameter], decay: float):
        self.parts = (
            Muon(matrices, momentum=0.9, weight_decay=decay),
            torch.optim.AdamW(others, betas=(0.9, 0.999), weight_decay=0.0, fused=True),
        )
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def zero_grad(self) -> None:
        for part in self.parts:
            part.zero_grad()


def bare_loop(task: Toy, recipe) -> None:
    """A plain training loop without the engine."""
    from timm.optim import Lamb

    model, optim = task.model, recipe.optim
    decayed = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
    others = [p for p in model.parameters() if all(p is not q for q in decayed)]
    groups = [{"params": decayed, "weight_decay": optim.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = {
        "adamw": lambda: torch.optim.AdamW(groups, betas=(0.9, 0.999), fused=True),
        "sgd": lambda: torch.optim.SGD(groups, momentum=0.9),
        "lamb": lambda: Lamb(groups, betas=(0.9, 0.999)),
        "adagrad": lambda: torch.optim.Adagrad(groups, eps=1e-10),
        "muon": lambda: BareMuon(decayed, others, optim.weight_decay),
    }[optim.name]()
    model.train()
    step, parts = 0, recipe.run.accumulate
    for epoch in range(recipe.run.epochs):
        batches = iter(task.batches(epoch, 0))
        for _ in range(STEPS):
            for part in range(parts):
                seed_all(recipe.run.seed, step, part)
                (task.loss(model, next(batches), step)["loss"] / parts).backward()
            if optim.clip is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), optim.clip)
            for group in optimizer.param_groups:
                group["lr"] = rate(optim, step, recipe.run.epochs)
            optimizer.step()
            optimizer.zero_grad()
            step += 1


@pytest.mark.isa
@pytest.mark.parametrize("name", ["adamw", "sgd", "lamb", "adagrad", "muon"])
@pytest.mark.parametrize(("clip", "parts"), [(None, 1), (0.05, 1), (0.05, 2)])
def test_the_engine_is_bit_identical_to_a_plain_loop(engine, toy_recipe, name, clip, parts):
    recipe = toy_recipe({"name": name, "clip": clip}, epochs=3, accumulate=parts, seed=5)
    ours, bare = (Toy(parts, dropout=0.2) for _ in range(2))
    engine(ours, recipe).fit()
    bare_loop(bare, recipe)
    assert_same(weights(ours.model), weights(bare.model))


@pytest.mark.isa
def test_gradients_are_clipped_to_the_norm_of_all_of_them(engine, toy_recipe):
    """With plain SGD (no momentum) and learning rate 1, a step is the gradient itself."""
    optim = {"name": "sgd", "lr": 1.0, "momentum": 0.0, "weight_decay": 0.0, "warmup_epochs": 0, "clip": 0.01}
    task = Toy()
    before = weights(task.model)
    loss = task.loss(task.model, task.whole(0, 0), 0)["loss"]
    gradients = dict(zip(before, torch.autograd.grad(loss, list(task.model.parameters()))))
    norm = torch.cat([g.flatten() for g in gradients.values()]).norm()
    assert norm > 0.01
    after = {}

    def remember(model, step):
        after.setdefault("first", weights(model))

    task.after_step = remember
    engine(task, toy_recipe(optim, epochs=1)).fit()
    count = sum(tensor.numel() for tensor in before.values())  # squares in the sum of the norm
    for key, tensor in after["first"].items():
        step = gradients[key].double() * 0.01 / norm.double()
        errors = (tensor - (before[key].double() - step)).abs()
        assert (errors <= gamma(2) * before[key].abs() + gamma(count) * step.abs()).all(), key


@pytest.mark.isa
@pytest.mark.parametrize("name", ["regression", "distill"])
@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_parts_are_one_batch(engine, toy_recipe, name, parts):
    """For losses that are means over samples. With SGD: AdamW would divide a gradient's rounding by the gradient."""
    one, many = TOYS[name](), TOYS[name](parts=parts)
    optim = {"name": "sgd", "lr": 1e-3, "momentum": 0.0}
    engine(one, toy_recipe(optim), "one").fit()
    engine(many, toy_recipe(optim, accumulate=parts), "many").fit()
    for key, tensor in weights(one.model).items():
        torch.testing.assert_close(weights(many.model)[key], tensor, atol=1e-6, rtol=0)


@pytest.mark.isa
def test_average_is_the_weighted_sum_of_all_weights(engine, toy_recipe):
    """w_n = prod(d) w_0 + sum over i of (1 - d_i) prod of later d times w_i, with d_i = min(decay, (1+i) / (10+i))."""
    task = Toy()
    history = [weights(task.model)]
    task.after_step = lambda model, step: history.append(weights(model))
    made = engine(task, toy_recipe(epochs=6, ema=0.6))
    made.fit()
    decays = [min(0.6, (1 + i) / (10 + i)) for i in range(24)]
    assert len(history) == 25
    for key, tensor in weights(made.averages["ema"].module).items():
        expected, largest = history[0][key].double() * math.prod(decays), torch.stack([h[key].abs() for h in history])
        for i, decay in enumerate(decays):
            expected += (1 - decay) * math.prod(decays[i + 1 :]) * history[i + 1][key].double()
        assert ((tensor - expected).abs() <= gamma(4 * 24) * largest.amax(0)).all(), key


def test_average_copies_buffers_and_is_not_trained():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = MovingAverage(model, 0.9)
    model(torch.randn(8, 2))
    average.after_step(model, 3)
    assert torch.equal(average.module[1].running_mean, model[1].running_mean)
    assert average.module[1].num_batches_tracked == 1
    assert not any(p.requires_grad for p in average.module.parameters())


@pytest.mark.isa
@pytest.mark.parametrize(("count", "epochs"), [(1, 3), (3, 5), (4, 2)])
def test_the_mean_of_the_last_epochs_is_that_of_the_weights_at_their_ends(engine, toy_recipe, count, epochs):
    task, ends = Toy(), []
    task.after_step = lambda model, step: ends.append(weights(model)) if (step + 1) % STEPS == 0 else None
    made = engine(task, toy_recipe(epochs=epochs, average=count))
    progress = made.fit()
    for key, tensor in weights(made.kinds["avg"]).items():
        expected = sum(end[key].double() for end in ends[-count:]) / min(count, epochs)
        largest = torch.stack([end[key].abs() for end in ends[-count:]]).amax(0)
        assert ((tensor - expected).abs() <= gamma(4 * count) * largest).all(), key
    assert {entry["weights"] for entry in read_metrics(made.folder) if entry["kind"] == "eval"} == {"raw", "avg"}
    assert set(progress.last) == {"raw", "avg"}
    assert_same(read_tensors(made.checkpoints.path(epochs * STEPS) / "avg.safetensors"), weights(made.kinds["avg"]))


def test_a_mean_of_epochs_copies_integers():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = EpochAverage(model, 2)
    for _ in range(3):
        model(torch.randn(8, 2))
        average.after_epoch(model)
    assert average.module[1].num_batches_tracked == 3
    assert not any(p.requires_grad for p in average.module.parameters())


def test_each_step_has_the_scheduled_learning_rate_in_the_log(engine, toy_recipe):
    recipe, rates, task = toy_recipe(epochs=3), [], Toy()
    made = engine(task, recipe)
    task.after_step = lambda model, step: rates.append([group["lr"] for group in made.optimizer.param_groups])
    made.fit()
    expected = [rate(recipe.optim, step, 3) for step in range(12)]
    assert rates == [pytest.approx([lr, lr]) for lr in expected]
    logged = [entry for entry in read_metrics(made.folder) if entry["kind"] == "train"]
    assert [entry["step"] for entry in logged] == list(range(1, 13))
    assert [entry["lr"] for entry in logged] == pytest.approx(expected)


def test_the_log_has_the_mean_of_each_loss_since_its_last_line(engine, toy_recipe):
    fine, coarse = (engine(Distill(), toy_recipe(log_every=n), f"log{n}") for n in (1, 4))
    fine.fit()
    coarse.fit()
    every, fourth = ([e for e in read_metrics(m.folder) if e["kind"] == "train"] for m in (fine, coarse))
    assert [entry["step"] for entry in fourth] == [4, 8]
    for key in ("loss", "hard", "soft"):
        values = [entry[key] for entry in every]
        assert [entry[key] for entry in fourth] == pytest.approx([sum(values[:4]) / 4, sum(values[4:]) / 4])


def test_evaluation_keeps_the_best_of_both_kinds_of_weights(engine, toy_recipe):
    task = Toy()
    scores = iter([0.1, 0.5, 0.4, 0.45])  # raw, ema, raw, ema
    task.evaluate = lambda model: [("score", next(scores))]
    progress = engine(task, toy_recipe(epochs=2, ema=0.9)).fit()
    assert progress.best == {"weights": "ema", "epoch": 1, "step": 4, "score": 0.5}
    assert {kind: entry["score"] for kind, entry in progress.last.items()} == {"raw": 0.4, "ema": 0.45}


def test_of_several_zeros_the_last_evaluation_is_the_best(engine, toy_recipe):
    task = Toy()
    scores = iter([0.0, 0.0, 0.0])
    task.evaluate = lambda model: [("score", next(scores))]
    progress = engine(task, toy_recipe(epochs=3)).fit()
    assert progress.best == {"weights": "raw", "epoch": 3, "step": 12, "score": 0.0}


def test_the_last_two_and_the_best_checkpoints_are_kept(engine, toy_recipe):
    task = Toy()
    scores = iter([0.1, 0.5, 0.4, 0.3])
    task.evaluate = lambda model: [("score", next(scores))]
    made = engine(task, toy_recipe(epochs=4))
    made.fit()
    assert made.checkpoints.steps() == [8, 12, 16]


def test_evaluation_runs_every_n_epochs_and_at_the_end(engine, toy_recipe):
    made = engine(Toy(), toy_recipe(epochs=5, eval_every=2))
    made.fit()
    assert [entry["epoch"] for entry in read_metrics(made.folder) if entry["kind"] == "eval"] == [2, 4, 5]


def test_the_model_trains_in_training_mode_and_is_evaluated_without_gradient(engine, toy_recipe):
    task, modes = Toy(), []
    loss, evaluate = task.loss, task.evaluate
    task.loss = lambda m, b, s: modes.append((m.training, torch.is_grad_enabled())) or loss(m, b, s)
    task.evaluate = lambda m: modes.append((m.training, torch.is_grad_enabled())) or evaluate(m)
    engine(task, toy_recipe(epochs=2)).fit()
    epoch = [(True, True)] * STEPS + [(False, False)]
    assert modes == epoch * 2


# tasks of every shape


@pytest.mark.parametrize("name", TOYS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_task_of_any_shape_trains_and_improves(engine, toy_recipe, name, precision):
    task = TOYS[name]()
    made = engine(task, toy_recipe({"lr": 3e-2}, epochs=8, ema=0.8, precision=precision))
    progress = made.fit()
    assert progress.step == 8 * STEPS
    assert math.isfinite(progress.best[task.metric])
    losses = [entry["loss"] for entry in read_metrics(made.folder) if entry["kind"] == "train"]
    assert all(math.isfinite(loss) for loss in losses)
    if name != "self-distill":  # it agrees with a moving target
        assert sum(losses[-4:]) < sum(losses[:4])


def test_bf16_computes_in_bf16_and_keeps_weights_in_fp32(engine, toy_recipe):
    task, kinds = Toy(), set()
    task.model[-1].register_forward_hook(lambda module, inputs, output: kinds.add(output.dtype))
    engine(task, toy_recipe(precision="bf16")).fit()
    assert kinds == {torch.bfloat16}
    assert {p.dtype for p in task.model.parameters()} == {torch.float32}


def test_a_frozen_teacher_is_neither_trained_nor_saved(engine, toy_recipe):
    task = Distill()
    before = weights(task.teacher)
    made = engine(task, toy_recipe())
    made.fit()
    assert_same(weights(task.teacher), before)
    assert not task.teacher.training
    saved = {path.name for path in made.checkpoints.path(8).iterdir()}
    assert saved == {"raw.safetensors", "optimizer.pt", "progress.json"}


def test_state_is_saved_but_not_optimized(engine, toy_recipe):
    task = SelfDistill()
    made = engine(task, toy_recipe())
    optimized = {id(p) for group in made.optimizer.param_groups for p in group["params"]}
    assert optimized == {id(p) for p in task.model.parameters()}
    made.fit()
    assert_same(read_tensors(made.checkpoints.path(8) / "task.safetensors"), weights(task.state))
    assert task.state.center.abs().sum() > 0


@pytest.mark.parametrize("name", TOYS)
@pytest.mark.parametrize("parts", [1, 2])
def test_every_task_continues_bit_identically_within_an_epoch(engine, toy_recipe, name, parts):
    recipe = toy_recipe({"name": "lamb"}, epochs=3, accumulate=parts, ema=0.9, average=2)
    whole = engine(TOYS[name](parts=parts), recipe, "whole")
    whole.fit()

    task = TOYS[name](parts=parts)
    after_step = task.after_step

    def interrupted(model, step):
        after_step(model, step)
        if step == STEPS + 1:
            os.kill(os.getpid(), signal.SIGINT)

    task.after_step = interrupted
    with pytest.raises(KeyboardInterrupt):
        engine(task, recipe, "torn").fit()

    again = engine(TOYS[name](parts=parts), recipe, "torn")
    progress = again.fit()
    assert again.task.seen[0] == (1, 2 * parts), "the epoch goes on where it stopped"
    for kind, module in whole.checkpoints.modules.items():
        assert_same(weights(again.checkpoints.modules[kind]), weights(module))
    assert progress.best == whole.progress.best
    assert progress.last == whole.progress.last


def test_signal_handlers_are_restored(engine, toy_recipe):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    engine(Toy(), toy_recipe()).fit()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_second_ctrl_c_stops_at_once(engine, toy_recipe):
    task = Toy()
    loss = task.loss

    def twice(model, batch, step):
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return loss(model, batch, step)

    task.loss = twice
    made = engine(task, toy_recipe())
    with pytest.raises(KeyboardInterrupt):
        made.fit()
    assert made.checkpoints.steps() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_first_step_stops_at_once(engine, toy_recipe, number):
    """The first step may compile for minutes, and there is nothing to save."""
    task, reached = Toy(), []

    def compiling(model, batch, step):
        os.kill(os.getpid(), number)
        reached.append(step)

    task.loss = compiling
    made = engine(task, toy_recipe())
    with pytest.raises(KeyboardInterrupt) as stop:
        made.fit()
    assert stop.value.exit_code == 128 + number
    assert not reached
    assert made.checkpoints.steps() == []


@pytest.mark.parametrize(
    ("signaled", "failure", "seen"),
    [
        (True, RuntimeError, KeyboardInterrupt),
        (True, lambda what: UserError(what, "free some"), UserError),
        (False, RuntimeError, RuntimeError),
    ],
)
def test_a_failure_after_ctrl_c_is_an_interruption(engine, toy_recipe, signaled, failure, seen):
    task = Toy()
    loss = task.loss

    def failing(model, batch, step):
        if step < 2:
            return loss(model, batch, step)
        if signaled:
            os.kill(os.getpid(), signal.SIGINT)
        raise failure("what was waited for ended")

    task.loss = failing
    with pytest.raises(seen):
        engine(task, toy_recipe()).fit()


# numbers that are none


def poisoned(task: Toy, at: int, value: float) -> Toy:
    loss = task.loss
    task.loss = lambda m, b, s: {k: v * value if s == at else v for k, v in loss(m, b, s).items()}
    return task


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("at", "good"), [(2, None), (6, 4)])
def test_a_loss_that_is_not_finite_stops_the_run_with_a_hint(engine, toy_recipe, value, at, good):
    made = engine(poisoned(Toy(), at, value), toy_recipe())
    with pytest.raises(UserError) as caught:
        made.fit()
    message = str(caught.value)
    assert f"step {at} " in message
    assert f"lr {rate(made.recipe.optim, at, 2):.3g}" in message
    assert (str(made.checkpoints.path(good)) if good else "no checkpoint") in message
    assert "\n" not in message
    assert made.checkpoints.steps() == ([good] if good else [])


# A gradient that is no number, under a loss that is one, ruins the weights; a checkpoint may follow at once.
@pytest.mark.parametrize("at", [3, 7], ids=["at the end of an epoch", "at the end of the run"])
def test_no_checkpoint_has_weights_that_are_not_finite(engine, toy_recipe, at):
    task = Toy()
    loss = task.loss

    def bad_gradient(model, batch, step):
        losses = loss(model, batch, step)
        if step == at:
            losses["loss"].register_hook(lambda gradient: gradient * float("nan"))
        return losses

    task.loss = bad_gradient
    made = engine(task, toy_recipe())
    with pytest.raises(UserError):
        made.fit()
    for step in made.checkpoints.steps():
        tensors = read_tensors(made.checkpoints.path(step) / "raw.safetensors")
        assert all(tensor.isfinite().all() for tensor in tensors.values()), f"checkpoint of step {step}"


# a disk that is full


@pytest.mark.parametrize(
    ("target", "name"), [(Path, "write_bytes"), (Path, "write_text"), (os, "fsync"), (torch, "save")]
)
def test_a_full_disk_keeps_the_old_checkpoint(engine, toy_recipe, monkeypatch, target, name):
    whole = engine(Toy(), toy_recipe(), "whole")
    whole.fit()
    task, evaluated, real = Toy(), [], getattr(target, name)
    evaluate = task.evaluate
    task.evaluate = lambda model: evaluated.append(model) or evaluate(model)

    def full(*args, **kwargs):
        if len(evaluated) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **kwargs)

    made = engine(task, toy_recipe(), "full")
    with monkeypatch.context() as patch:
        patch.setattr(target, name, full)
        with pytest.raises(UserError) as caught:
            made.fit()
    message = str(caught.value)
    assert "No space left" in message
    assert "step-00000008" in message
    assert "\n" not in message
    assert made.checkpoints.steps() == [4]
    assert not list((made.folder / "checkpoints").glob(".*"))
    again = engine(Toy(), toy_recipe(), "full")
    again.fit()
    assert_same(weights(again.raw), weights(whole.raw))


def test_a_full_disk_in_the_log_is_an_error_in_one_line(engine, toy_recipe, monkeypatch):
    made, real = engine(Toy(), toy_recipe()), Path.open

    def full(self, *args, **kwargs):
        if self.name == "metrics.jsonl":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(UserError, match=r"metrics\.jsonl"):
        made.fit()


def test_a_file_size_limit_is_an_error_in_one_line(tmp_path, digits, interrupt_at):
    """The kernel limits the size of a file, similar to a full disk."""
    folder = tmp_path / "run"
    interrupt_at(2)
    assert digits(folder) == 130
    sizes = {path.name: path.stat().st_size for path in (folder / "checkpoints" / "step-00000003").iterdir()}
    limit = (sizes["raw.safetensors"] + sizes["optimizer.pt"]) // 2
    assert sizes["raw.safetensors"] < limit < sizes["optimizer.pt"]

    def on_a_small_disk() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        return digits(folder)

    log = tmp_path / "log"
    assert processes.end(processes.start(on_a_small_disk, log=log)) == 2, log.read_text()
    assert "Traceback" not in log.read_text()
    lines = [line for line in log.read_text().splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, log.read_text()
    assert "step-00000005" in lines[0]
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-00000003"]
    assert digits(folder) == 0


# whole runs


@pytest.fixture
def train(tmp_path) -> Callable[..., dict]:
    """`train(folder, **run)`: the summary of a small run on the digits, from the same initial weights."""

    def train(folder: str, *, model: dict | None = None, **run) -> dict:
        recipe = open_recipe("digits")
        settings = {"epochs": 1, "log": (), "device": "cpu", "log_every": 1, "eval_every": 1} | run
        recipe = replace(
            recipe,
            model=replace(recipe.model, depth=1, **(model or {})),
            data=replace(recipe.data, batch_size=360),
            run=replace(recipe.run, **settings),
        )
        torch.manual_seed(0)
        return resmlp.train(recipe, tmp_path / folder).to_dict()

    return train


def model_bytes(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_the_seed_determines_the_initial_weights(tmp_path):
    digits = open_recipe("digits")
    still = replace(digits.optim, lr=1e-30, warmup_lr=0.0, weight_decay=0.0)

    def first_weights(seed: int, noise: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(noise)
        out, model = tmp_path / f"{seed}-{noise}", replace(digits.model, depth=1)
        run = replace(digits.run, epochs=1, seed=seed, log=(), device="cpu", ema=None)
        data = replace(digits.data, batch_size=1024)
        resmlp.train(replace(digits, model=model, data=data, run=run, optim=still), out)
        return read_tensors(out / "model.safetensors")

    one = first_weights(1, noise=1)
    assert_same(first_weights(1, noise=2), one)
    assert not torch.equal(first_weights(2, noise=1)["head.weight"], one["head.weight"])


def test_checkpointed_activations_change_nothing(tmp_path, train):
    """With stochastic depth: both forward passes must drop the same sublayers."""
    train("plain", model={"drop_path": 0.3})
    train("saving", model={"drop_path": 0.3}, checkpoint_activations=True)
    assert model_bytes(tmp_path / "plain") == model_bytes(tmp_path / "saving")


def test_a_finished_run_is_not_trained_again(tmp_path, train, monkeypatch):
    first = train("run")
    written = model_bytes(tmp_path / "run"), (tmp_path / "run" / "metrics.jsonl").read_bytes()
    monkeypatch.setattr(Engine, "step", lambda *_: pytest.fail("a step was done"))
    assert train("run") == json.loads(json.dumps(first))
    assert (model_bytes(tmp_path / "run"), (tmp_path / "run" / "metrics.jsonl").read_bytes()) == written


def test_a_run_folder_is_complete(tmp_path, train):
    summary = train("run", ema=0.9)
    folder = tmp_path / "run"
    assert read_json(folder / "summary.json") == summary
    assert {"top1", "top5", "seconds", "samples_per_s", "device", "versions", "parameters", "unreadable"} <= set(
        summary
    )
    assert summary["top1"] == summary["best"]["top1"] == max(entry["top1"] for entry in summary["last"].values())
    assert open_recipe(str(folder / "recipe.json")).run.ema == 0.9
    saved = read_tensors(folder / "checkpoints" / "step-00000003" / f"{summary['weights']}.safetensors")
    assert_same(read_tensors(folder / "model.safetensors"), saved)


def test_a_second_run_into_the_folder_is_an_error(tmp_path, train):
    (tmp_path / "run").mkdir()
    code = (
        "import fcntl, sys; lock = open(sys.argv[1], 'a'); fcntl.flock(lock, fcntl.LOCK_EX);"
        "fcntl.lockf(lock, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run" / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process is training"):
            train("run")
        other.stdin.close()
    train("run")


def test_another_recipe_is_an_error_with_the_fields(tmp_path, train):
    train("run")
    with pytest.raises(UserError, match=r"run\.seed: 0 -> 3; run\.ema: 0\.99 -> 0\.5"):
        train("run", seed=3, ema=0.5)
    train("run", log_every=2, save_minutes=3)  # these change nothing that is learned


def test_counts_of_unreadable_images_continue(tmp_path, digits, interrupt_at, monkeypatch):
    from resmlp.data import UnreadableImage
    from resmlp.imaging.image_file import Pixels

    def damaged(real):
        def read(self, *how):
            if self.name == "digit 7":
                raise UnreadableImage("digit 7", "it is damaged")
            return real(self, *how)

        return read

    for way in ("read", "read_region"):
        monkeypatch.setattr(Pixels, way, damaged(getattr(Pixels, way)))
    assert digits(tmp_path / "whole", "--data.batch-size", "1437") == 0
    whole = read_json(tmp_path / "whole" / "summary.json")["unreadable"]
    assert whole == {"digit 7": 2}
    interrupt_at(0)
    assert digits(tmp_path / "torn", "--data.batch-size", "1437") == 130
    assert digits(tmp_path / "torn", "--data.batch-size", "1437") == 0
    assert read_json(tmp_path / "torn" / "summary.json")["unreadable"] == whole


@pytest.mark.slow
def test_a_compiled_run_agrees_with_a_plain_run(tmp_path, train):
    train("plain", ema=None)
    train("compiled", ema=None, compile=True)
    plain, compiled = (read_tensors(tmp_path / name / "model.safetensors") for name in ("plain", "compiled"))
    assert plain.keys() == compiled.keys()
    for key, tensor in plain.items():
        torch.testing.assert_close(compiled[key], tensor, atol=1e-3, rtol=1e-2)


def train_and_record(folder: Path, *args: str) -> int:
    """Train, and write what this process of a group saw and measured to `folder`."""
    record: dict = {"seen": [], "tallies": [], "evaluated": []}
    batches, evaluate, scores = Supervised.batches, Supervised.evaluate, Tally.scores

    def recorded(self, epoch, start):
        for batch in batches(self, epoch, start):
            record["seen"].append([epoch, [image.numpy().tobytes().hex() for image in batch["image"]]])
            record["rank"] = self.process.rank
            yield batch

    def measured(self, model):
        record["evaluated"].append([float(p.double().sum()) for p in model.parameters()])
        return evaluate(self, model)

    def counted(self):
        record["tallies"].append(self.images)
        return scores(self)

    Supervised.batches, Supervised.evaluate, Tally.scores = recorded, measured, counted  # in a process of its own
    code = main(["train", *args])
    (folder / f"rank{record['rank']}.json").write_text(json.dumps(record))
    return code


def test_two_processes_train_one_model(tmp_path, train):
    """As one process with the same batch, as no augmentation is drawn; and each image is counted once."""
    alone = train("one", ema=0.9)
    recipe = str(tmp_path / "one" / "recipe.json")
    still = ("--augment.crop", "center", "--data.workers", "0")
    said = processes.together(
        train_and_record, tmp_path, recipe, "--out", str(tmp_path / "two"), *still, folder=tmp_path
    )
    assert "2 processes" in said[0]

    ranks = [read_json(tmp_path / f"rank{rank}.json") for rank in (0, 1)]
    images = [[image for _, pixels in rank["seen"] for image in pixels] for rank in ranks]
    assert len(images[0]) == len(images[1]) == 3 * 180
    assert not set(images[0]) & set(images[1])
    assert [rank["tallies"] for rank in ranks] == [[360, 360]] * 2
    assert ranks[0]["evaluated"] == ranks[1]["evaluated"], "the averaged weights are the same in every process, too"

    files = {path.name for path in (tmp_path / "two").iterdir()}
    assert files == {path.name for path in (tmp_path / "one").iterdir()}
    summary = read_json(tmp_path / "two" / "summary.json")
    assert summary.keys() == alone.keys()
    lines = (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 3 + 2, "one process writes"

    together = read_tensors(tmp_path / "two" / "model.safetensors")
    assert main(["train", recipe, "--out", str(tmp_path / "again"), *still]) == 0
    for key, tensor in read_tensors(tmp_path / "again" / "model.safetensors").items():
        torch.testing.assert_close(together[key], tensor, atol=2e-4, rtol=1e-2)
    assert summary["top1"] == pytest.approx(read_json(tmp_path / "again" / "summary.json")["top1"], abs=0.02)
