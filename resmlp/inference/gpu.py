"""A network on an accelerator, at the speed that it allows: `fastest` tries what there is, and keeps what won.

Tried are folded networks (`resmlp.models.folding`) as torch runs them, compiled, and made of our own kernels
(`resmlp.nn.kernels`), each with its launches recorded once as a CUDA graph and without.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from resmlp.models import Trunk
from resmlp.models.folding import FoldedTrunk, fold
from resmlp.utils.errors import notice

Network = Callable[[Tensor], Tensor]
"""B 3 H W -> B K"""
Clock = Callable[[], float]
"""seconds, counted from anywhere, when all that was asked for is done"""

TOLERANCE = 0.05
"""of the largest logit, by which 16-bit logits may differ from eager torch's, which differ from exact ones as much"""
ROUNDS, TURN, MOST = 5, 0.05, 5000  # seconds of a turn, and calls at most
HALF = (torch.bfloat16, torch.float16)


class Graph:
    """All launches of a network for images of one shape, recorded once and sent as one."""

    def __init__(self, network: Network, example: Tensor):
        self.images, aside = example.clone(), torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # what is chosen, compiled or allocated at first use must be done by then
            for _ in range(3):
                network(self.images)
        torch.cuda.current_stream().wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.logits = network(self.images)

    def __call__(self, images: Tensor) -> Tensor:
        """B 3 H W -> B K"""
        self.images.copy_(images)
        self.graph.replay()
        return self.logits.clone()  # the next call writes over it


def compiled(network: nn.Module) -> Network:
    """By torch.compile, which tries its own kernels beside cuBLAS's; graphs are recorded here, and not by it."""
    return torch.compile(network, dynamic=False, mode="max-autotune-no-cudagraphs")


def ways(example: Tensor) -> dict[str, Callable[[Any], Network]]:
    """What can be made of a folded network for images like these, by name; the first is the reference."""
    if example.device.type != "cuda":
        return {"torch": lambda network: network}
    made: dict[str, Callable[[Any], Network]] = {"torch": lambda network: network, "compile": compiled}
    if example.dtype in HALF and find_spec("triton"):
        made["kernels"] = _kernels
    return made


def _kernels(network: FoldedTrunk) -> Network:
    from resmlp.inference.triton_layers import with_kernels  # it needs triton

    return with_kernels(network)  # what compiling would add is beside the layers, and costs a minute


class Fastest:
    """The fastest way to run a network on images of one shape; those of another shape are run as torch runs them."""

    def __init__(self, network: Network, shape: torch.Size, name: str, run: Network, seconds: dict[str, float]):
        self.network, self.shape, self.run = network, shape, run
        self.name = name
        """of the way"""
        self.seconds = seconds
        """for a call, of each way that was tried"""

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """B 3 H W -> B K"""
        return (self.run if images.shape == self.shape else self.network)(images)


@torch.inference_mode()
def fastest(
    model: nn.Module,
    example: Tensor,
    ways: Callable[[Tensor], Mapping[str, Callable[[Any], Network]]] = ways,
    clock: Clock | None = None,
    graph: Callable[[Network, Tensor], Network] | None = None,
    tolerance: float = TOLERANCE,
) -> Fastest:
    """Make what can be made of `model`, measure each in turn on `example` (B 3 H W), and keep the fastest.

    `model` is on the device of `example` and of its precision, ready for evaluation; a `Trunk` is folded. A way that
    fails, or whose logits differ from torch's by more than `tolerance`, is left out with a note on standard error;
    where none is left, it is "torch".
    """
    on_gpu = example.device.type == "cuda"
    clock, graph = clock or partial(_now, on_gpu), graph or (Graph if on_gpu else None)
    network = fold(model) if isinstance(model, Trunk) else model
    check, runs = partial(_checked, example=example, right=network(example), tolerance=tolerance), dict[str, Network]()
    for name, make in ways(example).items():
        if name == "kernels" and not isinstance(network, FoldedTrunk):
            continue
        try:
            run = make(network)
            runs |= check(name, run)
            if graph and name in runs:
                runs |= check(f"{name}, graph", graph(run, example))
        except Exception as error:  # of compilers and drivers, of any kind: there is always torch
            notice(f"{name} cannot be used here: {' '.join(str(error).split())[:200] or type(error).__name__}")
    seconds = _race(runs or {"torch": network}, example, clock)
    best = min(seconds, key=seconds.__getitem__)
    return Fastest(network, example.shape, best, runs.get(best, network), seconds)


def _checked(name: str, run: Network, example: Tensor, right: Tensor, tolerance: float) -> dict[str, Network]:
    """The run, if it gives what is right."""
    scale = right.float().abs().max().clamp(min=1e-6)
    worst = float((run(example).float() - right.float()).abs().max() / scale)
    if not worst <= tolerance:  # not-a-number is none
        notice(f"{name} is not used: its logits differ by {worst:.2g} of the largest")
        return {}
    return {name: run}


def _race(runs: Mapping[str, Network], example: Tensor, clock: Clock) -> dict[str, float]:
    """Seconds a call: the middle of some rounds, in which all take turns."""
    calls, found = {}, {name: list[float]() for name in runs}
    for name, run in runs.items():
        run(example)
        start = clock()
        run(example)
        calls[name] = max(1, round(TURN / max(clock() - start, TURN / MOST)))
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = clock()
            for _ in range(calls[name]):
                run(example)
            found[name].append((clock() - start) / calls[name])
    return {name: median(each) for name, each in found.items()}


def _now(on_gpu: bool) -> float:
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter()
