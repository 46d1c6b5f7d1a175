"""Run folders with one damage each: the same command ends in the same bytes, or in one line; never in other bytes."""

import json
import os
import random
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from launch import content, noise_classes

from resmlp.cli.main import main
from resmlp.tasks import Supervised
from resmlp.utils.files import remove

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
        "--run.log",
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


def replace(path: Path, kind: str) -> None:
    """Put something of a kind that is not expected in the place of a file or folder."""
    remove(path)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "link":
        path.symlink_to("nowhere")
    elif kind == "folder":
        (path / "x").mkdir(parents=True)
    else:
        path.write_text(kind)


@pytest.fixture
def run(root, stopped, tmp_path, capfd):
    """A copy of the stopped run; `run.go()` continues it and returns the exit code and standard error."""
    folder = tmp_path / "run"
    shutil.copytree(stopped, folder)

    def go() -> tuple[int, str]:
        capfd.readouterr()
        return main(command(root, folder)), capfd.readouterr().err

    steps = sorted(folder.glob("checkpoints/step-*"))
    return SimpleNamespace(folder=folder, go=go, steps=steps, last=steps[-1])


@pytest.mark.usefixtures("draft_figures")
@pytest.mark.parametrize("kind", ["pipe", "device", "link", "folder"])
@pytest.mark.parametrize("name", ["raw.safetensors", "ema.safetensors", "optimizer.pt", "progress.json"])
def test_the_checkpoint_before_one_with_a_file_of_another_kind_continues(run, whole, name, kind):
    replace(run.last / name, kind)
    code, err = run.go()
    assert code == 0, err
    assert f"{run.last} is damaged: {run.last / name} is a" in err
    assert content(run.folder) == content(whole)


@pytest.mark.parametrize("kind", ["pipe", "device", "link", "folder"])
@pytest.mark.parametrize("name", ["metrics.jsonl", "images.tsv", "recipe.json", "model.safetensors", "report.html"])
def test_a_file_of_a_run_that_is_none_is_named_before_training(run, name, kind):
    replace(run.folder / name, kind)
    code, err = run.go()
    assert code == 2
    words = {"pipe": "a pipe or a device", "device": "a pipe or a device", "link": "a broken link"}.get(
        kind, "a folder"
    )
    assert err == f"error: {run.folder / name} is {words}, not a file (move it away, or restore the file)\n"


@pytest.mark.parametrize("kind", ["text", "pipe", "device", "link"])
@pytest.mark.parametrize("name", ["checkpoints", "figures"])
def test_a_folder_of_a_run_that_is_none_is_named_before_training(run, name, kind):
    replace(run.folder / name, kind)
    code, err = run.go()
    assert code == 2
    assert err == f"error: {run.folder / name} is not a folder (move it away, or choose another --out)\n"


@pytest.mark.usefixtures("draft_figures")
@pytest.mark.parametrize("kind", ["text", "pipe", "device", "link", "folder"])
def test_what_a_killed_run_left_is_removed_whatever_it_is(run, whole, kind):
    last = max(whole.glob("checkpoints/step-*")).name
    for path in ("recipe.json", "model.safetensors", "summary.json", f"checkpoints/{last}"):
        replace((run.folder / path).with_name(f".{Path(path).name}.part"), kind)
    code, err = run.go()
    assert code == 0, err
    assert content(run.folder) == content(whole)
    assert not list(run.folder.rglob(".*.part"))


@pytest.mark.usefixtures("draft_figures")
def test_a_damaged_checkpoint_gets_a_free_name(run, whole):
    checkpoints, name = run.last.parent, run.last.name.replace("step", "damaged")
    replace(checkpoints / name, "kept")
    replace(checkpoints / f"{name}-2", "folder")
    replace(checkpoints / f"{name}-3", "link")
    (run.last / "raw.safetensors").write_bytes(b"")
    code, err = run.go()
    assert code == 0, err
    assert f"it is {name}-4 now" in err
    assert (checkpoints / name).read_text() == "kept"
    assert (checkpoints / f"{name}-4" / "optimizer.pt").exists()
    assert content(run.folder) == content(whole)


@pytest.mark.usefixtures("draft_figures")
def test_each_damaged_checkpoint_is_named(run, whole):
    shutil.copytree(run.last, run.last.with_name("step-00000099"))
    (run.last / "optimizer.pt").unlink()
    code, err = run.go()
    assert code == 0, err
    for path in (run.last, run.last.with_name("step-00000099")):
        assert f"note: {path} is damaged: " in err
    assert content(run.folder) == content(whole)


def test_each_checkpoint_is_named_where_none_is_whole(run):
    for path in run.steps:
        (path / "raw.safetensors").write_bytes(b"")
    code, err = run.go()
    assert code == 2
    for path in run.steps:
        assert f"note: {path} is damaged: raw.safetensors has other bytes than were written\n" in err
    names = ", ".join(path.name for path in reversed(run.steps))
    hint = "remove that folder, and the run starts over"
    assert err.endswith(f"error: no checkpoint in {run.last.parent} is whole: {names} ({hint})\n")
    assert run.steps == sorted(run.last.parent.iterdir())


@pytest.mark.usefixtures("draft_figures")
def test_a_run_without_its_list_of_images_says_so(run, whole):
    (run.folder / "images.tsv").unlink()
    code, err = run.go()
    assert code == 0
    (note,) = [line for line in err.splitlines() if line.startswith("note: ")]
    assert note.startswith(f"note: {run.folder / 'images.tsv'} is gone: whether the images are still those of the run")
    assert (run.folder / "images.tsv").read_bytes() == (whole / "images.tsv").read_bytes()
    assert content(run.folder) == content(whole)


@pytest.mark.usefixtures("draft_figures")
@pytest.mark.parametrize("line", ['{"kind": "train", "step": "x", "loss": []}', "[" * 100_000], ids=["types", "deep"])
def test_a_damaged_log_does_not_end_training_or_evaluation(run, whole, line):
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write(f"{line}\n")
    code, err = run.go()
    assert code == 0, err
    assert content(run.folder) == content(whole)
    assert main(["eval", str(run.folder), "--device", "cpu"]) == 0


@pytest.mark.parametrize("kind", ["pipe", "device", "link", "folder"])
def test_evaluation_names_a_list_of_images_of_another_kind(whole, tmp_path, kind, capfd):
    folder = shutil.copytree(whole, tmp_path / "run")
    replace(folder / "images.tsv", kind)
    assert main(["eval", str(folder), "--device", "cpu"]) == 2
    assert f"error: {folder / 'images.tsv'} is a" in capfd.readouterr().err


@pytest.mark.usefixtures("draft_figures")
@pytest.mark.parametrize("kind", ["pipe", "device", "link", "folder"])
def test_evaluation_reads_no_log_and_no_figure_of_another_kind(whole, tmp_path, kind):
    folder = shutil.copytree(whole, tmp_path / "run")
    replace(folder / "metrics.jsonl", kind)
    replace(folder / "figures" / "other.png", kind)
    assert main(["eval", str(folder), "--device", "cpu"]) == 0
