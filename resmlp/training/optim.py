"""Optimizers by role, and schedules as functions of the step."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from resmlp import config
from resmlp.models import Trunk
from resmlp.models.backbones import TimmFeatures
from resmlp.utils.schedules import cosine, poly

DECAYED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
"""the modules whose `weight` is decayed; subclasses, the linear token mixer among them, count

An embedding is not among them: in most steps a rare token's row has next to no gradient, and decay alone would move it.
"""
LAYER = re.compile(r"(embed|blocks\.(?P<block>\d+))\.")
"""the names of a trunk's parameters that are in a layer"""


def roles(model: nn.Module) -> Iterator[tuple[nn.Parameter, str]]:
    """Each trainable parameter with its role: "weight" is decayed; any other is not, whatever its dimensions."""
    seen: set[nn.Parameter] = set()  # a parameter that two modules share counts once
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and parameter not in seen:
                seen.add(parameter)
                decayed = isinstance(module, DECAYED) and name == "weight" or name in getattr(module, "decayed", ())
                yield parameter, "weight" if decayed else "bias" if name == "bias" else type(module).__name__


def undecayed(model: nn.Module) -> str:
    """What weight decay leaves alone, for people: "Affine 50, LayerScale 24, bias 38 tensors"."""
    count = Counter(role for _, role in roles(model) if role != "weight")
    return ", ".join(f"{role} {n}" for role, n in sorted(count.items())) + " tensors"


def layers(model: nn.Module) -> dict[nn.Parameter, int]:
    """Each parameter's layer: 0 the patch embedding, i + 1 block i, and one more what follows (last norm, heads).

    The layers are those of the trunk inside, or of the network of timm's as timm groups them; a decoder has none.
    Raises `UserError` where timm does not say.
    """
    found: dict[nn.Parameter, int] = {}
    for part in model.modules():
        if isinstance(part, TimmFeatures):
            found |= part.layers()
        elif isinstance(part, Trunk):
            matches = ((parameter, LAYER.match(name)) for name, parameter in part.named_parameters())
            found |= {p: int(match["block"]) + 1 if match["block"] else 0 for p, match in matches if match}
    last = max(found.values(), default=-1) + 1
    return {parameter: found.get(parameter, last) for parameter in model.parameters()}


def parameter_groups(model: nn.Module, weight_decay: float, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """Two groups, what decays and what does not; with a `layer_decay` d, two for each layer.

    Layer i of the last one, n, learns at `lr_scale` d^(n - i) of the rate (BEiT, section 3; Clark et al. 2020).
    """
    layer = layers(model) if layer_decay < 1 else {}
    last = max(layer.values(), default=0)
    groups: dict[int, tuple[list[nn.Parameter], list[nn.Parameter]]] = {}
    for parameter, role in roles(model):
        groups.setdefault(layer.get(parameter, last), ([], []))[role != "weight"].append(parameter)
    return [
        {
            "params": params,
            "weight_decay": weight_decay * decays,
            "decays": decays,
            "lr_scale": layer_decay ** (last - depth),
        }
        for depth, parts in sorted(groups.items())
        for params, decays in zip(parts, (True, False))
    ]


def make_optimizer(model: nn.Module, optim: config.Optim) -> torch.optim.Optimizer:
    """LAMB (timm's), AdamW, SGD or Adagrad (eps 1e-10, as fairseq's) over `model`'s parameters by role."""
    groups = parameter_groups(model, optim.weight_decay, optim.layer_decay)
    betas = (optim.momentum, optim.beta2)
    if optim.name == "sgd":
        return torch.optim.SGD(groups, lr=optim.lr, momentum=optim.momentum)
    if optim.name == "adagrad":
        return torch.optim.Adagrad(groups, lr=optim.lr, eps=1e-10)
    if optim.name == "adamw":
        return torch.optim.AdamW(groups, lr=optim.lr, betas=betas, fused=True)
    from timm.optim import Lamb

    return Lamb(groups, lr=optim.lr, betas=betas)


def learning_rate(optim: config.Optim, step: int, steps_per_epoch: int, epochs: int) -> float:
    """The rate of step `step`, from 0: a linear warm-up, then the schedule.

    That is half a cosine to `min_lr`, a power of what is left to it, a tenth at each milestone, the inverse square root
    of the step, or nothing more.
    """
    epoch, warmup = step / steps_per_epoch, optim.warmup(steps_per_epoch)
    if epoch < warmup:
        return optim.warmup_lr + (optim.lr - optim.warmup_lr) * epoch / warmup
    if optim.schedule == "step":
        return optim.lr * 0.1 ** sum(epoch >= milestone for milestone in optim.milestones)
    if optim.schedule == "inverse-sqrt":
        return optim.lr * math.sqrt(warmup / epoch)
    if optim.schedule == "constant":
        return optim.lr
    progress = (epoch - warmup) / max(epochs - warmup, 1e-9)
    if optim.schedule == "poly":
        return poly(optim.lr, optim.min_lr, progress, optim.power)
    return cosine(optim.lr, optim.min_lr, progress)


def in_words(optim: config.Optim, steps_per_epoch: int, epochs: int) -> str:
    """The optimizer and its rate over the run, for people."""
    warmup = optim.warmup(steps_per_epoch)
    first = f"{optim.warmup_epochs:g} warm-up epoch{'s' * (optim.warmup_epochs != 1)}"
    if optim.warmup_steps is not None:
        first = f"{optim.warmup_steps:,} warm-up steps ({warmup:.3g} epochs)"
    if warmup >= epochs:
        first += ", which is the whole run: it never reaches that rate"
    last = learning_rate(optim, steps_per_epoch * epochs, steps_per_epoch, epochs)
    then = {
        "cosine": f"cosine to {optim.min_lr:g}",
        "step": f"/10 at {optim.milestones}",
        "inverse-sqrt": f"inverse square root of the step, to {last:.3g}",
        "constant": "constant",
        "poly": f"poly of power {optim.power:g} to {optim.min_lr:g}",
    }
    return f"{optim.name}, effective lr {optim.lr:g}, {first}, {then[optim.schedule]}"


def weight_decay(optim: config.Optim, step: int, total: int) -> float:
    """The weight decay of step `step`, from 0, of `total`: half a cosine to `final_weight_decay`, if there is one."""
    final = optim.final_weight_decay
    return optim.weight_decay if final is None else cosine(optim.weight_decay, final, step / total)


def set_schedule(optimizer: torch.optim.Optimizer, rate: float, decay: float | None) -> None:
    """The learning rate of a step, for each group by its `lr_scale`, and the weight decay of those that decay.

    With None the decay is left alone.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)  # runs of old have none
        if decay is not None and group["decays"]:
            group["weight_decay"] = decay
