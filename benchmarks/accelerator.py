"""Images a second on a GPU in bf16, beside timm's: python benchmarks/accelerator.py

Inference and training steps of the same weights on the same images, in turns; what share of the speed of a large
product of matrices each reaches; peak memory; the errors of our kernels. About four minutes a network, most of them in
compilers; `--networks` gives one alone, whose numbers join those of the other in results/accelerator.json.
`--count` prints what a layer takes, and needs no GPU.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from machine import conditions
from timm.models.mlp_mixer import Affine, MlpMixer, ResBlock
from torch import Tensor, nn

from resmlp.analysis.profiling.backends import allow_recompiles
from resmlp.analysis.profiling.device import allocated, clock_of, matmul
from resmlp.analysis.profiling.rounds import Work, measure, spread
from resmlp.analysis.profiling.subjects import blank
from resmlp.config.vision import ARCHITECTURES, Architecture
from resmlp.inference.gpu import fastest
from resmlp.models import Trunk, count_macs, create_model
from resmlp.models.folding import FoldedTrunk, fold
from resmlp.models.weight_formats import to_timm

NETWORKS = ("resmlp_s12", "resmlp_b24")
BATCHES, TRAINED = (1, 32, 256, 1024), 256
PEER = "timm compile"
BOUNDS = {"over_timm_compile": 1.5, "of_matmul": 0.6, "training_of_matmul": 0.5}
RESULT = Path(__file__).parent.parent / "results" / "accelerator.json"
PEAK, PEAK8, BANDWIDTH = 989e12, 1979e12, 4.8e12  # an H200's data sheet: dense bf16, e4m3, bytes a second
LANES, ERF = 132 * 128 * 1.98e9, 16  # of its arithmetic units; instructions that the compiled kernel takes for a GELU

FP8_TOLERANCE = 0.2  # of the largest logit, for what has three bits after the point

Runs = dict[str, Callable[[], object]]
Compile = Callable[[nn.Module], Callable[[Tensor], Tensor]]


@dataclass(frozen=True)
class Pair:
    """The same network of ours and of timm's, float32 on the CPU."""

    ours: Trunk
    theirs: nn.Module


def pair(name: str, **sizes) -> Pair:
    """One of the paper's, at its sizes but for `sizes`; every branch counts, which a new network's hardly do."""
    ours = create_model(name, **sizes).eval()
    with torch.no_grad():
        for key, parameter in ours.named_parameters():
            if key.endswith("gamma"):
                parameter.uniform_(0.1, 0.5)
    arch, config = ours.config.architecture, ours.config
    theirs = MlpMixer(  # timm's names have fixed sizes, and its B24 not those of the paper
        config.num_classes,
        config.size,
        patch_size=arch.patch_size,
        num_blocks=arch.depth,
        embed_dim=arch.dim,
        mlp_ratio=arch.mlp_ratio,
        block_layer=ResBlock,
        norm_layer=Affine,
    )
    theirs.load_state_dict(to_timm(ours.state_dict()))
    return Pair(ours, theirs.eval())


def inference(both: Pair, images: Tensor, compile: Compile | None) -> tuple[Runs, Runs]:
    """What is compared for images like `images`, twice: at its best, as a CUDA graph say, and launched one by one.

    Without `compile` nothing is compiled; our kernels are for a GPU.
    """
    place = {"device": images.device, "dtype": images.dtype}
    theirs, folded = nn.Sequential(both.theirs.to(**place)), fold(both.ours.to(**place))
    made: dict[str, tuple[nn.Module, Callable]] = {"timm eager": (theirs, _as_it_is), "ours eager": (folded, _as_it_is)}
    if compile:
        made |= {PEER: (theirs, compile), "ours compile": (folded, compile)}
    if images.is_cuda:
        from resmlp.inference.triton_layers import ChannelMlp8, with_kernels

        made |= {"ours kernels": (folded, with_kernels), "ours fp8": (folded, partial(with_kernels, mlp=ChannelMlp8))}
    runs, plain = Runs(), Runs()
    for name, (network, make) in made.items():
        one = make(network)
        ways, options = {name: lambda _, one=one: one}, {"tolerance": FP8_TOLERANCE} if "fp8" in name else {}
        if "eager" in name:
            runs[name] = plain[name] = partial(one, images)
            continue
        found = fastest(network, images, lambda _, ways=ways: ways, **options)
        print(f"  {name}: as {found.name}", file=sys.stderr, flush=True)
        if found.name.startswith(name):  # else it failed, and said so
            runs[name], plain[name] = partial(found, images), partial(one, images)
    return runs, plain


