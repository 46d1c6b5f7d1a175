"""What a training step on many grids costs beside one on a single grid, on the CPU, at equal numbers of tokens.

A step is forward, backward and fused AdamW, in fp32. One side is a network for many grids: its images come at the
largest size and are resized, and its parameters are moved from their own grid. The other side has a network for each
grid, with images of its size. A round is one step on each grid, so that both sides see the same images of the same
numbers of tokens. Rounds take turns; the ratio of each is taken, and the median and quartiles are reported.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from machine import conditions
from torch import Tensor, nn

import resmlp
from resmlp.analysis.profiling.rounds import Work, measure, spread
from resmlp.models import TrunkConfig
from resmlp.models.any_size import AnySizeTrunk
from resmlp.models.resize import Size
from resmlp.tasks.grids import resized

NETWORK, OWN, GRIDS = "resmlp_s12", 14, (8, 10, 12, 14, 16)
"""tokens of a side"""
MOST = 1.05
RESULT = Path(__file__).parent.parent / "results" / "grid_step.json"


def stepper(model: nn.Module, labels: Tensor) -> Callable[[Tensor], None]:
    """A function that trains the network on images, always with the same labels."""
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-4, fused=True)

    def step(images: Tensor) -> None:
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def rounds(config: TrunkConfig, grids: Sequence[int], batch: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """A round of many grids by one network, and of as many networks of one grid; `config` is that of the first."""
    patch = config.architecture.patch_size
    sizes: list[Size] = [(grid * patch,) * 2 for grid in grids]
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(config.num_classes, (batch,), generator=generator)
    images = torch.randn(batch, 3, *max(sizes), generator=generator)
    one = stepper(AnySizeTrunk(config, sizes), labels)
    smaller = {size: resized(images, size) for size in sizes}
    each = {size: stepper(resmlp.create_model(config.name, img_size=size), labels) for size in sizes}

    def many() -> None:
        for size in sizes:
            one(resized(images, size))

    def single() -> None:
        for size, step in each.items():
            step(smaller[size])

    return many, single


def compare(grids: Sequence[int], batch: int, seconds: float) -> dict[str, float]:
    """How many times as long many grids take: median and quartiles."""
    config = resmlp.create_model(NETWORK, img_size=OWN * 16).config
    works = [Work(run, batch * len(grids)) for run in rounds(config, grids, batch)]
    many, single = measure(works, seconds, time.perf_counter, progress=lambda text: print(text, file=sys.stderr))
    ratio = spread([other / own for own, other in zip(many.rates, single.rates)])
    return {"times_as_long": ratio.median, "quartile_low": ratio.low, "quartile_high": ratio.high}


def main() -> int:
    """Returns 1 where the bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--grids", type=int, nargs="+", default=list(GRIDS), help="tokens of a side")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each side")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    numbers = compare(options.grids, options.batch, options.seconds)
    result = {
        "what": f"A training step of {NETWORK} on many grids of tokens, in times as long as steps on one grid each",
        "numbers": {name: round(value, 3) for name, value in numbers.items()},
        "target": {"times_as_long": f"at most {MOST}"},
        "reached": numbers["times_as_long"] <= MOST,
        "command": "python benchmarks/grid_step.py",
        "grids": options.grids,
        "batch": options.batch,
        **conditions(),
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["numbers"]), file=sys.stderr)
    return int(not result["reached"])


if __name__ == "__main__":
    raise SystemExit(main())
