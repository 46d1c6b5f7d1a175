"""What a step through the engine costs over a bare PyTorch loop of the same model, batch and optimizer.

Both loops run in this process, a few steps of each in turn, so that a noisy machine disturbs them alike. The ratio of
each pair of turns is taken; reported are the median and the quartiles. The bound is 1.03.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from machine import conditions
from torch import nn

from resmlp.config import ImageRecipe, Optim, Run
from resmlp.models import create_model
from resmlp.tasks import Batch, Task
from resmlp.training.engine import Engine
from resmlp.training.optimizers import parameter_groups

BATCH, TURNS, STEPS = 128, 24, 4
RECIPE = ImageRecipe(name="overhead", optim=Optim("adamw", lr=1e-3, weight_decay=0.05), run=Run(epochs=1, log=()))


def new_model() -> nn.Module:
    """The network of the cifar10 recipe."""
    torch.manual_seed(0)
    return create_model("resmlp_cifar", img_size=32, num_classes=10)


class Fixed(Task):
    """Cross-entropy on one batch, again and again: nothing but the step is measured.

    The engine asks for a batch at the start of each step; every STEPS steps it waits here while the bare loop has its
    turn.
    """

    metric, samples_per_step, steps_per_epoch = "none", BATCH, (TURNS + 1) * STEPS + 1

    def __init__(self, images: torch.Tensor, labels: torch.Tensor):
        self.model, self.images, self.labels = new_model(), images, labels
        self.bare = bare_step(images, labels)
        self.seconds: dict[str, list[float]] = {"engine": [], "bare": []}

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        while True:
            since = time.perf_counter()
            for _ in range(STEPS):
                yield {}
            self.seconds["engine"].append((time.perf_counter() - since) / STEPS)
            since = time.perf_counter()
            for _ in range(STEPS):
                self.bare()
            self.seconds["bare"].append((time.perf_counter() - since) / STEPS)

    def loss(self, model: nn.Module, batch: Batch, step: int) -> dict[str, torch.Tensor]:
        return {"loss": F.cross_entropy(model(self.images), self.labels)}

    def evaluate(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        yield "none", 0.0

    def save(self, folder: Path, model: nn.Module) -> None:
        pass


def bare_step(images: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    """One step of a loop as one writes it by hand."""
    model = new_model()
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.05), lr=1e-3, fused=True)

    def step() -> None:
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()

    return step


def main() -> None:
    """Measure and write results/engine_overhead.json."""
    torch.manual_seed(0)
    images, labels = torch.randn(BATCH, 3, 32, 32), torch.randint(10, (BATCH,))
    task = Fixed(images, labels)
    with tempfile.TemporaryDirectory() as folder:
        Engine(task, RECIPE, Path(folder), Accelerator(cpu=not torch.cuda.is_available())).fit()
    times = {name: seconds[1:] for name, seconds in task.seconds.items()}  # the first turn warms up
    ratios = [ours / bare for ours, bare in zip(times["engine"], times["bare"])]
    low, median, high = statistics.quantiles(ratios, n=4)
    result = {
        "what": f"Time of a training step in the engine relative to a bare loop, resmlp_cifar at batch {BATCH}",
        "numbers": {"ratio": round(median, 4), "quartile_low": round(low, 4), "quartile_high": round(high, 4)},
        "target": {"ratio": "at most 1.03"},
        "command": "python benchmarks/engine_overhead.py",
        "milliseconds": {name: round(1e3 * statistics.median(t), 2) for name, t in times.items()},
        "turns": TURNS,
        **conditions("accelerate"),
    }
    path = Path(__file__).parent.parent / "results" / "engine_overhead.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["numbers"]), file=sys.stderr)


if __name__ == "__main__":
    main()
