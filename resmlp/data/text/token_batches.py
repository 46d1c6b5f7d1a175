"""Batches of sentence pairs by number of tokens: a function of (seed, epoch, rank, position).

Pairs are sorted by the length of their longer side and divided into micro-batches up to a budget of tokens. So the
boundaries and the number of micro-batches are the same in every epoch and process. The order of pairs with equal length
and the order of the micro-batches are drawn for each epoch.
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

    A source is its tokens and EOS; a target is BOS, its tokens and EOS; both are padded with PAD. `tokens` is the
    number of tokens to predict, including EOS, and `mean_tokens` is its mean over all micro-batches of the step: a sum
    over tokens divided by it, averaged over parts and processes, is the mean over the tokens of the step.

    With `max_length` positions in the network, a side may have `max_length - 1` tokens. `long` decides about a longer
    pair: it is dropped, its sides are truncated, or it is an error with `location` of its index in the message. B times
    the longer of S and T - 1 (the decoder's inputs and outputs) is at most batch_size / (world * accumulate).

    Each pair occurs once in an epoch, except the pairs of at most `world * accumulate - 1` micro-batches that do not
    fill a step, different ones in each epoch. Raises `UserError` for a pair that is too long, for a batch smaller than
    the longest pair, for no pairs, and for fewer micro-batches than one step needs; ValueError if `sources` and
    `targets` have different lengths.
    """

    def __init__(
        self,
        sources: Iterable[Sequence[int]],
        targets: Iterable[Sequence[int]],
        batch_size: int,
        max_length: int,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        accumulate: int = 1,
        long: Literal["drop", "truncate", "error"] = "drop",
        location: Callable[[int], str] = "pair {} (from 0)".format,
    ):
        self.dropped = 0
        """pairs that were dropped, because a side has more tokens than the network accepts"""
        self.truncated = 0
        """pairs with a truncated side"""
        self._seed, self._rank, self._world = seed, rank, world
        self._sources, self._targets = _Ragged(), _Ragged()
        self._take(zip(sources, targets, strict=True), max_length - 1, long, location)
        self.pairs: int = len(self._sources)
        """pairs that were kept"""
        what = f"no training pairs; {self.dropped} are longer than the {max_length} tokens of the network"
        demand(self.pairs > 0, what, "give text, --data.long-sentences truncate, or a larger --model.max-length")
        self._sides = np.maximum(self._sources.lengths(), self._targets.lengths()) + 1
        self._cuts = _cuts(np.sort(self._sides), batch_size, world * accumulate)
        self.steps: int = (len(self._cuts) - 1) // (world * accumulate)
        """optimizer steps in an epoch, the same in each epoch and process"""
        what = f"--data.batch-size {batch_size} gives only {len(self._cuts) - 1} micro-batches"
        hint = f"{world} processes x {accumulate} accumulated parts need one each: choose a smaller batch"
        demand(self.steps > 0, what, hint)
        self._batches = self.steps * accumulate

    def epoch(self, epoch: int, start: int = 0) -> Iterator[dict[str, Any]]:
        """The `steps * accumulate` micro-batches of an epoch, from number `start` on."""
        rng = np.random.default_rng([self._seed, epoch])
        order = np.lexsort(
            (rng.random(self.pairs), self._sides)
        )  # by length, with pairs of equal length in random order
        turns = rng.permutation(len(self._cuts) - 1)
        tokens = np.add.reduceat(self._targets.lengths()[order] + 1, self._cuts[:-1])[turns]  # of each micro-batch
        parts = self._batches // self.steps * self._world
        means = tokens[: self.steps * parts].reshape(self.steps, parts).mean(1)
        for number, turn in enumerate(turns[self._rank :: self._world][start : self._batches], start):
            batch = self._batch(order[self._cuts[turn] : self._cuts[turn + 1]].tolist())
            yield batch | {"mean_tokens": float(means[number * self.steps // self._batches])}

    @cached_property
    def fingerprint(self) -> str:
        """Twelve characters that identify the tokens and their order."""
        digest = blake2b(digest_size=6)
        for side in (self._sources, self._targets):
            side.add_to(digest)
        return digest.hexdigest()

    def _take(
        self,
        pairs: Iterable[tuple[Sequence[int], Sequence[int]]],
        limit: int,
        long: str,
        location: Callable[[int], str],
    ) -> None:
        """Store the pairs; `long` decides about those with a side of more than `limit` tokens."""
        for number, (source, target) in enumerate(pairs):
            length = max(len(source), len(target))
            if length > limit and long == "error":
                hint = "set --data.long-sentences drop or truncate, or a larger --model.max-length"
                what = f"{location(number)} has {length} tokens; the limit of the network is {limit}"
                raise UserError(what, hint)
            if length > limit and long == "drop":
                self.dropped += 1
                continue
            self.truncated += length > limit
            self._sources.append(source[:limit])
            self._targets.append(target[:limit])

    def _batch(self, chosen: list[int]) -> dict[str, Any]:
        targets = [self._targets[i] for i in chosen]
        return {
            "source": padded([[*self._sources[i], EOS] for i in chosen]),
            "target": padded([[BOS, *tokens, EOS] for tokens in targets]),
            "tokens": sum(map(len, targets)) + len(targets),
        }


def padded(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Rows of tokens as int64 B N, where N is the length of the longest row; the others are padded with PAD."""
    result = np.full((len(rows), max(map(len, rows))), PAD)
    for line, row in zip(result, rows):
        line[: len(row)] = row
    return torch.from_numpy(result)


def _cuts(sides: np.ndarray, batch_size: int, parts: int) -> list[int]:
    """Boundaries between ascending lengths: each micro-batch, padded to its longest side, fits batch_size / parts."""
    budget, longest = batch_size // parts, int(sides[-1])
    what = f"--data.batch-size {batch_size} in {parts} parts is less than the {longest} tokens of the longest pair"
    demand(longest <= budget, what, f"choose {longest * parts} or more")
    cuts = [0]
    for i, side in enumerate(sides.tolist()):
        if (i + 1 - cuts[-1]) * side > budget:
            cuts.append(i)
    return [*cuts, len(sides)]


class _Ragged:
    """Rows of tokens in one array, which needs a tenth of the memory of lists."""

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
