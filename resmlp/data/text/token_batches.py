"""Batches of sentences by tokens. What is in one is a function of (seed, epoch, rank, position) and of nothing else.

Sentences are sorted by the length of their longer side, and cut into micro-batches that fill the budget of tokens.
These lengths, and so the cuts and the number of micro-batches, are the same in every epoch and process. Which of the
sentences of one length comes where, and which micro-batch when, is drawn anew for each epoch.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
import torch

from resmlp.config.seq2seq import BOS, EOS, PAD
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError


class TokenBatches:
    """Micro-batches of an epoch: `{"source": int64 B S, "target": int64 B T, "tokens": int, "mean_tokens": float}`.

    A source is its tokens and EOS, a target BOS, its tokens and EOS, both filled up with PAD; `tokens` is how many the
    decoder has to tell, EOS included, and `mean_tokens` the mean of it over all micro-batches of the step: a sum over
    tokens divided by it becomes, once averaged over parts and processes, the mean over the step's tokens.

    A network that takes `longest` positions takes sides of `longest - 1` tokens; of a longer pair, `long` says what
    becomes: it is dropped, its sides are cut, or it is an error, which says `place` of its number, from 0. B times the
    longer of S and T - 1 (what the decoder reads, and what it tells) is at most batch_size / (world * accumulate).

    Each pair comes once in an epoch, except those of at most `world * accumulate - 1` micro-batches, others each time,
    which would not make a whole step. Raises `UserError` for a pair that is too long, a batch that does not hold the
    longest pair, no pairs, and fewer micro-batches than one step needs; ValueError where the sides are not as many.
    """

    def __init__(
        self,
        sources: Iterable[Sequence[int]],
        targets: Iterable[Sequence[int]],
        batch_size: int,
        longest: int,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        accumulate: int = 1,
        long: Literal["drop", "truncate", "error"] = "drop",
        place: Callable[[int], str] = "pair {}, from 0,".format,
    ):
        self.dropped = 0
        """pairs left out, as a side has more tokens than the network takes"""
        self.truncated = 0
        """pairs of which a side was cut"""
        self._seed, self._rank, self._world = seed, rank, world
        self._sources, self._targets = _Ragged(), _Ragged()
        self._take(zip(sources, targets, strict=True), longest - 1, long, place)
        self.pairs: int = len(self._sources)
        """pairs that are kept"""
        what = f"no pairs to learn from, and {self.dropped} are longer than the network's {longest} tokens"
        demand(self.pairs > 0, what, "give text, --data.long-sentences truncate, or a larger --model.max-length")
        self._sides = np.maximum(self._sources.lengths(), self._targets.lengths()) + 1
        self._cuts = _cuts(np.sort(self._sides), batch_size, world * accumulate)
        self.steps: int = (len(self._cuts) - 1) // (world * accumulate)
        """optimizer steps in an epoch, the same in each epoch and process"""
        what = f"--data.batch-size {batch_size} takes all text at once, in {len(self._cuts) - 1} micro-batches"
        hint = f"{world} processes x {accumulate} accumulated parts need one each: give a smaller batch"
        demand(self.steps > 0, what, hint)
        self._own = self.steps * accumulate

    def epoch(self, epoch: int, start: int = 0) -> Iterator[dict[str, Any]]:
        """The micro-batches of an epoch, `steps * accumulate` of them, from number `start` on."""
        rng = np.random.default_rng([self._seed, epoch])
        order = np.lexsort((rng.random(self.pairs), self._sides))  # by side, and among equal sides at random
        turns = rng.permutation(len(self._cuts) - 1)
        told = np.add.reduceat(self._targets.lengths()[order] + 1, self._cuts[:-1])[turns]  # in each micro-batch
        parts = self._own // self.steps * self._world
        means = told[: self.steps * parts].reshape(self.steps, parts).mean(1)
        for number, turn in enumerate(turns[self._rank :: self._world][start : self._own], start):
            batch = self._batch(order[self._cuts[turn] : self._cuts[turn + 1]].tolist())
            yield batch | {"mean_tokens": float(means[number * self.steps // self._own])}

    @cached_property
    def fingerprint(self) -> str:
        """Twelve characters that other tokens, or these in another order, do not have."""
        digest = blake2b(digest_size=6)
        for side in (self._sources, self._targets):
            side.add_to(digest)
        return digest.hexdigest()

    def _take(
        self,
        pairs: Iterable[tuple[Sequence[int], Sequence[int]]],
        room: int,
        long: str,
        place: Callable[[int], str],
    ) -> None:
        """Keep the pairs, those with a side of more than `room` tokens as `long` says."""
        for number, (source, target) in enumerate(pairs):
            most = max(len(source), len(target))
            if most > room and long == "error":
                hint = "--data.long-sentences drop or truncate, or a larger --model.max-length"
                what = f"{place(number)} has {most} tokens, and the network takes {room} and the end"
                raise UserError(what, hint)
            if most > room and long == "drop":
                self.dropped += 1
                continue
            self.truncated += most > room
            self._sources.append(source[:room])
            self._targets.append(target[:room])

    def _batch(self, chosen: list[int]) -> dict[str, Any]:
        targets = [self._targets[i] for i in chosen]
        return {
            "source": padded([[*self._sources[i], EOS] for i in chosen]),
            "target": padded([[BOS, *tokens, EOS] for tokens in targets]),
            "tokens": sum(map(len, targets)) + len(targets),
        }


def padded(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Rows of numbers as int64 B N, N that of the longest, the others filled up with PAD."""
    filled = np.full((len(rows), max(map(len, rows))), PAD)
    for line, row in zip(filled, rows):
        line[: len(row)] = row
    return torch.from_numpy(filled)


def _cuts(sides: np.ndarray, batch_size: int, parts: int) -> list[int]:
    """Where ascending lengths are cut so that each piece, filled up to its longest, holds batch_size / parts tokens."""
    budget, longest = batch_size // parts, int(sides[-1])
    what = f"--data.batch-size {batch_size} in {parts} parts does not hold the longest pair's {longest} tokens"
    demand(longest <= budget, what, f"give {longest * parts} or more")
    cuts = [0]
    for i, side in enumerate(sides.tolist()):
        if (i + 1 - cuts[-1]) * side > budget:
            cuts.append(i)
    return [*cuts, len(sides)]


class _Ragged:
    """Rows of token numbers in one array: lists would take ten times the memory."""

    def __init__(self) -> None:
        self._tokens, self._ends = array("i"), array("q", [0])

    def append(self, row: Sequence[int]) -> None:
        self._tokens.extend(row)
        self._ends.append(len(self._tokens))

    def add_to(self, digest: blake2b) -> None:
        digest.update(self._ends)
        digest.update(self._tokens)

    def lengths(self) -> np.ndarray:
        return np.diff(np.frombuffer(self._ends, np.int64))

    def __getitem__(self, i: int) -> "array[int]":
        return self._tokens[self._ends[i] : self._ends[i + 1]]

    def __len__(self) -> int:
        return len(self._ends) - 1
