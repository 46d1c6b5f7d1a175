"""What a frozen network makes of pictures, once for all that is then measured on it.

B pictures of a batch, N of a set, D the embedding dimension, L layers.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from resmlp.errors import UserError
from resmlp.evaluate.classify import Collected, collect
from resmlp.models import Trunk

Network = Callable[[Tensor], Tensor]


def features(model: Network, batches: Iterable[dict], device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Features float32 N D and labels int64 N of all readable pictures, on the CPU and in the order of their set.

    As `extract`, without the places and the names.
    """
    found = extract(model, batches, device)
    return found.value, found.label


def extract(model: Network, batches: Iterable[dict], device: torch.device | str) -> Collected:
    """The features, float32 N D as `value`, of every picture of every process, each once.

    `model` takes uint8 B 3 H W on `device` to B D and is in evaluation mode. A batch is `{"image": uint8 B 3 H W,
    "label": int64 B, "index": int64 B, "unreadable": [name, ...]}`; of a set of which none can be read, N and D are 0.
    """
    parts, left_out = list[tuple[Tensor, Tensor, Tensor]](), list[str]()
    for batch in batches:
        left_out += batch["unreadable"]
        if not len(batch["label"]):
            continue
        with torch.no_grad():
            values = model(batch["image"].to(device, non_blocking=True)).float().cpu()  # B D
        parts.append((batch["index"], batch["label"], values))
    found = collect(parts, left_out)
    return found if len(found.index) else replace(found, value=torch.zeros(0, 0))


class Pixels(nn.Module):
    """The features that cost nothing, to compare others with: the normalised pixels, B 3 H W -> B 3*H*W."""

    num_classes = 0

    def forward(self, images: Tensor) -> Tensor:
        """B 3 H W -> B 3*H*W"""
        return images.flatten(1)


def pooled(model: nn.Module) -> Network:
    """What the head of a network sees: normalised pictures B 3 H W -> B D, after the last norm and the pooling.

    For our networks and for timm's. Raises `UserError` for one that does not tell its features from its head.
    """
    if isinstance(model, Pixels):
        return model
    if isinstance(model, Trunk):
        return lambda images: model.pool(model.forward_features(images))
    body, head = getattr(model, "forward_features", None), getattr(model, "forward_head", None)
    if not (callable(body) and callable(head)):
        raise UserError(f"{type(model).__name__} has no features apart from its output", "take another network")
    return lambda images: head(body(images), pre_logits=True)


def last_layers(model: nn.Module, count: int) -> Network:
    """B 3 H W -> B count*D: the means over the tokens of the last `count` layers, each after the last norm.

    The deepest comes last and is what `pooled` gives. (DINO, appendix F.2, concatenates 4 for its smaller networks.)
    Raises `UserError` for a network that has fewer layers, and for several layers of one that is not ours.
    """
    if count == 1:
        return pooled(model)
    if not isinstance(model, Trunk):
        raise UserError(f"{count} layers of {type(model).__name__}", "only of our own networks: take 1")
    depth = len(model.blocks)
    if count > depth:
        raise UserError(f"the last {count} layers of a network of {depth}", f"take at most {depth}")

    def concatenated(images: Tensor) -> Tensor:
        last, before = model.forward_layers(images, list(range(depth - count, depth - 1)))
        return torch.cat([*(model.norm(x).mean(1) for x in before), model.pool(model.norm(last))], 1)

    return concatenated
