"""Batches of sentence pairs by number of tokens: a function of (seed, epoch, position).

Pairs are sorted by the length of their longer side and divided into micro-batches up to a budget of tokens. So the
boundaries and the number of micro-batches are the same in every epoch. The order of pairs with equal length and the
order of the micro-batches are drawn for each epoch. Any number of processes has the same micro-batches, and each
process has a share of the sentences of each of them.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from hashlib import blake2b
from itertools import count
from typing import Any, Literal

import numpy as np
import torch

from resmlp.config.seq2seq import BOS, EOS, PAD
from resmlp.nn.shared_masks import dealt
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError


class TokenBatches:
    """The share of process `rank` of each micro-batch of an epoch.

    A micro-batch is cut from the pairs of the epoch so that its pairs times the tokens of the longest side, with its
    end, are at most batch_size / accumulate. Its pairs are dealt one by one, in the order of their length, to the
    `world` processes. A share is `{"source": int64 B S, "target": int64 B T, "tokens": int, "mean_tokens": float,
    "places": Places | None}`.

    A source is its tokens and EOS; a target is BOS, its tokens and EOS; both are padded with PAD to the longest of the
    micro-batch, in each process. So B times the longer of S and T - 1 (the decoder's inputs and outputs) is at most
    batch_size / (world * accumulate) and one sentence more. `tokens` is the number of tokens to predict in the share,
    including EOS, and `mean_tokens` is its mean over all shares of the step: a sum over tokens divided by it, averaged
    over parts and processes, is the mean over the tokens of the step. `places` are those of the share among the pairs
    of the micro-batch; None for one process.

    With `max_length` positions in the network, a side may have `max_length - 1` tokens. `long` decides about a longer
    pair: it is dropped, its sides are truncated, or it is an error with `location` of its index in the message.

    Each pair occurs once in an epoch, except the pairs of at most `accumulate - 1` micro-batches that do not fill a
    step, different ones in each epoch. Raises `UserError` for a pair that is too long, for a batch smaller than the
    longest pair, for no pairs, for a micro-batch with fewer pairs than processes, and for fewer micro-batches than one
    step needs; ValueError if `sources` and `targets` have different lengths.
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
        self._lengths = self._sources.lengths() + 1, self._targets.lengths() + 1  # with the end
        self._sides = np.maximum(*self._lengths)
        self._cuts = _checked_cuts(self._sides, batch_size, accumulate, world)
        self._accumulate = accumulate
        self.steps: int = (len(self._cuts) - 1) // accumulate
        """optimizer steps in an epoch, the same in each epoch and for any number of processes"""
        what = f"--data.batch-size {batch_size} gives only {len(self._cuts) - 1} micro-batches"
        demand(self.steps > 0, what, f"{accumulate} accumulated parts need one each: choose a smaller batch")

    def epoch(self, epoch: int, start: int = 0) -> Iterator[dict[str, Any]]:
        """The shares of the `steps * accumulate` micro-batches of an epoch, from number `start` on."""
        rng = np.random.default_rng([self._seed, epoch])
        order = np.lexsort(
            (rng.random(self.pairs), self._sides)
        )  # by length, with pairs of equal length in random order
        turns = rng.permutation(len(self._cuts) - 1)[: self.steps * self._accumulate]
        tokens = np.add.reduceat(self._lengths[1][order], self._cuts[:-1])[turns]  # of each micro-batch
        means = tokens.reshape(self.steps, self._accumulate).mean(1) / self._world
        for number, turn in enumerate(turns[start:], start):
            batch = self._share(order[self._cuts[turn] : self._cuts[turn + 1]])
            yield batch | {"mean_tokens": float(means[number // self._accumulate])}

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

    def _share(self, pairs: np.ndarray) -> dict[str, Any]:
        """The share of this process of a micro-batch of `pairs`, padded to the longest of all processes."""
        source, target = (int(lengths[pairs].max()) for lengths in self._lengths)
        own = pairs[self._rank :: self._world].tolist()
        return {
            "source": padded([[*self._sources[i], EOS] for i in own], source),
            "target": padded([[BOS, *self._targets[i], EOS] for i in own], target + 1),
            "tokens": int(self._lengths[1][own].sum()),
            "places": dealt(len(pairs), self._rank, self._world),
        }


def padded(rows: Sequence[Sequence[int]], width: int | None = None) -> torch.Tensor:
    """Rows of tokens as int64 B N, padded with PAD; N is `width`, by default the length of the longest row."""
    result = np.full((len(rows), width or max(map(len, rows))), PAD)
    for line, row in zip(result, rows):
        line[: len(row)] = row
    return torch.from_numpy(result)


def _checked_cuts(sides: np.ndarray, batch_size: int, accumulate: int, world: int) -> list[int]:
    """The `_cuts` of the pairs with these longer sides. Raises `UserError` if a process has no pair of a micro-batch.

    The error names the next larger batch that works. A batch of 2 * world - 1 of the longest pairs always does.
    """
    lengths, counts = np.unique(sides, return_counts=True)
    ends, longest = np.cumsum(counts).tolist(), int(lengths[-1])

    def cuts(budget: int) -> list[int] | None:
        """None if the budget is too small."""
        found = _cuts(lengths.tolist(), ends, budget) if budget >= longest else [0, 0]
        return found if min(np.diff(found)) >= world else None

    pairs, budget = len(sides), batch_size // accumulate
    demand(pairs >= world, f"{pairs} training pairs for {world} processes", "give more text, or start fewer processes")
    if result := cuts(budget):
        return result
    what = f"--data.batch-size {batch_size} in {accumulate} parts"
    short = f"is less than the {longest} tokens of the longest pair"
    few = f"gives a micro-batch with fewer sentences than the {world} processes"
    smallest = next(larger for larger in count(max(budget, longest)) if cuts(larger))
    hint = f"choose {smallest * accumulate}, the next one that works"
    raise UserError(f"{what} {short if budget < longest else few}", hint)


def _cuts(lengths: list[int], ends: list[int], budget: int) -> list[int]:
    """Boundaries between pairs in ascending order of length: a micro-batch, padded to its longest pair, fits `budget`.

    `lengths` are the different lengths, and `ends` the number of pairs up to each. The last two micro-batches are
    evened out, so that the last, which has the longest pairs, is not a single pair that is left over.
    """
    cuts, shorter = [0], 0
    for length, end in zip(lengths, ends):
        while end - cuts[-1] > budget // length:
            cuts.append(max(shorter, cuts[-1] + budget // length))
        shorter = end
    if len(cuts) > 1:
        even = min((ends[-1] - cuts[-2]) // 2, budget // lengths[-1])
        cuts[-1] = min(cuts[-1], ends[-1] - even)
    return [*cuts, ends[-1]]


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
