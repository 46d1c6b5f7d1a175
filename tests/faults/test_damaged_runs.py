"""Run folders with one damage each: the same command ends in the same bytes, or in one line; never in other bytes."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest
from launch import content, noise_classes

from resmlp.cli.main import main
from resmlp.tasks import Supervised

SHORT = 12
MANY = int(os.environ.get("SOAK_ROUNDS", 150))
NUMBERS = [10**9, -5, "7", 3.5, None, [], {}, True, float("inf")]


def command(root: Path, folder: Path) -> list[str]:
    shape = ["--model.patch-size", "8", "--model.dim", "16", "--model.depth", "1", "--data.img-size", "16"]
    run = [
        "--run.epochs",
        "3",
        "--run.ema",
        "0.9",
        "--run.no-tensorboard",
        "--run.device",
        "cpu",
        "--run.log-every",
        "1",
    ]
    data = ["--data.root", str(root), "--data.batch-size", "8", "--data.workers", "0", "--optim.warmup-epochs", "0"]
    return ["train", "folder", *data, *shape, *run, "--out", str(folder)]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return noise_classes(tmp_path_factory.mktemp("data"), "abc", 10, (20, 20))


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert main(command(root, folder)) == 0
    return folder


@pytest.fixture(scope="module")
def stopped(root, whole, tmp_path_factory) -> Path:
    """A run that was interrupted in its second epoch, with two checkpoints."""
    folder, loss = tmp_path_factory.mktemp("stopped") / "run", Supervised.loss
    with pytest.MonkeyPatch.context() as patch:

        def interrupted(self, model, batch, step):
            if step == self.steps_per_epoch + 1:
                os.kill(os.getpid(), 2)
            return loss(self, model, batch, step)

        patch.setattr(Supervised, "loss", interrupted)
        assert main(command(root, folder)) == 130
    assert len(list(folder.glob("checkpoints/step-*"))) == 2
    return folder


def damage(folder: Path, rng: random.Random) -> str:
    """Damage one file of a run; returns what was done."""
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".html", ".png", ".svg")
    )
    file = rng.choice([path for path in files if path.name != ".lock"])
    data, kind = bytearray(file.read_bytes()), rng.choice(["flip", "cut", "empty", "gone", "folder", "zeros", "value"])
    if kind == "value" and file.suffix == ".json":
        values = json.loads(data)
        change(values, rng)
        file.write_text(json.dumps(values))
    elif kind in ("gone", "folder"):
        file.unlink()
        if kind == "folder":
            file.mkdir()
    else:
        if kind == "cut":
            del data[rng.randrange(len(data)) :]
        elif kind == "empty":
            data.clear()
        elif kind == "zeros":
            data[:] = bytes(len(data))
        else:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        file.write_bytes(data)
    return f"{kind} {file.relative_to(folder)}"


def change(values: object, rng: random.Random) -> None:
    """Replace one value somewhere in JSON values."""
    while isinstance(values, dict | list) and values:
        key = rng.choice(sorted(values)) if isinstance(values, dict) else rng.randrange(len(values))
        if not isinstance(values[key], dict | list) or not values[key] or rng.random() < 0.2:
            values[key] = rng.choice(NUMBERS)
            return
        values = values[key]


def check(seed: int, root: Path, stopped: Path, whole: Path, folder: Path, capfd) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(stopped, folder)
    what = damage(folder, random.Random(seed))
    capfd.readouterr()
    code = main(command(root, folder))
    err = capfd.readouterr().err
    assert "Traceback" not in err, what
    assert code in (0, 2), f"{what}: {code}\n{err}"
    if code == 0:
        assert content(folder) == content(whole), f"{what}: other bytes\n{err}"
    else:
        assert err.splitlines()[-1].startswith("error: "), f"{what}\n{err}"


@pytest.mark.usefixtures("draft_figures")
def test_a_damaged_run(root, stopped, whole, tmp_path, capfd):
    for seed in range(SHORT):
        check(seed, root, stopped, whole, tmp_path / "run", capfd)


@pytest.mark.soak
@pytest.mark.usefixtures("draft_figures")
def test_many_damaged_runs(root, stopped, whole, tmp_path, capfd):
    for seed in range(SHORT, SHORT + MANY):
        check(seed, root, stopped, whole, tmp_path / "run", capfd)
