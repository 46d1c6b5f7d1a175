"""Trackers: real files of TensorBoard, and modules that stand for wandb and trackio."""

import json
import sys
from types import ModuleType

import pytest
from accelerate.state import AcceleratorState, PartialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from resmlp.cli.main import main
from resmlp.config import Run
from resmlp.utils.errors import UserError
from resmlp.utils.logger import Logger, read_metrics

TRAIN = ("train", 4, {"epoch": 1, "lr": 0.5, "loss": 2.0})
EVAL = ("eval", 4, {"weights": "ema", "epoch": 1, "step": 4, "top1": 0.75})
SENT = [({"train/lr": 0.5, "train/loss": 2.0}, 4), ({"eval/ema/top1": 0.75}, 4)]
"""what a tracker gets of these two lines"""
OTHERS = ["wandb", "trackio"]


class FakeTracker(ModuleType):
    """A module with the functions of wandb and trackio that are called; `failing` names those that raise."""

    def __init__(self, name: str, failing: tuple[str, ...] = ()):
        super().__init__(name)
        self.failing, self.begun, self.logged, self.finished = failing, [], [], 0

    def _try(self, what: str) -> None:
        if what in self.failing:
            raise ConnectionError("no route\nto the host")

    def init(self, **options):
        self._try("init")
        self.begun.append(options)
        return self

    def log(self, values, step):
        self._try("log")
        self.logged.append((values, step))

    def finish(self):
        self._try("finish")
        self.finished += 1


@pytest.fixture(autouse=True)
def _accelerate():
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState(cpu=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def fake(monkeypatch):
    """`fake(name, *failing)`: the module of this name is a fake."""

    def make(name: str, *failing: str) -> FakeTracker:
        module = FakeTracker(name, failing)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return make


def write(folder, *names: str) -> list[dict]:
    """Two lines of a log with these trackers; the lines that are in the run folder."""
    folder.mkdir(exist_ok=True)
    with Logger(folder, names) as logger:
        logger.write(*TRAIN)
        logger.write(*EVAL)
    return read_metrics(folder)


@pytest.mark.parametrize("name", OTHERS)
def test_a_tracker_gets_the_numbers_of_the_log(tmp_path, fake, name):
    module = fake(name)
    write(tmp_path / "run", name)
    assert module.logged == SENT
    assert module.finished == 1
    (options,) = module.begun
    assert options["project"] == "resmlp"
    assert options["name"].startswith("run")
    assert options["resume"] == "allow"


@pytest.mark.parametrize(("name", "key"), [("wandb", "id"), ("trackio", "name")])
def test_runs_of_one_name_are_separate_and_a_continued_run_is_one(tmp_path, fake, name, key):
    module = fake(name)
    for parent in ("a", "b", "a"):
        (tmp_path / parent).mkdir(exist_ok=True)
        write(tmp_path / parent / "fold-0", name)
    first, second, third = (options[key] for options in module.begun)
    assert first == third != second


def test_tensorboard_files_have_the_numbers(tmp_path):
    write(tmp_path / "run", "tensorboard", "tensorboard")
    assert len(list((tmp_path / "run").glob("events.out.tfevents.*"))) == 1
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    found = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert found == {"train/lr": [(4, 0.5)], "train/loss": [(4, 2.0)], "eval/ema/top1": [(4, 0.75)]}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("failing", ["init", "log", "finish"])
def test_a_tracker_that_fails_does_not_stop_the_run(tmp_path, fake, capsys, name, failing):
    broken, other = fake(name, failing), fake(next(n for n in OTHERS if n != name))
    assert [line["step"] for line in write(tmp_path / "run", name, other.__name__)] == [4, 4]
    assert other.logged == SENT
    assert len(broken.logged) == (2 if failing == "finish" else 0)
    noted = capsys.readouterr().err
    assert noted.count("\n") == 1
    assert noted.startswith(f"note: {name} fails")
    assert "no route to the host" in noted


def test_the_log_is_complete_without_trackers(tmp_path):
    write(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("name", [None, *OTHERS])
def test_a_run_without_trackers_is_complete(tmp_path, fake, name, draft_figures):
    folder = tmp_path / "run"
    if name:
        fake(name, "init")
    small = ["--model.depth", "1", "--data.batch-size", "240", "--run.epochs", "1", "--run.device", "cpu"]
    trackers = [name] if name else []
    assert main(["train", "digits", "--out", str(folder), *small, "--run.log", *trackers]) == 0
    assert {"recipe.json", "metrics.jsonl", "model.safetensors", "model.json", "summary.json", "report.html"} <= {
        path.name for path in folder.iterdir()
    }
    assert not list(folder.glob("events*"))
    assert json.loads((folder / "recipe.json").read_text())["run"]["log"] == trackers


@pytest.mark.parametrize("name", OTHERS)
def test_a_tracker_that_is_not_installed_is_named_before_anything_is_written(tmp_path, monkeypatch, capsys, name):
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr("resmlp.utils.trackers.find_spec", lambda name: None)
    assert main(["train", "digits", "--out", str(tmp_path / "run"), "--run.log", "tensorboard", name]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"--run.log {name}: {name} is not installed" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("names", [("tensorbord",), ("tensorboard", "aim")])
def test_an_unknown_tracker_is_an_error(names):
    with pytest.raises(UserError, match=f"--run.log '{names[-1]}' is not known"):
        Run(log=names)
