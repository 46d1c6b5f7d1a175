"""The long form: signals to torchrun, kills of any process, over all tasks. `make soak` runs it."""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import launch
import processes
import pytest
from test_processes import RECIPES_OF

from resmlp.config import Recipe
from resmlp.recipes import RECIPES
from resmlp.utils.files import write_json
from resmlp.utils.serialization import to_dict

pytestmark = pytest.mark.soak
ROUNDS = int(os.environ.get("SOAK_ROUNDS", 20))


def scenes(folder: Path) -> Recipe:
    base = RECIPES["scenes"]
    model = replace(base.model, patch_size=8, dim=32, depth=2)
    return replace(base, model=model, task=replace(base.task, width=8), run=replace(base.run, device="cpu"))


def numbers(folder: Path) -> Recipe:
    base = RECIPES["numbers"]
    model = replace(base.model, dim=32, hidden=64, encoder_depth=1, decoder_depth=1, dropout=0.1)
    task = replace(base.task, val_sentences=8, beam=1)
    return replace(base, model=model, task=task, run=replace(base.run, device="cpu"))


def recipe_file(make: Callable[[Path], Recipe], folder: Path, epochs: int = 2) -> Path:
    """A recipe of a few epochs that keeps a checkpoint of nearly every step."""
    recipe = make(folder)
    run = replace(recipe.run, epochs=epochs, log_every=1, save_minutes=0.002, log=(), eval_every=1)
    write_json(folder / "recipe.json", to_dict(replace(recipe, run=run)))
    return folder / "recipe.json"


@pytest.fixture(scope="module")
def slow_images(tmp_path_factory) -> Path:
    """Images whose decoding takes longer than a step."""
    return launch.noise_classes(tmp_path_factory.mktemp("slow"), "ab", 48, (1200, 1600))


@pytest.fixture(scope="module", params=["compute-bound", "loader-bound"])
def command(request, slow_images) -> list[str]:
    shape = ["--model.patch-size", "8", "--model.dim", "32", "--model.depth", "2", "--data.img-size", "32"]
    folder = ["folder", "--data.root", slow_images, *shape, "--data.batch-size", "8", "--optim.warmup-epochs", "0"]
    recipe = folder if request.param == "loader-bound" else ["digits", "--data.batch-size", "240"]
    many = ["--augment.mixup", "0.8", "--augment.erasing", "0.25", "--data.workers", "1", "--run.epochs", "3"]
    return ["train", *map(str, recipe), *many, *launch.SETTINGS]


@pytest.fixture(scope="module")
def undisturbed(command, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert launch.torchrun(*command, "--out", folder, log=folder.with_suffix(".log")).wait(300) == 0
    return folder


def send(to: str, run: launch.Launched, rank: int) -> None:
    """SIGTERM to the launcher, to its group, or to a rank."""
    if to == "launcher":
        run.send_signal(signal.SIGTERM)
    elif to == "group":
        launch.kill_group(run, signal.SIGTERM)
    else:
        os.kill(rank, signal.SIGTERM)


@pytest.mark.parametrize("to", ["launcher", "group", "rank"])
def test_torchrun_saves_on_a_signal_and_continues_to_the_same_bytes(tmp_path, command, undisturbed, to):
    saved = 0
    rng = random.Random(to)
    rounds = max(1, ROUNDS // 6)
    for number in range(rounds):
        folder, log = tmp_path / f"run{number}", tmp_path / f"run{number}.log"
        start = partial(launch.torchrun, *command, "--out", folder, log=log)
        run, instant = start(), rng.randrange(1, 10)
        launch.wait_for_step(run, folder, instant)
        time.sleep(rng.random() * 0.3)
        victim = launch.ranks(run)[rng.randrange(2)]
        send(to, run, victim)
        logged = launch.steps_logged(folder)
        run.wait(60)
        saved += logged <= launch.last_checkpoint(folder) <= logged + 1
        assert not [line for line in log.read_text().splitlines() if "a fault of resmlp" in line]
        launch.finish(start, folder)
        assert launch.content(folder) == launch.content(undisturbed), f"run {number}"
    assert saved == rounds


@pytest.mark.parametrize("make", [*RECIPES_OF[:1], *RECIPES_OF[3:], scenes, numbers], ids=lambda make: make.__name__)
def test_kills_at_any_instant_end_in_the_same_bytes(tmp_path, make):
    recipe, rng = recipe_file(make, tmp_path), random.Random(make.__name__)
    whole, torn = tmp_path / "whole", tmp_path / "torn"

    def start(folder: Path):
        return processes.resmlp("train", recipe, "--out", folder, log=folder.with_suffix(".log"))

    begin = time.monotonic()
    assert processes.end(start(whole), 600) == 0, whole.with_suffix(".log").read_text()
    seconds = time.monotonic() - begin
    for _ in range(ROUNDS // 2):
        process = start(torn)
        process.join(rng.random() * seconds / 2)
        if process.exitcode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
    assert processes.end(start(torn), 600) == 0, torn.with_suffix(".log").read_text()
    assert launch.content(torn) == launch.content(whole)
    assert "a fault of resmlp" not in torn.with_suffix(".log").read_text()


def test_kills_of_a_random_rank_under_restarts(tmp_path, undisturbed, command):
    """torchrun starts all processes again after one was killed; the run ends as if nothing had happened."""
    rng, ended = random.Random(7), 0
    for number in range(max(1, ROUNDS // 2)):
        folder, log = tmp_path / f"run{number}", tmp_path / f"run{number}.log"
        run = launch.torchrun(*command, "--run.save-minutes", "0.002", "--out", folder, log=log, restarts=3)
        instant = rng.randrange(1, 10)
        launch.wait_for_step(run, folder, instant)
        os.kill(launch.ranks(run)[rng.randrange(2)], signal.SIGKILL)
        ended += run.wait(300) == 0
        assert launch.content(folder) == launch.content(undisturbed), f"run {number}"
        assert json.loads((folder / "summary.json").read_text())["top1"]
    assert ended == max(1, ROUNDS // 2)
