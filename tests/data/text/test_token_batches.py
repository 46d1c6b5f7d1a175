"""Batches by tokens: the budget, every pair once, and reproducible."""

import random
from collections import Counter
from itertools import chain

import numpy as np
import pytest
import torch

from resmlp.config import Text
from resmlp.config.seq2seq import BOS, EOS, PAD
from resmlp.data import TokenBatches, open_pairs, padded
from resmlp.utils.errors import UserError


def sentences(pairs: int, most: int = 20, seed: int = 0) -> tuple[list[list[int]], list[list[int]]]:
    """Pairs with 0 to `most` tokens on a side; the first token of a source identifies the pair."""
    rng = random.Random(seed)
    sources = [[100 + i] + [rng.randrange(4, 99) for _ in range(rng.randrange(most))] for i in range(pairs)]
    targets = [[rng.randrange(4, 99) for _ in range(rng.randrange(most + 1))] for _ in range(pairs)]
    return sources, targets


def rows(batch) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The pairs of a batch without special tokens; checks each of them."""
    result = []
    for source, target in zip(batch["source"].tolist(), batch["target"].tolist()):
        ends = source.index(EOS), target.index(EOS)
        assert target[0] == BOS
        assert {*source[ends[0] + 1 :], *target[ends[1] + 1 :]} <= {PAD}
        result.append((tuple(source[: ends[0]]), tuple(target[1 : ends[1]])))
        assert not {PAD, BOS, EOS} & {*chain(*result[-1])}
    return result


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (1, 3), (2, 1), (3, 2)])
@pytest.mark.parametrize("batch", [126, 601, 3000])
def test_budget_and_coverage(world, accumulate, batch):
    """Each pair once; a micro-batch fits the budget, and a share the budget of a process and one more sentence."""
    sources, targets = sentences(500)
    settings = {"seed": 3, "world": world, "accumulate": accumulate}
    ranks = [TokenBatches(sources, targets, batch, 21, rank=rank, **settings) for rank in range(world)]
    assert len({batches.steps for batches in ranks}) == 1
    expected = Counter((tuple(source), tuple(target)) for source, target in zip(sources, targets))
    for epoch in range(3):
        seen: Counter = Counter()
        micro_batches = list(zip(*(batches.epoch(epoch) for batches in ranks), strict=True))
        assert len(micro_batches) == ranks[0].steps * accumulate
        for shares in micro_batches:
            pairs = [rows(share) for share in shares]
            source, target = (1 + max(len(pair[side]) for part in pairs for pair in part) for side in (0, 1))
            assert sum(map(len, pairs)) * max(source, target) <= batch // accumulate
            for share, own in zip(shares, pairs):
                assert (share["source"].shape[1], share["target"].shape[1]) == (source, target + 1)
                assert 0 < len(own) * max(source, target) <= batch // (world * accumulate) + max(source, target)
                assert share["tokens"] == sum(len(target) + 1 for _, target in own)
                assert share["tokens"] == int((share["target"][:, 1:] != PAD).sum())
                assert share["source"].dtype == share["target"].dtype == torch.int64
                seen.update(own)
        assert not seen - expected  # no pair twice, in one process or in several
        if accumulate == 1:
            assert seen == expected


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("batch", [360, 601])
def test_processes_share_the_micro_batches_of_one_process(accumulate, batch):
    """The same steps on 1, 2, 4 and 8 processes: each sentence is at its place among all, as long as among all."""
    sources, targets = sentences(900, most=9)
    settings = {"seed": 3, "accumulate": accumulate}
    alone = list(TokenBatches(sources, targets, batch, 11, **settings).epoch(1))
    assert all(share["places"] is None for share in alone)
    for world in (2, 4, 8):
        ranks = [TokenBatches(sources, targets, batch, 11, rank=rank, world=world, **settings) for rank in range(world)]
        for whole, *shares in zip(alone, *(batches.epoch(1) for batches in ranks), strict=True):
            for side in ("source", "target"):
                joined = torch.full_like(whole[side], -1)
                for share in shares:
                    joined[share["places"].own] = share[side]
                assert torch.equal(joined, whole[side])
            assert {share["places"].total for share in shares} == {len(whole["source"])}
            sizes = [len(share["source"]) for share in shares]
            assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (1, 3), (3, 2)])
def test_mean_tokens(world, accumulate):
    """The mean over the shares of one step in all processes, also after resuming in the middle of an epoch."""
    settings = {"seed": 3, "world": world, "accumulate": accumulate}
    ranks = [TokenBatches(*sentences(500), 601, 21, rank=rank, **settings) for rank in range(world)]
    parts = [list(batches.epoch(1)) for batches in ranks]
    for step in range(ranks[0].steps):
        together = [batch for part in parts for batch in part[step * accumulate : (step + 1) * accumulate]]
        mean = sum(batch["tokens"] for batch in together) / (world * accumulate)
        assert [batch["mean_tokens"] for batch in together] == pytest.approx([mean] * len(together), rel=1e-12)
    later = list(ranks[0].epoch(1, accumulate + 1))
    assert [batch["mean_tokens"] for batch in later] == [batch["mean_tokens"] for batch in parts[0][accumulate + 1 :]]


def test_unused_pairs_are_less_than_a_step_and_differ_by_epoch():
    sources, targets = sentences(1000)
    ranks = [TokenBatches(sources, targets, 800, 21, seed=0, rank=rank, world=2, accumulate=4) for rank in range(2)]
    whole = len(list(TokenBatches(sources, targets, 200, 21, seed=0).epoch(0)))
    assert ranks[0].steps == whole // 4
    assert whole % 4 > 0
    unused = []
    for epoch in range(2):
        seen = {pair[0][0] for batches in ranks for batch in batches.epoch(epoch) for pair in rows(batch)}
        unused.append({source[0] for source in sources} - seen)
        assert 0 < len(unused[-1]) <= 3 * 200 // 2
    assert unused[0] != unused[1]


def equal(first, second) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a["source"], b["source"]) and torch.equal(a["target"], b["target"]) and a["tokens"] == b["tokens"]
        for a, b in zip(first, second)
    )


def test_order_is_a_function_of_seed_and_epoch():
    sources, targets = sentences(400)

    def made(epoch, **settings):
        return list(TokenBatches(sources, targets, 300, 21, **{"seed": 1} | settings).epoch(epoch))

    first = made(0)
    np.random.seed(7)
    random.seed(7)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    assert equal(first, made(0))
    assert torch.equal(state, torch.get_rng_state())
    assert not equal(first, made(1))
    assert not equal(first, made(0, seed=2))
    one = TokenBatches(sources, targets, 300, 21, seed=1)
    list(one.epoch(1))
    assert equal(list(one.epoch(0)), first)


def test_micro_batches_differ_by_epoch():
    sources, targets = sentences(2000)
    batches = TokenBatches(sources, targets, 400, 21, seed=0)
    epochs = [{frozenset(pair[0][0] for pair in rows(batch)) for batch in batches.epoch(epoch)} for epoch in (0, 1)]
    assert len(epochs[0] & epochs[1]) < 0.1 * len(epochs[0])


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (2, 3)])
def test_resuming_in_the_middle_of_an_epoch(world, accumulate):
    sources, targets = sentences(600)
    for rank in range(world):
        settings = {"seed": 5, "rank": rank, "world": world, "accumulate": accumulate}
        whole = list(TokenBatches(sources, targets, 600, 21, **settings).epoch(4))
        for start in (0, 1, len(whole) // 2, len(whole) - 1, len(whole), len(whole) + 5):
            assert equal(list(TokenBatches(sources, targets, 600, 21, **settings).epoch(4, start)), whole[start:])


def test_long_pairs():
    sources = [[5] * 9, [6] * 10, [7] * 3, []]
    targets = [[15] * 9, [16] * 2, [17] * 30, []]
    dropped = TokenBatches(sources, targets, 100, 10, seed=0)
    assert (dropped.dropped, dropped.truncated, dropped.pairs) == (2, 0, 2)
    assert Counter(chain(*map(rows, dropped.epoch(0)))) == Counter([((5,) * 9, (15,) * 9), ((), ())])
    cut = TokenBatches(sources, targets, 100, 10, seed=0, long="truncate")
    assert (cut.dropped, cut.truncated, cut.pairs) == (0, 2, 4)
    expected = [((5,) * 9, (15,) * 9), ((6,) * 9, (16,) * 2), ((7,) * 3, (17,) * 9), ((), ())]
    assert Counter(chain(*map(rows, cut.epoch(0)))) == Counter(expected)
    for batch in cut.epoch(0):
        assert max(batch["source"].shape[1], batch["target"].shape[1] - 1) <= 10
    with pytest.raises(UserError, match=r"pair 1 \(from 0\) has 10 tokens; the limit of the network is 9"):
        TokenBatches(sources, targets, 100, 10, seed=0, long="error")
    with pytest.raises(UserError, match="the line of 1 has 10 tokens"):
        TokenBatches(sources, targets, 100, 10, seed=0, long="error", location="the line of {}".format)
    assert TokenBatches(sources[:1], targets[:1], 100, 10, seed=0, long="error").pairs == 1


def test_fingerprint_identifies_the_training_text():
    """It does not depend on the batches and the seed, but on every token and its position."""

    def fingerprint(sources, targets, batch=100, **options) -> str:
        return TokenBatches(sources, targets, batch, 10, **{"seed": 0, **options}).fingerprint

    base = fingerprint([[5, 6], [7]], [[8], [9, 10]])
    assert fingerprint([[5, 6], [7], [4] * 10], [[8], [9, 10], [4]], 50, seed=3) == base, "the longest pair is dropped"
    others = [([[5], [6, 7]], [[8], [9, 10]]), ([[7], [5, 6]], [[9, 10], [8]]), ([[5, 6], [7]], [[8], [9, 11]])]
    assert len({base, *(fingerprint(*other) for other in others), fingerprint(*others[0][::-1])}) == 5


def test_invalid_batch_sizes():
    with pytest.raises(
        UserError, match="batch-size 20 in 2 parts is less than the 11 tokens of the longest pair .choose 22"
    ):
        TokenBatches([[5] * 10], [[5]], 20, 99, seed=0, accumulate=2)
    assert TokenBatches([[5] * 10] * 2, [[5]] * 2, 22, 99, seed=0, accumulate=2).steps == 1
    with pytest.raises(UserError, match="only 1 micro-batches.*2 accumulated parts need one each"):
        TokenBatches([[5]] * 3, [[5]] * 3, 400, 99, seed=0, world=2, accumulate=2)
    with pytest.raises(UserError, match="3 training pairs for 4 processes"):
        TokenBatches([[5]] * 3, [[5]] * 3, 400, 99, seed=0, world=4)
    with pytest.raises(UserError, match="no training pairs; 1 are longer than the 8 tokens of the network"):
        TokenBatches([[5] * 10], [[5]], 400, 8, seed=0)
    with pytest.raises(UserError, match="no training pairs"):
        TokenBatches([], [], 400, 8, seed=0)
    with pytest.raises(ValueError, match="longer|shorter"):
        TokenBatches([[5]], [[5], [6]], 400, 8, seed=0)


@pytest.mark.parametrize("world", [2, 3, 8])
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize(("pairs", "most"), [(200, 20), (500, 3), (8, 5), (41, 12)])
def test_the_smallest_batch_with_a_sentence_for_each_process(pairs, most, accumulate, world):
    """Found by trying all; the error names it, and a batch of 2 * world - 1 of the longest pairs always works."""
    sources, targets = sentences(pairs, most)
    longest = 1 + max(map(len, [*sources, *targets]))

    def fits(budget: int) -> bool:
        try:
            batches = TokenBatches(sources, targets, budget, 99, seed=0)
        except UserError:
            return False
        return all(len(batch["source"]) >= world for batch in batches.epoch(0))

    smallest = next(budget for budget in range(longest, pairs * longest + 1) if fits(budget))
    assert smallest <= (2 * world - 1) * longest
    for budget in (longest - 1, smallest - 1):
        with pytest.raises(UserError, match=rf"choose {smallest * accumulate}, the next") as caught:
            TokenBatches(sources, targets, budget * accumulate, 99, seed=0, world=world, accumulate=accumulate)
        assert len(str(caught.value)) < 200
    if len(list(TokenBatches(sources, targets, smallest, 99, seed=0).epoch(0))) >= accumulate:
        settings = {"seed": 0, "world": world, "accumulate": accumulate, "rank": world - 1}
        last = TokenBatches(sources, targets, smallest * accumulate, 99, **settings)
        assert all(len(batch["source"]) for batch in last.epoch(0))


def test_the_pairs_that_are_left_over_are_not_a_micro_batch_alone():
    """41 pairs in micro-batches of 10: the last two have 6 and 5, not 10 and 1."""
    sizes = [len(batch["source"]) for batch in TokenBatches([[5]] * 41, [[5]] * 41, 20, 9, seed=0).epoch(0)]
    assert sorted(sizes) == [5, 6, 10, 10, 10]
    uneven = TokenBatches([[5]] * 40 + [[5] * 7], [[5]] * 41, 20, 9, seed=0)  # 2 of the longest fit
    assert sorted(len(batch["source"]) for batch in uneven.epoch(0)) == [2, 9, 10, 10, 10]


def test_iterators_as_input():
    sources, targets = sentences(50)
    lists = TokenBatches(sources, targets, 300, 21, seed=0)
    assert equal(list(TokenBatches(iter(sources), iter(targets), 300, 21, seed=0).epoch(0)), list(lists.epoch(0)))


def test_padded():
    assert padded([[7, 8], [9], []]).tolist() == [[7, 8], [9, PAD], [PAD, PAD]]
    assert padded([[7], [8]], 3).tolist() == [[7, PAD, PAD], [8, PAD, PAD]]


def test_multi30k(shared):
    """Sentences of real lengths; every word is one token."""
    train, _ = open_pairs(Text(root=str(shared / "mt" / "multi30k")))
    sources, targets = (
        [[4 + len(word) for word in line.split()] for line in side] for side in (train.sources, train.targets)
    )
    batches = TokenBatches(sources, targets, 4096, 99, seed=0)
    assert (batches.pairs, batches.dropped) == (29_000, 0)
    cells = tokens = pairs = 0
    for batch in batches.epoch(0):
        for side in (batch["source"], batch["target"][:, 1:]):
            cells += side.numel()
            tokens += int((side != PAD).sum())
        assert len(batch["source"]) * max(batch["source"].shape[1], batch["target"].shape[1] - 1) <= 4096
        pairs += len(batch["source"])
    assert pairs == 29_000
    assert tokens == sum(map(len, sources)) + sum(map(len, targets)) + 2 * pairs
    assert 1 - tokens / cells < 0.1
    fullest = -(-sum(max(len(s), len(t)) + 1 for s, t in zip(sources, targets)) // 4096)
    assert fullest <= batches.steps <= 1.02 * fullest + 1
