"""Beam search for the likeliest translations, whatever runs the network. Loads no torch.

B sentences in the search, K hypotheses of each, S source tokens, V tokens in the vocabulary. Of equal scores the
hypothesis that comes first goes first.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from resmlp.config.model_json import Seq2SeqConfig
from resmlp.config.seq2seq import BOS, EOS, PAD, SEARCH
from resmlp.utils.checks import check_range, demand


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


class Decoder(Protocol):
    """A network that has read B sentences, and reads their translations token by token."""

    def step(self, tokens: np.ndarray, count: int | None) -> tuple[np.ndarray, np.ndarray]:
        """B K, the newest token of each hypothesis -> B K M: log-probabilities of next tokens, and their numbers.

        They are the `count` likeliest, likeliest first; None: `EOS` alone.
        """

    def select(self, sentences: np.ndarray) -> None:
        """Forget all sentences but those at these positions. `reorder` follows."""

    def reorder(self, parents: np.ndarray) -> None:
        """Go on with the hypotheses at positions B K among all B*K before `select`: some fork, some end."""


def search_all(
    start: Callable[[np.ndarray], Decoder],
    sources: Sequence[Sequence[int]],
    search: Search,
    network: Seq2SeqConfig,
    batch_size: int,
) -> list[list[Hypothesis]]:
    """The best translations of each of `sources` (token numbers with `EOS` last), best first.

    `start` reads sentences, B S padded with `PAD`. Sentences of similar length are searched together, `batch_size` at
    a time; the result for a sentence does not depend on the others. Raises `UserError`.
    """
    demand(batch_size >= 1, f"batches of {batch_size} sentences", "use 32, for example")
    for number, source in enumerate(sources):
        _check(number, source, network.vocabulary)
    translations: list[list[Hypothesis]] = [[] for _ in sources]
    for numbers in _batches(sources, batch_size):
        batch = _padded([sources[number] for number in numbers])
        found = beam_search(start(batch), len(batch), search)
        what = f"{network.name} gives no translation: its logits are not finite"
        demand(all(found), what, "use a checkpoint from before the training diverged")
        for number, hypotheses in zip(numbers, found):
            translations[number] = hypotheses
    return translations


def beam_search(decoder: Decoder, sentences: int, search: Search) -> list[list[Hypothesis]]:
    """The best hypotheses of each sentence, best first; none where no log-probability is finite.

    In each step, the K likeliest continuations of a sentence that do not end go on, and those among the K likeliest of
    all that end are kept. The search of a sentence stops if no hypothesis can become better than the kept ones by
    growing to twice its length. Stopping when K hypotheses have ended, as is common, loses the best one if poor ones
    end early.
    """
    beams = Beams.of(sentences, search.n_best)
    ended: list[list[Hypothesis]] = [[] for _ in range(sentences)]
    greedy = search.beam == 1  # the first end is the only one
    for length in range(1, search.limit + 1):
        options = decoder.step(beams.tokens, 2 * search.beam if length < search.limit else None)
        choices = beams.choices(*options, 2 * search.beam)
        ends = (choices.tokens == EOS) & np.isfinite(choices.scores)
        ends[:, search.beam :] = False
        if ends.any():
            penalized = choices.scores / search.penalty(length)
            numbers = beams.sentences[ends.nonzero()[0]].tolist()
            texts = beams.texts[choices.parents[ends]].tolist()
            for number, text, score in zip(numbers, texts, penalized[ends].tolist()):
                ended[number].append(Hypothesis(tuple(text), score))
            beams.keep(np.where(ends, penalized, -np.inf))
        parents = beams.advance(choices, search.beam)
        reachable = beams.scores[:, 0] / search.penalty(min(2 * length, search.limit))
        done = (reachable <= beams.best[:, -1]) | (ends.any(1) & greedy)
        going = (~done).nonzero()[0]
        if not len(going):
            break
        if len(going) < len(parents):
            beams, parents = beams.select(going), parents[going]
            decoder.select(going)
        decoder.reorder(parents)
    return [sorted(some, key=lambda hypothesis: -hypothesis.score)[: search.n_best] for some in ended]


class Choices(NamedTuple):
    """The C likeliest continuations of the hypotheses of each sentence, B C each, likeliest first."""

    scores: np.ndarray
    """log-probabilities"""
    tokens: np.ndarray
    """the next tokens"""
    parents: np.ndarray
    """positions of the hypotheses among all B*K"""


@dataclass
class Beams:
    """The hypotheses of the sentences in the search."""

    sentences: np.ndarray
    """B: positions of the sentences in the batch"""
    tokens: np.ndarray
    """B K: the newest token of each hypothesis"""
    scores: np.ndarray
    """B K: log-probabilities, highest first"""
    best: np.ndarray
    """B n_best: the highest scores of ended hypotheses, with the length penalty"""
    texts: np.ndarray
    """B*K t: all tokens of each hypothesis, without `BOS`"""

    @classmethod
    def of(cls, sentences: int, n_best: int) -> "Beams":
        """One hypothesis without tokens for each sentence."""
        scores = np.zeros((sentences, 1), np.float32)
        tokens = np.full((sentences, 1), BOS)
        best = np.full((sentences, n_best), -np.inf, np.float32)
        return cls(np.arange(sentences), tokens, scores, best, np.empty((sentences, 0), int))

    def choices(self, values: np.ndarray, words: np.ndarray, count: int) -> Choices:
        """B K M log-probabilities of M next tokens, and these tokens B K M -> the `count` likeliest continuations."""
        sentences = len(self.scores)
        scores, index = top((self.scores[..., None] + values).reshape(sentences, -1), count)
        first = np.arange(sentences)[:, None] * self.scores.shape[1]
        tokens = np.take_along_axis(words.reshape(sentences, -1), index, 1)
        return Choices(scores, tokens, first + index // words.shape[2])

    def keep(self, scores: np.ndarray) -> None:
        """Record ended hypotheses: their scores with the penalty, B C, -inf for none."""
        self.best = top(np.concatenate([self.best, scores], 1), self.best.shape[1])[0]

    def advance(self, choices: Choices, beam: int) -> np.ndarray:
        """Continue with the `beam` likeliest that have not ended; returns their parents, B K."""
        self.scores, index = top(np.where(choices.tokens == EOS, -np.inf, choices.scores), beam)
        self.tokens, parents = (np.take_along_axis(each, index, 1) for each in (choices.tokens, choices.parents))
        self.texts = np.concatenate([self.texts[parents.ravel()], self.tokens.reshape(-1, 1)], 1)
        return parents

    def select(self, sentences: np.ndarray) -> "Beams":
        """The beams of the sentences at these positions."""
        texts = self.texts.reshape(*self.tokens.shape, -1)[sentences]
        own = (self.sentences, self.tokens, self.scores, self.best)
        numbers, tokens, scores, best = (each[sentences] for each in own)
        return Beams(numbers, tokens, scores, best, texts.reshape(-1, texts.shape[2]))


def top(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` largest along the last axis, or all if there are fewer, largest first; and their positions."""
    index = np.argsort(-values, axis=-1, kind="stable")[..., :count]
    return np.take_along_axis(values, index, -1), index


