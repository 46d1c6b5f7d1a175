"""Muon for the matrices of the hidden layers, AdamW for all other parameters."""

from typing import Any

import torch
from torch import Tensor, nn

from resmlp.models import Trunk
from resmlp.models.backbones import TimmFeatures
from resmlp.nn.dino_head import UnitLinear
from resmlp.nn.sequence import TriangularMixer

ADAMW_ONLY = (nn.Embedding, UnitLinear, TriangularMixer)
"""modules whose matrix AdamW updates: tables of vectors, an output layer, and a matrix of which a triangle is read
(Muon makes a full matrix of its triangular gradient)"""


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


class MuonAdamW(torch.optim.Optimizer):
    """Both optimizers of torch as one. `groups` are split: `matrices` go to Muon, the rest to AdamW.

    Muon (Jordan et al. 2024) replaces the momentum of a matrix by its nearest semi-orthogonal matrix. A step is scaled
    to the usual size of one of AdamW (Liu et al. 2025, "Muon is scalable for LLM training", equation 4), so that both
    share the learning rate and the weight decay. `betas[0]` is also the momentum of Muon.
    """

    def __init__(self, groups: list[dict[str, Any]], matrices: set[Tensor], lr: float, betas: tuple[float, float]):
        split: dict[bool, list[dict[str, Any]]] = {
            muon: [{**g, "muon": muon, "params": [p for p in g["params"] if (p in matrices) == muon]} for g in groups]
            for muon in (True, False)
        }
        self.muon = torch.optim.Muon(split[True], lr=lr, momentum=betas[0], adjust_lr_fn="match_rms_adamw")
        self.adamw = torch.optim.AdamW(split[False], lr=lr, betas=betas, fused=True)
        super().__init__([*self.muon.param_groups, *self.adamw.param_groups], {})
        self._share()

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
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.muon.step()
        self.adamw.step()
        return loss