def _as_it_is(network: nn.Module) -> nn.Module:
    return network


def training(both: Pair, images: Tensor, compile: Compile | None) -> Runs:
    """Steps of the same optimizer: forward in bf16 by autocast, cross-entropy, backward, AdamW."""
    labels = torch.arange(len(images), device=images.device) % both.ours.config.num_classes
    runs = Runs()
    for name, model in {"timm": both.theirs, "ours": both.ours}.items():
        model = model.float().to(images.device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
        ways = {"eager": model} | ({"compile": compile(model)} if compile else {})
        runs |= {f"{name} {way}": partial(_step, each, optimizer, images, labels) for way, each in ways.items()}
    return runs


def _step(model: Callable, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    with torch.autocast(images.device.type, torch.bfloat16):
        loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def race(runs: Runs, plain: Runs, batch: int, operations: float, device: torch.device, seconds: float) -> dict:
    """Of each: images a second, share of the product's speed, ratio to `PEER`, with quartiles; peak memory.

    `operations` are those for an image. Memory is that of `plain`: a graph has its own, which nothing counts.
    """
    works = [*(Work(run, batch) for run in runs.values()), matmul(device, torch.bfloat16)]
    *found, product = measure(works, seconds, clock_of(device))
    rates, rows = {name: each.rates for name, each in zip(runs, found)}, {}
    for name, own in rates.items():
        row: dict = {"images_per_s": _numbers(own)}
        row["of_matmul"] = _numbers([operations * rate / full for rate, full in zip(own, product.rates)])
        if PEER in rates and name != PEER:
            row["over_timm_compile"] = _numbers([a / b for a, b in zip(own, rates[PEER])])
        if device.type == "cuda":
            row["peak_bytes"] = allocated(plain[name])
        rows[name] = row
        print(f"  {name}: {json.dumps(row)}", file=sys.stderr, flush=True)
    return rows | {"matmul": {"flops": _numbers(product.rates)}}


def _numbers(values: Sequence[float]) -> list[float]:
    """Median and quartiles, to four figures."""
    return [float(f"{value:.4g}") for value in spread(values)]


@torch.inference_mode()
def errors(folded: FoldedTrunk, batch: int) -> dict[str, dict[str, float]]:
    """The largest error of each sublayer of the first layer, over the largest output, against float64.

    By torch and by our kernels in the precision of `folded`, and by e4m3; seeded noise goes in.
    """
    from resmlp.inference.triton_layers import ChannelMlp8, with_kernels

    own, config = next(folded.buffers()), folded.config.network
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, math.prod(config.grid), config.architecture.dim, generator=generator)
    x = x.to(own.device, own.dtype)
    exact = [part(x.double()) for part in deepcopy(folded).double().blocks[0]]
    ways = {"torch": folded, "kernels": with_kernels(folded), "fp8": with_kernels(folded, ChannelMlp8)}
    found: dict[str, dict[str, float]] = {"tokens": {}, "channels": {}}
    for way, network in ways.items():
        for sublayer, part, right in zip(found, network.blocks[0], exact):
            found[sublayer][way] = float(f"{float((part(x) - right).abs().max() / right.abs().max()):.3g}")
    return found


def run(
    both: Pair, batches: Sequence[int], trained: int, device: torch.device, seconds: float, compile: Compile | None
) -> dict:
    """All of one network; without `compile` nothing is compiled."""
    size = both.ours.config.size
    macs = count_macs(both.ours, blank(1, size, "cpu", torch.float32))
    found: dict[str, dict] = {"inference": {}, "training": {}}
    for batch in batches:
        print(f"inference, batch {batch}", file=sys.stderr, flush=True)
        torch.compiler.reset()  # so that what is done with takes no memory, and is not taken for another shape of it
        with torch.inference_mode(), allow_recompiles(4):
            runs = inference(both, blank(batch, size, device, torch.bfloat16), compile)
            found["inference"][str(batch)] = race(*runs, batch, 2 * macs, device, seconds)
        del runs
    if device.type == "cuda":
        found["errors"] = errors(fold(both.ours), 8)
    if trained:
        print(f"training, batch {trained}", file=sys.stderr, flush=True)
        torch.compiler.reset()
        runs = training(both, blank(trained, size, device, torch.float32), compile)
        found["training"][str(trained)] = race(
            runs, runs, trained, 6 * macs, device, seconds
        )  # backward: twice forward
    return found


def numbers(networks: dict[str, dict]) -> dict[str, float]:
    """What is claimed, of each network at the batch of `TRAINED`: the best of ours, and whichever that is."""
    found = {}
    for name, each in networks.items():
        for kind, prefix in (("inference", ""), ("training", "training_")):
            rows = each[kind].get(str(TRAINED), {})
            ours = {way: row for way, row in rows.items() if way.startswith("ours") and way != "ours fp8"}
            if ours:
                best = max(ours.values(), key=lambda row: row["images_per_s"][0])
                for key in ("over_timm_compile", "of_matmul"):
                    if key in best:
                        found[f"{name} {prefix}{key}"] = best[key][0]
    return found


def missed(reached: dict[str, float]) -> list[str]:
    """The names of numbers that are below their bound."""
    return [name for name, value in reached.items() if value < BOUNDS.get(name.split()[1], 0)]


def layer(arch: Architecture, tokens: int, batch: int) -> list[tuple[str, float, float, float]]:
    """Of the parts of a folded layer in bf16: name, operations, bytes to and from memory, operations a second at most.

    A "pass" is all tokens of all images, read or written once.
    """
    hidden = int(arch.mlp_ratio * arch.dim)
    once, wide = 2 * batch * tokens * arch.dim, 2 * batch * tokens * hidden
    product, mlp = once * tokens, 2 * once * hidden
    matrices, token_matrices = 4 * arch.dim * hidden, 2 * tokens * (tokens + arch.dim)
    return [
        ("token sublayer, op by op", product, 7 * once + token_matrices, PEAK),
        ("token sublayer, Triton kernel", product, 2 * once + token_matrices, PEAK),
        ("channel MLP, op by op", mlp, 5 * once + 4 * wide + matrices, PEAK),
        ("channel MLP, two products that include GELU and the addition", mlp, 3 * once + 2 * wide + matrices, PEAK),
        ("channel MLP, Triton kernel", mlp, 2 * once + matrices, PEAK),
        ("channel MLP, Triton kernel in e4m3", mlp, 2 * once + matrices / 2, PEAK8),
        ("its GELU, on the arithmetic units", ERF * wide / 2, 0, LANES),
    ]


def count(name: str = "resmlp_s12", batch: int = 256) -> str:
    """The same as a Markdown table, with the least time that an H200 needs for each."""
    arch = ARCHITECTURES[name]
    lines = ["| part of a layer | 10^9 operations | 10^6 bytes | µs to compute | µs to move | bound by |"]
    lines.append("|---|---|---|---|---|---|")
    for part, operations, moved, peak in layer(arch, (224 // arch.patch_size) ** 2, batch):
        compute, memory = 1e6 * operations / peak, 1e6 * moved / BANDWIDTH
        bound = "arithmetic" if compute > memory else "memory"
        lines.append(
            f"| {part} | {operations / 1e9:.1f} | {moved / 1e6:.0f} | {compute:.0f} | {memory:.0f} | {bound} |"
        )
    return "\n".join(lines) + "\n"


def joined(path: Path, networks: dict[str, dict], about: dict) -> dict:
    """`networks` and those that `path` has of the same machine and versions."""
    if path.exists():
        before = json.loads(path.read_text())
        if all(before.get(key) == value for key, value in about.items()):
            return before["networks"] | networks
    return networks


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 where a bound is missed, 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES), help="of inference")
    parser.add_argument("--trained", type=int, default=TRAINED, help="images of a training step; 0: none")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each that is measured")
    parser.add_argument(
        "--mode", default="default", help="torch.compile's; max-autotune-no-cudagraphs takes far longer"
    )
    parser.add_argument("--count", action="store_true", help="print the operations and bytes of a layer, and stop")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    if options.count:
        print(count(), end="")
        return 0
    if not torch.cuda.is_available():
        print("error: this needs a CUDA device, an H200 say, and there is none here (--count works)", file=sys.stderr)
        return 2
    device, networks = torch.device("cuda"), {}
    compile = partial(torch.compile, dynamic=False, mode=options.mode)
    for name in options.networks:
        print(name, file=sys.stderr)
        networks[name] = run(pair(name), options.batches, options.trained, device, options.seconds, compile)
    about = {**conditions("timm"), "mode": options.mode}
    networks = joined(options.out, networks, about)
    reached = numbers(networks)
    result = {
        "what": f"bf16 on a GPU, batch {TRAINED}: speed relative to compiled timm and to a large matrix product",
        "numbers": reached,
        "target": {name: f"at least {BOUNDS[name.split()[1]]}" for name in reached if name.split()[1] in BOUNDS},
        "reached": not missed(reached),
        "command": "python benchmarks/accelerator.py",
        "networks": networks,
        **about,
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(reached), file=sys.stderr)
    return int(bool(missed(reached)))


if __name__ == "__main__":
    raise SystemExit(main())
