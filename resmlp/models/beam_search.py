"""The search of `resmlp.models.search` for a network in torch.

B sentences in the search, S source tokens, K hypotheses of each, V tokens in the vocabulary.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from resmlp.config.seq2seq import EOS
from resmlp.models.search import Hypothesis, Search, search_all
from resmlp.models.seq2seq import Seq2Seq

BLOCK = 128  # tokens of the vocabulary with one maximum in `likeliest`
LOG2_E = math.log2(math.e)


@torch.inference_mode()
def translate(
    model: Seq2Seq,
    sources: Sequence[Sequence[int]],
    beam: int = 4,
    length_penalty: float = 0.6,
    n_best: int = 1,
    max_length: int | None = None,
    batch_size: int = 32,
) -> list[list[Hypothesis]]:
    """The `n_best` translations of each of `sources` (token numbers with `EOS` last), best first.

    A beam of 1 is greedy. Translations have at most `max_length` tokens with their `EOS`; None: the longest sentence of
    the network. Sentences of similar length are searched together, `batch_size` at a time; the result for a sentence
    does not depend on the others. There may be fewer than `n_best` if fewer hypotheses ended. Raises `UserError`.
    """
    most = model.config.architecture.max_length
    limit = most if max_length is None else min(max_length, most)
    search = Search(beam, length_penalty, n_best, limit)
    training = model.training
    model.eval()
    try:
        return search_all(lambda source: TorchDecoder(model, source, search), sources, search, model.config, batch_size)
    finally:
        model.train(training)


class TorchDecoder:
    """A `resmlp.models.search.Decoder` on the device of the network."""

    def __init__(self, model: Seq2Seq, source: np.ndarray, search: Search):
        """Read `source`, B S tokens padded with `PAD`."""
        self.model, self.device = model, model.embedding.weight.device
        self.cache = model.start(model.encode(self._on_device(source)), search.beam, search.limit)

    def step(self, tokens: np.ndarray, count: int | None) -> tuple[np.ndarray, np.ndarray]:
        """As of `Decoder`."""
        logits = self.model.step(self._on_device(tokens), self.cache)
        values, words = ending(logits) if count is None else likeliest(logits, count)
        return values.cpu().numpy(), words.cpu().numpy()

    def select(self, sentences: np.ndarray) -> None:
        """As of `Decoder`."""
        self.cache.memory = self.cache.memory.select(self._on_device(sentences))

    def reorder(self, parents: np.ndarray) -> None:
        """As of `Decoder`."""
        self.cache.reorder(self._on_device(parents))

    def _on_device(self, numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(numbers).to(self.device)


def likeliest(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """B K V -> B K count: log-probabilities of the likeliest tokens and their numbers, likeliest first.

    The `count` largest are in the `count` blocks with the largest maxima, and in the rest that fills no block, so only
    few are sorted. Overwrites `logits`.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    whole = logits.shape[2] // BLOCK * BLOCK
    values, words = _top(logits[..., whole:], count)
    words = words + whole
    if whole:
        blocks = logits[..., :whole].unflatten(2, (-1, BLOCK))  # B K blocks BLOCK
        chosen = _top(blocks.amax(3), count)[1].unsqueeze(3)  # B K count 1
        inside = blocks.gather(2, chosen.expand(*chosen.shape[:3], BLOCK))
        numbers = chosen * BLOCK + torch.arange(BLOCK, device=logits.device)
        values, words = torch.cat([inside.flatten(2), values], dim=2), torch.cat([numbers.flatten(2), words], dim=2)
        values, index = _top(values, count)
        words = words.gather(2, index)
    largest = values[..., :1]
    total = logits.sub_(largest).mul_(LOG2_E).exp2_().sum(2, keepdim=True)  # 2^x is faster than e^x on a CPU
    return values - largest - total.log(), words


def ending(logits: Tensor) -> tuple[Tensor, Tensor]:
    """B K V -> B K 1: the log-probability of `EOS`, and its number."""
    value = logits.float().log_softmax(2)[..., EOS : EOS + 1]
    return value, torch.full_like(value, EOS, dtype=torch.int64)


def _top(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest along the last dimension, or all if there are fewer, largest first; and their positions."""
    return values.topk(min(count, values.shape[-1]))
