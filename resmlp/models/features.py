"""Features of a frozen network: the input of its head, or the outputs of its last layers.

B images of a batch, D the embedding dimension, L layers.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from resmlp.models.trunk import Trunk
from resmlp.utils.errors import UserError

Network = Callable[[Tensor], Tensor]


class Pixels(nn.Module):
    """The normalized pixels as features, a baseline without a network: B 3 H W -> B 3*H*W."""

    num_classes = 0

    def forward(self, images: Tensor) -> Tensor:
        """B 3 H W -> B 3*H*W"""
        return images.flatten(1)


def pooled(model: nn.Module) -> Network:
    """The input of the head of a network: normalized images B 3 H W -> B D, after the last norm and the pooling.

    Networks of resmlp and timm are supported. Raises `UserError` for a network that has no separate head.
    """
    if isinstance(model, Pixels):
        return model
    if isinstance(model, Trunk):
        return lambda images: model.pool(model.forward_features(images))
    body, head = getattr(model, "forward_features", None), getattr(model, "forward_head", None)
    if not (callable(body) and callable(head)):
        raise UserError("the network has no features apart from its output", "use a run folder or a named network")
    return lambda images: head(body(images), pre_logits=True)


def last_layers(model: nn.Module, count: int) -> Network:
    """B 3 H W -> B count*D: the mean tokens of the last `count` layers, each after the last norm.

    The deepest layer comes last and equals `pooled`. (DINO, appendix F.2, concatenates 4 for its smaller networks.)
    Raises `UserError` for a network with fewer layers, and for several layers of a network of timm.
    """
    if count == 1:
        return pooled(model)
    if not isinstance(model, Trunk):
        raise UserError(f"{count} layers of {type(model).__name__}, which is not a resmlp network", "use 1 layer")
    depth = len(model.blocks)
    if count > depth:
        raise UserError(f"{count} layers of a network with {depth}", f"use at most {depth}")

    def concatenated(images: Tensor) -> Tensor:
        last, before = model.forward_layers(images, list(range(depth - count, depth - 1)))
        return torch.cat([*(model.norm(x).mean(1) for x in before), model.pool(model.norm(last))], 1)

    return concatenated
