"""Optimizers with parameter groups by role, and schedules as functions of the step."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from resmlp import config
from resmlp.models import Trunk
from resmlp.models.backbones import TimmFeatures
from resmlp.training.muon import MuonAdamW, hidden_matrices
from resmlp.utils.checks import demand
from resmlp.utils.errors import counted, did_you_mean
from resmlp.utils.schedules import cosine, poly

DECAYED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
"""modules whose `weight` is decayed, with their subclasses, such as the linear token mixer

Embeddings are not decayed: the row of a rare token has almost no gradient in most steps, and only decay would move it.
"""
LAYER = re.compile(r"(embed|blocks\.(?P<block>\d+))\.")
"""names of the parameters of a trunk that belong to a layer"""


def roles(model: nn.Module) -> Iterator[tuple[nn.Parameter, str]]:
    """Each trainable parameter with its role: "weight" is decayed, all other roles are not."""
    seen: set[nn.Parameter] = set()  # a parameter that two modules share is listed once
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and parameter not in seen:
                seen.add(parameter)
                decayed = isinstance(module, DECAYED) and name == "weight" or name in getattr(module, "decayed", ())
                yield parameter, "weight" if decayed else "bias" if name == "bias" else type(module).__name__


def train_only(model: nn.Module, patterns: Sequence[str]) -> None:
    """Train the parameters whose names match one of the shell `patterns`; without patterns all of them.

    The others get no gradient, and no optimizer has them. Raises `UserError` for a pattern that matches no parameter.
    """
    if not patterns:
        return
    parameters = dict(model.named_parameters())
    for pattern in patterns:
        found = any(fnmatchcase(name, pattern) for name in parameters)
        what = f"--optim.only {pattern} matches no parameter of the network"
        demand(found, what, did_you_mean(pattern, parameters) + "; such as 'blocks.*.tokens.*' or 'head.*'")
    for name, parameter in parameters.items():
        if not any(fnmatchcase(name, pattern) for pattern in patterns):
            parameter.requires_grad_(False)


def undecayed(model: nn.Module) -> str:
    """The parameters without weight decay, for the table: "Affine 50, LayerScale 24, bias 38 tensors"."""
    count = Counter(role for _, role in roles(model) if role != "weight")
    return ", ".join(f"{role} {n}" for role, n in sorted(count.items())) + " tensors"


def muon_summary(model: nn.Module) -> str:
    """The parameters of each part of Muon, for the table: "Muon for 36 hidden weights, AdamW for 115 other tensors"."""
    matrices, tensors = len(hidden_matrices(model)), sum(1 for _ in roles(model))
    return f"Muon for {counted(matrices, 'hidden weight')}, AdamW for {counted(tensors - matrices, 'other tensor')}"


def layers(model: nn.Module) -> dict[nn.Parameter, int]:
    """The layer of each parameter: 0 for the patch embedding, i + 1 for block i, the last one for all others.

    Layers are those of the trunk, or timm's groups of a timm network; a decoder is in the last layer. Raises
    `UserError` for a timm network without groups.
    """
    layer: dict[nn.Parameter, int] = {}
    for part in model.modules():
        if isinstance(part, TimmFeatures):
            layer |= part.layers()
        elif isinstance(part, Trunk):
            matches = ((parameter, LAYER.match(name)) for name, parameter in part.named_parameters())
            layer |= {p: int(match["block"]) + 1 if match["block"] else 0 for p, match in matches if match}
    last = max(layer.values(), default=-1) + 1
    return {parameter: layer.get(parameter, last) for parameter in model.parameters()}


def parameter_groups(model: nn.Module, weight_decay: float, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """Two parameter groups, with and without weight decay; with a `layer_decay` d, two groups for each layer.

    `lr_scale` of layer i is d^(n - i), with n the last layer (BEiT, section 3; Clark et al. 2020).
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
    """The optimizer `optim.name` for the parameters of `model`, grouped by role. LAMB is that of timm.

    Adagrad has the eps of fairseq, 1e-10. Raises `UserError` for Muon and a network without hidden matrices.
    """
    groups = parameter_groups(model, optim.weight_decay, optim.layer_decay)
    betas = (optim.momentum, optim.beta2)
    if optim.name == "sgd":
        return torch.optim.SGD(groups, lr=optim.lr, momentum=optim.momentum)
    if optim.name == "adagrad":
        return torch.optim.Adagrad(groups, lr=optim.lr, eps=1e-10)
    if optim.name == "adamw":
        return torch.optim.AdamW(groups, lr=optim.lr, betas=betas, fused=True)
    if optim.name == "muon":
        matrices = hidden_matrices(model)
        demand(bool(matrices), "--optim.name muon: the network has no hidden linear layer", "use --optim.name adamw")
        return MuonAdamW(groups, matrices, optim.lr, betas)
    from timm.optim import Lamb

    return Lamb(groups, lr=optim.lr, betas=betas)


def learning_rate(optim: config.Optim, step: int, steps_per_epoch: int, epochs: int) -> float:
    """The learning rate of step `step`, from 0: a linear warm-up, then the schedule.

    cosine: half a period to `min_lr`; poly: a power of the remaining fraction of the steps; step: divided by 10 at each
    milestone; inverse-sqrt: the inverse square root of the step; constant: `lr`.
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


def optimizer_summary(optim: config.Optim, steps_per_epoch: int, epochs: int) -> str:
    """The optimizer and the schedule of the learning rate, for the table."""
    warmup = optim.warmup(steps_per_epoch)
    first = f"{optim.warmup_epochs:g} warm-up epoch{'s' * (optim.warmup_epochs != 1)}"
    if optim.warmup_steps is not None:
        first = f"{optim.warmup_steps:,} warm-up steps ({warmup:.3g} epochs)"
    if warmup >= epochs:
        first += ", the whole run: the learning rate never reaches its peak"
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
    """The weight decay of step `step`, from 0, of `total`: half a cosine to `final_weight_decay` if it is set."""
    final = optim.final_weight_decay
    return optim.weight_decay if final is None else cosine(optim.weight_decay, final, step / total)


def set_schedule(optimizer: torch.optim.Optimizer, lr: float, decay: float | None) -> None:
    """Set the learning rate of each group, times its `lr_scale`, and the weight decay of the groups that have one.

    None leaves the weight decay unchanged.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
        if decay is not None and group["decays"]:
            group["weight_decay"] = decay
