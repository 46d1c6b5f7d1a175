"""Beam search for the likeliest translations of a network.

B sentences in the search, K hypotheses of each, D channels, V tokens in the vocabulary.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from resmlp.config.seq2seq import BOS, EOS, PAD, SEARCH
from resmlp.models.seq2seq import Seq2Seq
from resmlp.utils.checks import check_range, demand

BLOCK = 128  # tokens of the vocabulary with one maximum in `likeliest`
LOG2_E = math.log2(math.e)


@dataclass(frozen=True)
class Hypothesis:
    """One translation of a sentence."""

    tokens: tuple[int, ...]
    """without `BOS` and `EOS`"""
    score: float
    """log-probability of the tokens and `EOS`, divided by the length penalty"""


@dataclass(frozen=True)
class Search:
    """Settings of the search."""

    beam: int = 4
    """hypotheses of a sentence at a time; 1: greedy"""
    length_penalty: float = 0.6
    """a of ((5 + n) / 6)^a, by which the log-probability of n tokens is divided (Wu et al. 2016, equation 14)"""
    n_best: int = 1
    """translations of a sentence in the result"""
    limit: int = 256
    """tokens of the longest translation, with `EOS`"""

    def __post_init__(self) -> None:
        check_range("", self, **SEARCH)
        demand(
            1 <= self.n_best <= self.beam,
            f"{self.n_best} translations from a beam of {self.beam}",
            "use at most the beam",
        )
        demand(self.limit >= 1, f"translations of {self.limit} tokens", "the end of a sentence needs one")

    def penalty(self, length: int) -> float:
        """The divisor of the log-probability of `length` tokens."""
        return ((5 + length) / 6) ** self.length_penalty


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
    demand(batch_size >= 1, f"batches of {batch_size} sentences", "use 32, for example")
    for number, source in enumerate(sources):
        _check(number, source, model)
    translations: list[list[Hypothesis]] = [[] for _ in sources]
    training = model.training
    model.eval()
    try:
        for numbers in _batches(sources, batch_size):
            batch = _padded([sources[number] for number in numbers], model.embedding.weight.device)
            for number, hypotheses in zip(numbers, beam_search(model, batch, search)):
                translations[number] = hypotheses
    finally:
        model.train(training)
    return translations


def beam_search(model: Seq2Seq, source: Tensor, search: Search) -> list[list[Hypothesis]]:
    """B S tokens, padded with `PAD` -> the best hypotheses of each sentence, best first.

    In each step, the K likeliest continuations of a sentence that do not end go on, and those among the K likeliest of
    all that end are kept. The search of a sentence stops if no hypothesis can become better than the kept ones by
    growing to twice its length. Stopping when K hypotheses have ended, as is common, loses the best one if poor ones
    end early.
    """
    cache = model.start(model.encode(source), search.beam, search.limit)
    beams = Beams.of(source, search.n_best)
    ended: list[list[Hypothesis]] = [[] for _ in source]
    greedy = search.beam == 1  # the first end is the only one
    for length in range(1, search.limit + 1):
        logits = model.step(beams.tokens, cache)
        options = likeliest(logits, 2 * search.beam) if length < search.limit else ending(logits)
        choices = beams.choices(*options, 2 * search.beam)
        ends = (choices.tokens == EOS) & choices.scores.isfinite()
        ends[:, search.beam :] = False
        if ends.any():
            penalized = choices.scores / search.penalty(length)
            texts = cache.text(choices.parents[ends])[:, 1:].tolist()
            numbers = beams.sentences[ends.nonzero()[:, 0]].tolist()
            for number, text, score in zip(numbers, texts, penalized[ends].tolist()):
                ended[number].append(Hypothesis(tuple(text), score))
            beams.keep(penalized.where(ends, -torch.inf))
        parents = beams.advance(choices, search.beam)
        reachable = beams.scores[:, 0] / search.penalty(min(2 * length, search.limit))
        done = (reachable <= beams.best[:, -1]) | (ends.any(1) & greedy)
        going = (~done).nonzero()[:, 0]
        if not len(going):
            break
        if len(going) < len(parents):
            beams, parents, cache.memory = beams.select(going), parents[going], cache.memory.select(going)
        cache.reorder(parents)
    what = f"{model.config.name} gives no translation: its logits are not finite"
    demand(all(ended), what, "use a checkpoint from before the training diverged")
    return [sorted(some, key=lambda hypothesis: -hypothesis.score)[: search.n_best] for some in ended]


class Choices(NamedTuple):
    """The C likeliest continuations of the hypotheses of each sentence, B C each, likeliest first."""

    scores: Tensor
    """log-probabilities"""
    tokens: Tensor
    """the next tokens"""
    parents: Tensor
    """positions of the hypotheses among all B*K"""


@dataclass
class Beams:
    """The hypotheses of the sentences in the search."""

    sentences: Tensor
    """B: positions of the sentences in the batch"""
    tokens: Tensor
    """B K: the newest token of each hypothesis"""
    scores: Tensor
    """B K: log-probabilities, highest first"""
    best: Tensor
    """B n_best: the highest scores of ended hypotheses, with the length penalty"""

    @classmethod
    def of(cls, source: Tensor, n_best: int) -> "Beams":
        """One hypothesis without tokens for each sentence of B S."""
        sentences = torch.arange(len(source), device=source.device)
        tokens = source.new_full((len(source), 1), BOS)
        scores = torch.zeros(tokens.shape, device=source.device)
        return cls(sentences, tokens, scores, scores.new_full((len(source), n_best), -torch.inf))

    def choices(self, values: Tensor, words: Tensor, count: int) -> Choices:
        """B K M log-probabilities of M next tokens, and these tokens B K M -> the `count` likeliest continuations."""
        scores, index = _top((self.scores.unsqueeze(2) + values).flatten(1), count)
        first = torch.arange(len(scores), device=scores.device).unsqueeze(1) * self.scores.shape[1]
        return Choices(scores, words.flatten(1).gather(1, index), first + index // words.shape[2])

    def keep(self, scores: Tensor) -> None:
        """Record ended hypotheses: their scores with the penalty, B C, -inf for none."""
        self.best = torch.cat([self.best, scores], dim=1).topk(self.best.shape[1]).values

    def advance(self, choices: Choices, beam: int) -> Tensor:
        """Continue with the `beam` likeliest that have not ended; returns their parents, B K."""
        self.scores, index = _top(choices.scores.masked_fill(choices.tokens == EOS, -torch.inf), beam)
        self.tokens = choices.tokens.gather(1, index)
        return choices.parents.gather(1, index)

    def select(self, sentences: Tensor) -> "Beams":
        """The beams of the sentences at these positions."""
        return Beams(*(getattr(self, field.name)[sentences] for field in fields(self)))


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


def _batches(sources: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """Positions of sentences of similar length; the longest come first, so that a lack of memory shows at once."""
    order = sorted(range(len(sources)), key=lambda number: -len(sources[number]))
    for first in range(0, len(order), size):
        yield order[first : first + size]


def _padded(sentences: list[Sequence[int]], device: torch.device) -> Tensor:
    """B S, padded with `PAD`."""
    longest = max(map(len, sentences))
    return torch.tensor([[*sentence, *[PAD] * (longest - len(sentence))] for sentence in sentences], device=device)


def _check(number: int, source: Sequence[int], model: Seq2Seq) -> None:
    """Raise `UserError` for a sentence that is empty or has unknown tokens."""
    name, vocabulary = f"sentence {number}, from 0,", model.config.vocabulary
    demand(len(source) > 0, f"{name} has no tokens", f"end each with {EOS}")
    inside = min(source) >= 0 and max(source) < vocabulary
    demand(
        inside, f"{name} has tokens from {min(source)} to {max(source)}", f"the vocabulary has 0 to {vocabulary - 1}"
    )
