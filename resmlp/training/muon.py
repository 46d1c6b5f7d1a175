"""Muon for the matrices of the hidden layers, AdamW for all other parameters."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from resmlp.models import Trunk
from resmlp.models.backbones import TimmFeatures
from resmlp.nn.dino_head import UnitLinear
from resmlp.nn.sequence import TriangularMixer
from resmlp.utils.hardware import device_precisions

ADAMW_ONLY = (nn.Embedding, UnitLinear, TriangularMixer)
"""modules whose matrix AdamW updates: tables of vectors, an output layer, and a matrix of which a triangle is read
(Muon makes a full matrix of its triangular gradient)"""

COEFFICIENTS, STEPS, EPS = (3.4445, -4.7750, 2.0315), 5, 1e-7


def hidden_matrices(model: nn.Module) -> set[Tensor]:
    """The trainable 2-D weights of the hidden linear layers; a matrix of one row or column is a vector.

    Kernels of convolutions (4-D) and other parameters, of whatever shape, are not among them. Nor are the patch
    embedding and the head of a network, a weight that an embedding shares, and those of `ADAMW_ONLY`.
    """
    matrices, others = set[Tensor](), set[Tensor]()
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.weight.requires_grad and min(module.weight.shape) > 1:
            matrices.add(module.weight)
        if isinstance(module, ADAMW_ONLY):
            others.add(module.weight)
        elif isinstance(module, Trunk):
            others.update(module.head.parameters())
        elif isinstance(module, TimmFeatures):
            others.update(module.stem())
    return matrices - others


class Muon(torch.optim.Muon):
    """Torch's, faster on a CPU: matrices of one shape at once, and in fp32 where the CPU would emulate bf16.

    Muon (Jordan et al. 2024) replaces the momentum of a matrix by its nearest semi-orthogonal matrix. A step is scaled
    to the usual size of one of AdamW (Liu et al. 2025, "Muon is scalable for LLM training", equation 4), so that both
    share the learning rate and the weight decay.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Nesterov momentum, orthogonalized; decoupled weight decay. `closure`, if any, computes new gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for alike in by_shape(parameter for parameter in group["params"] if parameter.grad is not None):
                directions = orthogonalized(torch.stack([self._momentum(p, group["momentum"]) for p in alike]))
                scale = 0.2 * max(alike[0].shape) ** 0.5
                for parameter, direction in zip(alike, directions):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(direction, alpha=-group["lr"] * scale)
        return loss

    def _momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        """The gradient and its running average, averaged once more."""
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        return gradient.lerp(state["momentum_buffer"].lerp_(gradient, 1 - momentum), momentum)


def by_shape(matrices: Iterable[Tensor]) -> list[list[Tensor]]:
    """The matrices, those of one shape together."""
    found: dict[torch.Size, list[Tensor]] = {}
    for matrix in matrices:
        found.setdefault(matrix.shape, []).append(matrix)
    return list(found.values())


def orthogonalized(matrices: Tensor) -> Tensor:
    """B H W -> B H W: about the nearest semi-orthogonal matrices, by five steps of Newton and Schulz.

    X becomes a X + b (X X^T) X + c (X X^T)^2 X, with the coefficients of Jordan et al. 2024: their singular values end
    between 0.7 and 1.2.
    """
    bf16 = "bf16" in device_precisions(matrices.device.type)
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).to(torch.bfloat16 if bf16 else torch.float32)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=EPS)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


class MuonAdamW(torch.optim.Optimizer):
    """Muon and AdamW as one. `groups` are split: `matrices` go to Muon, the rest to AdamW.

    `betas[0]` is also the momentum of Muon.
    """

    def __init__(self, groups: list[dict[str, Any]], matrices: set[Tensor], lr: float, betas: tuple[float, float]):
        split: dict[bool, list[dict[str, Any]]] = {
            muon: [{**g, "muon": muon, "params": [p for p in g["params"] if (p in matrices) == muon]} for g in groups]
            for muon in (True, False)
        }
        self.muon = Muon(split[True], lr=lr, momentum=betas[0])
        self.adamw = torch.optim.AdamW(split[False], lr=lr, betas=betas, fused=True)
        super().__init__([*self.muon.param_groups, *self.adamw.param_groups], {})
        self._share()

    def __getstate__(self) -> dict[str, Any]:
        """For a copy: `__setstate__` finds its parts."""
        return super().__getstate__() | {"muon": self.muon, "adamw": self.adamw}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Replace the state, at the end of `load_state_dict`."""
        super().__setstate__(state)
        self._share()

    def _share(self) -> None:
        """Give the parts this optimizer's state and groups: the same dictionaries, so that a change is seen by both."""
        for part, muon in ((self.muon, True), (self.adamw, False)):
            groups = [group for group in self.param_groups if group["muon"] == muon]
            part.__setstate__({"state": self.state, "param_groups": groups})

    def step(self, closure: Any = None) -> Any:
        """One step of both; `closure`, if any, computes the gradients again and returns the loss."""
        loss = self.muon.step(closure)
        self.adamw.step()
        return loss
