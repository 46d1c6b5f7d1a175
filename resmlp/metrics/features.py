"""Features of a frozen network, computed once for all measurements on them.

B images of a batch, N of a set, D the embedding dimension, L layers.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from resmlp.metrics.accuracy import Collected, collect

Network = Callable[[Tensor], Tensor]


def features(model: Network, batches: Iterable[dict[str, Any]], device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Features float32 N D and labels int64 N of all readable images, on the CPU, in the order of the data set.

    See `extract`.
    """
    rows = extract(model, batches, device)
    return rows.value, rows.label


def extract(model: Network, batches: Iterable[dict[str, Any]], device: torch.device | str) -> Collected:
    """The features, float32 N D as `value`, of every image of every process, each once.

    `model` takes uint8 B 3 H W on `device` to B D and is in evaluation mode. A batch is `{"image": uint8 B 3 H W,
    "label": int64 B, "index": int64 B, "unreadable": [name, ...]}`. If no image can be read, N and D are 0.
    """
    parts, left_out = list[tuple[Tensor, ...]](), list[str]()
    for batch in batches:
        left_out += batch["unreadable"]
        if not len(batch["label"]):
            continue
        with torch.no_grad():
            values = model(batch["image"].to(device, non_blocking=True)).float().cpu()  # B D
        parts.append((batch["index"], batch["label"], values))
    rows = collect(parts, left_out)
    return rows if len(rows.index) else replace(rows, value=torch.zeros(0, 0))
