"""A training step on the CPU beside timm's, of the same network: how fast, and what it keeps for the backward pass.

A step is forward, backward and fused AdamW, in fp32, on the same weights and images. All take turns; the ratio of
each round is taken, and the median and quartiles are reported. Beside timm's and ours are three other ways that torch
has to spend less on ours: autograd alone (what a block would be without `resmlp.nn.fused`), the same with its blocks
checkpointed, and torch.compile, whose partitioner chooses what to keep.

Counted are the bytes of the distinct storages that autograd keeps, parameters left out; as a check, a process of its
own for each measures by how much its resident set grows over two steps, which includes weights and optimizer; not for
torch.compile, whose compiler lives in the same process.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from machine import conditions
from torch import Tensor, nn

import resmlp
from resmlp.analysis.profiling import rss
from resmlp.analysis.profiling.rounds import Work, measure, spread
from resmlp.models.weight_formats import from_timm
from resmlp.nn import fused

OURS, THEIRS = "resmlp_s12", "resmlp_12_224"
SPEED, MEMORY = 1.05, 0.75
RESULT = Path(__file__).parent.parent / "results" / "training_step.json"

Step = Callable[[], Any]


class Subject:
    """A network that learns the same images again and again, and how it goes about it."""

    def __init__(self, model: nn.Module, batch: int, call: nn.Module | None = None, plain: bool = False):
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(batch, 3, 224, 224, generator=generator)
        self.labels = torch.randint(1000, (batch,), generator=generator)
        self.model = model.train()
        self.call = model if call is None else call
        self.plain = plain
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def way(self) -> AbstractContextManager:
        """What a step runs in, its backward pass too: a checkpoint goes forward once more there."""
        return mock.patch.object(fused, "applies", return_value=False) if self.plain else nullcontext()

    def loss(self) -> Tensor:
        """Cross-entropy of the batch."""
        return F.cross_entropy(self.call(self.images), self.labels)

    def step(self) -> None:
        """Forward, backward, AdamW."""
        with self.way():
            self.loss().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def kept(self) -> int:
        """Bytes that autograd keeps after a forward pass."""
        own = {parameter.untyped_storage().data_ptr() for parameter in self.model.parameters()}
        storages = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        with self.way(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = self.loss()
        total = sum(storages.values())
        del loss  # only now may a storage's place be used again
        return total


def theirs() -> nn.Module:
    """timm's network, with a LayerScale that lets its blocks say something, and a head, which is 0 there."""
    import timm

    torch.manual_seed(0)
    model = timm.create_model(THEIRS)
    with torch.no_grad():
        model.head.weight.normal_(std=0.02)
        for name, parameter in model.named_parameters():
            if name.endswith((".ls1", ".ls2")):
                parameter.fill_(0.1)
    return model


def ours() -> Any:
    """Our network, with timm's weights."""
    model = resmlp.create_model(OURS)
    model.load_state_dict(from_timm(theirs().state_dict()))
    return model


def checkpointed() -> Any:
    """Ours, with its blocks checkpointed."""
    model = ours()
    model.checkpoint_activations = True
    return model


def compiled(batch: int) -> Subject:
    """Ours, by torch.compile."""
    model = ours()
    return Subject(model, batch, torch.compile(model, dynamic=False))


PEERS: dict[str, Callable[[int], Subject]] = {
    "ours": lambda batch: Subject(ours(), batch),
    "timm": lambda batch: Subject(theirs(), batch),
    "autograd": lambda batch: Subject(ours(), batch, plain=True),
    "checkpoint": lambda batch: Subject(checkpointed(), batch, plain=True),
    "compile": compiled,
}


