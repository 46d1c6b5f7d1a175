"""What the engine's tests share: toy tasks run by the engine itself, and small runs of the command line."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState

from resmlp.cli.main import main
from resmlp.config import Data, ImageRecipe, Model, Optim, Run
from resmlp.tasks import Supervised, Task
from resmlp.training.engine import Engine
from resmlp.training.train import make_accelerator

sys.path.insert(0, str(Path(__file__).parent))  # for `import toys`

TINY = [
    *("--model.depth", "1", "--data.batch-size", "240", "--run.epochs", "2", "--run.eval-every", "1"),
    *("--run.log-every", "1", "--run.log", "--run.device", "cpu"),
]
"""five steps per epoch on the digits"""


@pytest.fixture(autouse=True)
def _draft_figures(request: pytest.FixtureRequest) -> None:
    if "whole_figures" not in request.fixturenames:
        request.getfixturevalue("draft_figures")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Toy tasks are too small for several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def toy_recipe() -> Callable[..., ImageRecipe]:
    """A recipe for toy tasks; `toy_recipe(optim={...}, epochs=3)`."""

    def make(optim: dict | None = None, **run) -> ImageRecipe:
        options = {"name": "adamw", "lr": 1e-2, "weight_decay": 0.1, "warmup_epochs": 0.5} | (optim or {})
        settings = {"epochs": 2, "device": "cpu", "log": (), "log_every": 1, "save_minutes": 1e6} | run
        data = Data(source="digits", img_size=(8,), batch_size=8)
        return ImageRecipe("toy", model=Model("resmlp_digits"), data=data, optim=Optim(**options), run=Run(**settings))

    return make


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    """`engine(task, recipe)`: an engine over `tmp_path/run`, with Accelerate's global settings reset between two."""

    def make(task: Task, recipe: ImageRecipe, folder: str = "run") -> Engine:
        AcceleratorState._reset_state(reset_partial_state=True)
        (tmp_path / folder).mkdir(exist_ok=True)
        return Engine(task, recipe, tmp_path / folder, make_accelerator(recipe.run))

    yield make
    AcceleratorState._reset_state(reset_partial_state=True)


def train_digits(folder: Path, *flags: str) -> int:
    torch.manual_seed(0)
    return main(["train", "digits", "--out", str(folder), *TINY, *flags])


@pytest.fixture
def digits() -> Callable[..., int]:
    """`digits(folder, *flags)`: the exit code of a small `resmlp train digits`, with the same initial weights."""
    return train_digits


def interrupt(monkeypatch: pytest.MonkeyPatch, at: int, number: int = signal.SIGINT) -> None:
    loss, waiting = Supervised.loss, [at]

    def interrupted(self, model, batch, step):
        if waiting and step == waiting[0]:
            waiting.pop()
            os.kill(os.getpid(), number)
        return loss(self, model, batch, step)

    monkeypatch.setattr(Supervised, "loss", interrupted)


@pytest.fixture
def interrupt_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`interrupt_at(step, number=SIGINT)`: the process gets that signal in the middle of a step, once."""
    return partial(interrupt, monkeypatch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ten steps without interruption. Read-only."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert train_digits(folder) == 0
    return folder


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run interrupted after step 3. Read-only."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, 2)
        assert train_digits(folder) == 130
    return folder


@pytest.fixture
def stopped(stopped_once: Path, tmp_path: Path) -> Path:
    """A copy of the run interrupted after step 3."""
    return shutil.copytree(stopped_once, tmp_path / "stopped")