def likeliest(logits: np.ndarray, count: int | None) -> tuple[np.ndarray, np.ndarray]:
    """B K V -> B K count: log-probabilities of the likeliest tokens and their numbers, as of `Decoder.step`."""
    largest = logits.max(-1, keepdims=True)
    total = largest + np.log(np.exp(logits - largest).sum(-1, keepdims=True))
    if count is None:
        return logits[..., EOS : EOS + 1] - total, np.full((*logits.shape[:-1], 1), EOS)
    few = np.sort(np.argpartition(-logits, min(count, logits.shape[-1]) - 1)[..., :count])
    values, index = top(np.take_along_axis(logits, few, -1), count)
    return values - total, np.take_along_axis(few, index, -1)


def _batches(sources: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """Positions of sentences of similar length; the longest come first, so that a lack of memory shows at once."""
    order = sorted(range(len(sources)), key=lambda number: -len(sources[number]))
    for first in range(0, len(order), size):
        yield order[first : first + size]


def _padded(sentences: list[Sequence[int]]) -> np.ndarray:
    """int64 B S, padded with `PAD`."""
    longest = max(map(len, sentences))
    return np.array([[*sentence, *[PAD] * (longest - len(sentence))] for sentence in sentences], np.int64)


def _check(number: int, source: Sequence[int], vocabulary: int) -> None:
    """Raise `UserError` for a sentence that is empty or has unknown tokens."""
    name = f"sentence {number}, from 0,"
    demand(len(source) > 0, f"{name} has no tokens", f"end each with {EOS}")
    inside = min(source) >= 0 and max(source) < vocabulary
    demand(
        inside, f"{name} has tokens from {min(source)} to {max(source)}", f"the vocabulary has 0 to {vocabulary - 1}"
    )