def difference(one: Subject, other: Subject) -> float:
    """Of the logits and of the whole gradient, the larger relative one: with equal weights it is rounding."""
    seen = []
    for subject in (one, other):
        logits = subject.call(subject.images)
        F.cross_entropy(logits, subject.labels).backward()
        gradient = {name: parameter.grad for name, parameter in subject.model.named_parameters()}
        named = gradient if subject is one else from_timm(gradient)
        seen.append((logits.detach(), torch.cat([named[name].flatten() for name in sorted(named)])))
        subject.optimizer.zero_grad()
    return max(float((mine - expected).norm() / expected.norm()) for mine, expected in zip(*seen))


def resident_bytes(peer: str, batch: int, threads: int) -> int:
    """By how much two steps make a process of its own grow."""
    command = [sys.executable, __file__, "--grow", peer, "--batch", str(batch), "--threads", str(threads)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def grow(peer: str, batch: int) -> int:
    """What `resident_bytes` reads: this process' own growth."""
    small = Subject(nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 8)), 1)
    small.labels %= 8
    small.step()  # what the libraries take for themselves is there before

    def build() -> Iterable[Step]:
        subject = PEERS[peer](batch)
        yield lambda: (subject.step(), subject.step())

    return max(rss.growth(build))


def compare(peers: Iterable[str], batch: int, seconds: float, threads: int) -> dict[str, Any]:
    """Images a second, ratios and bytes of each peer."""
    subjects = {name: PEERS[name](batch) for name in peers}
    apart = difference(subjects["ours"], subjects["timm"])
    if not apart <= 1e-5:  # a number that is none is not below anything
        sys.exit(f"error: timm runs another network than ours: they are {apart:.1e} apart, nothing is measured")
    kept = {name: subject.kept() for name, subject in subjects.items()}
    works = [Work(subject.step, batch) for subject in subjects.values()]
    found = dict(
        zip(subjects, measure(works, seconds, time.perf_counter, progress=lambda text: print(text, file=sys.stderr)))
    )
    ratios = {}
    for name in subjects.keys() - {"ours"}:
        times = spread([mine / other for mine, other in zip(found["ours"].rates, found[name].rates)])
        ratios[name] = {"ratio": times.median, "quartile_low": times.low, "quartile_high": times.high}
    return {
        "images_per_s": {name: round(measured.rate.median, 3) for name, measured in found.items()},
        "times_as_fast_as": {name: rounded(ratios[name]) for name in subjects if name in ratios},
        "kept_bytes": kept,
        "resident_bytes": {name: resident_bytes(name, batch, threads) for name in subjects if name != "compile"},
        "apart": apart,
    }


def rounded(numbers: dict[str, float]) -> dict[str, float]:
    """To three places."""
    return {name: round(number, 3) for name, number in numbers.items()}


def main() -> int:
    """Returns 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each way")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="beside ours and timm's")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--grow", choices=PEERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.grow:
        print(grow(options.grow, options.batch))
        return 0
    peers = dict.fromkeys(["ours", "timm", *options.peers])
    settings = compare(peers, options.batch, options.seconds, options.threads)
    speed = settings["times_as_fast_as"]["timm"]
    memory = settings["kept_bytes"]["ours"] / settings["kept_bytes"]["timm"]
    resident = settings["resident_bytes"]["ours"] / settings["resident_bytes"]["timm"]
    reached = {"times_as_fast": speed["ratio"] >= SPEED, "memory": max(memory, resident) <= MEMORY}
    most = f"at most {MEMORY}"
    result = {
        "what": f"A training step of {OURS} on a CPU relative to timm: speed, memory for backward, resident memory",
        "numbers": {
            "times_as_fast": speed["ratio"],
            "quartile_low": speed["quartile_low"],
            "quartile_high": speed["quartile_high"],
            "memory": round(memory, 3),
            "resident_memory": round(resident, 3),
        },
        "target": {"times_as_fast": f"at least {SPEED}", "memory": most, "resident_memory": most},
        "reached": all(reached.values()),
        "command": "python benchmarks/training_step.py",
        **settings,
        "batch": options.batch,
        **conditions("timm"),
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["numbers"]), file=sys.stderr)
    return int(not result["reached"])


if __name__ == "__main__":
    raise SystemExit(main())
