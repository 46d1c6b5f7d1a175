"""Beam search against an exhaustive search, greedy search against `forward`, and batches against single sentences."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from numeric import assert_rounded

from resmlp.config.model_json import Seq2SeqConfig
from resmlp.config.seq2seq import BOS, EOS, SEQ2SEQ
from resmlp.models import Seq2Seq, beam_search, search, translate
from resmlp.utils.errors import UserError

NAMES = ("resmlp_mt_tiny", "transformer_mt_tiny")
pytestmark = pytest.mark.isa


def network(name, vocabulary, longest=12, seed=3):
    """A tiny network with random weights that prefers some tokens, and ends sentences at various lengths.

    It computes in float64, so that no rounding decides between two hypotheses. Only the last `EOS` is scored in
    float32: the tolerance of 1e-4 allows it.
    """
    arch = replace(SEQ2SEQ[name], dim=16, hidden=24, heads=2, max_length=longest)
    torch.manual_seed(seed)
    model = Seq2Seq(Seq2SeqConfig(name, arch, vocabulary)).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            small = key.endswith(("bias", "beta", "embedding.weight"))
            parameter.add_(torch.randn_like(parameter) * (0.1 if small else 0.6))
        model.embedding.weight[EOS] *= 2
        spread = model(torch.randint(vocabulary, (20, longest)), torch.randint(vocabulary, (20, longest))).std()
        for parameter in model.decoder_norm.parameters():
            parameter *= 3 / spread
    return model.double()


def draw(model, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, model.config.architecture.max_length, (count,), generator=generator).tolist()
    vocabulary = model.config.vocabulary
    return [[*torch.randint(4, vocabulary, (n,), generator=generator).tolist(), EOS] for n in lengths]


@torch.no_grad()
def log_probability(model, source, text):
    """Log-probability of the tokens and the end after them, by `forward`."""
    return log_probabilities(model, source, [text])[0]


@torch.no_grad()
def log_probabilities(model, source, texts):
    """Log-probabilities of texts of one length, each with the end after it."""
    target = torch.tensor([[*text, EOS] for text in texts])
    given = torch.cat([torch.full((len(texts), 1), BOS), target[:, :-1]], dim=1)
    logits = model(torch.tensor([source] * len(texts)), given).double().log_softmax(2)
    return logits.gather(2, target.unsqueeze(2)).sum((1, 2)).tolist()


@torch.no_grad()
def greedy(model, source, limit):
    """Greedy search, by `forward` for each token."""
    tokens = []
    while len(tokens) < limit - 1:
        following = model(torch.tensor([source]), torch.tensor([[BOS, *tokens]]))[0, -1].argmax().item()
        if following == EOS:
            break
        tokens.append(following)
    return tuple(tokens)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("vocabulary", [6, 300])
def test_a_beam_of_one_is_greedy_search(name, vocabulary):
    model = network(name, vocabulary)
    sources = draw(model, 12)
    results = translate(model, sources, beam=1, length_penalty=0.6)
    for source, (best,) in zip(sources, results):
        assert best.tokens == greedy(model, source, 12)
        expected = log_probability(model, source, best.tokens) / ((6 + len(best.tokens)) / 6) ** 0.6
        assert best.score == pytest.approx(expected, abs=1e-4)
    assert len({best.tokens for (best,) in results}) > 3  # they differ
    if vocabulary == 6:
        assert len({len(best.tokens) for (best,) in results}) > 2  # and end at different steps


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("penalty", [0.0, 0.6, 2.0])
def test_a_wide_beam_finds_the_best_of_all(name, penalty):
    """The beam holds all texts of up to 3 tokens of 5 and the end."""
    model, limit, n_best = network(name, vocabulary=6), 4, 10
    sources = draw(model, 3)
    others = [token for token in range(6) if token != EOS]
    of_length = [list(product(others, repeat=n)) for n in range(limit)]
    texts = [text for some in of_length for text in some]
    results = translate(model, sources, beam=len(texts), length_penalty=penalty, n_best=n_best, max_length=limit)
    for source, hypotheses in zip(sources, results):
        likely = [value for some in of_length for value in log_probabilities(model, source, some)]
        scores = {text: value / ((6 + len(text)) / 6) ** penalty for text, value in zip(texts, likely)}
        best = sorted(texts, key=lambda text: -scores[text])[:n_best]
        assert [hypothesis.tokens for hypothesis in hypotheses] == best
        assert [hypothesis.score for hypothesis in hypotheses] == pytest.approx([scores[t] for t in best], abs=1e-4)


def test_penalty_decides_between_short_and_long():
    model = network("resmlp_mt_tiny", vocabulary=6)
    sources = draw(model, 10)
    short, long = (translate(model, sources, beam=8, length_penalty=a) for a in (0.0, 3.0))
    lengths = [sum(len(best.tokens) for (best, *_) in results) for results in (short, long)]
    assert lengths[0] < lengths[1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("vocabulary", [6, 300])
def test_a_sentence_translates_the_same_in_any_batch(name, beam, vocabulary):
    model = network(name, vocabulary)
    sources = draw(model, 14, seed=5)
    alone = [translate(model, [source], beam=beam, n_best=beam)[0] for source in sources]
    for size, order in ((14, 1), (4, -1)):
        together = translate(model, sources[::order], beam=beam, n_best=beam, batch_size=size)[::order]
        for one, other in zip(alone, together):
            assert [hypothesis.tokens for hypothesis in one] == [hypothesis.tokens for hypothesis in other]
            assert [h.score for h in one] == pytest.approx([h.score for h in other], abs=1e-4)


def test_more_beams_are_no_worse_and_all_scores_are_right():
    model = network("resmlp_mt_tiny", vocabulary=40, seed=2)
    sources = draw(model, 10)
    one, eight = (translate(model, sources, beam=beam, n_best=beam) for beam in (1, 8))
    assert sum(best.score for (best, *_) in eight) > sum(best.score for (best, *_) in one)
    for source, hypotheses in zip(sources, eight):
        assert [h.score for h in hypotheses] == sorted((h.score for h in hypotheses), reverse=True)
        assert len({h.tokens for h in hypotheses}) == len(hypotheses)
        for h in hypotheses:
            expected = log_probability(model, source, h.tokens) / ((6 + len(h.tokens)) / 6) ** 0.6
            assert h.score == pytest.approx(expected, abs=1e-4)
            assert EOS not in h.tokens
            assert len(h.tokens) < 12


@pytest.mark.parametrize("vocabulary", [5, 127, 128, 129, 1000])
@pytest.mark.parametrize("count", [2, 8, 200])
def test_likeliest_against_a_sort(vocabulary, count):
    logits = torch.randn(2, 3, vocabulary) * 5
    where = logits.sort(descending=True).indices
    values, words = beam_search.likeliest(logits.clone(), count)
    assert_rounded(values, lambda x: x.log_softmax(2).sort(descending=True).values[..., :count], logits)
    assert torch.equal(words, where[..., :count])
    values, words = (torch.from_numpy(found) for found in search.likeliest(logits.numpy(), count))
    assert_rounded(values, lambda x: x.log_softmax(2).sort(descending=True).values[..., :count], logits)
    assert torch.equal(words, where[..., :count])
    values, words = (torch.from_numpy(found) for found in search.likeliest(logits.numpy(), None))
    assert_rounded(values, lambda x: x.log_softmax(2)[..., EOS : EOS + 1], logits)
    assert words.unique().tolist() == [EOS]


def test_of_equal_scores_the_first_goes_first():
    values, index = search.top(np.array([[1.0, 3.0, 3.0, 2.0, 3.0]]), 4)
    assert index.tolist() == [[1, 2, 4, 3]]
    assert values.tolist() == [[3, 3, 3, 2]]


def test_training_mode_is_restored_and_dropout_is_off():
    model = network("resmlp_mt_tiny", vocabulary=40)
    model.dropout.p = 0.9
    sources = draw(model, 4)
    expected = translate(model, sources)
    assert translate(model.train(), sources) == expected
    assert model.training


def test_limits():
    model = network("resmlp_mt_tiny", vocabulary=40)
    sources = draw(model, 4)
    assert translate(model, []) == []
    assert all(best.tokens == () for (best,) in translate(model, sources, max_length=1))
    assert all(len(best.tokens) <= 2 for (best,) in translate(model, sources, max_length=3))
    assert translate(model, sources, max_length=10**9) == translate(model, sources)


@pytest.mark.parametrize(
    ("sources", "options", "words"),
    [
        ([[5, EOS], []], {}, "sentence 1, from 0, has no tokens"),
        ([[5, 40]], {}, "the vocabulary has 0 to 39"),
        ([[-1]], {}, "the vocabulary has 0 to 39"),
        ([[5] * 13], {}, "13 tokens is too long for resmlp_mt_tiny: at most 12"),
        ([[5]], {"beam": 0}, "beam 0"),
        ([[5]], {"beam": 2, "n_best": 3}, "3 translations from a beam of 2"),
        ([[5]], {"length_penalty": -1.0}, "length-penalty -1.0"),
        ([[5]], {"length_penalty": float("nan")}, "length-penalty nan"),
        ([[5]], {"max_length": 0}, "translations of 0 tokens"),
        ([[5]], {"batch_size": 0}, "batches of 0 sentences"),
    ],
)
def test_wrong_arguments_are_refused(sources, options, words):
    with pytest.raises(UserError, match=words):
        translate(network("resmlp_mt_tiny", vocabulary=40), sources, **options)


def test_logits_that_are_not_finite_are_refused():
    model = network("resmlp_mt_tiny", vocabulary=40)
    with torch.no_grad():
        model.decoder_norm.alpha.fill_(float("nan"))
    with pytest.raises(UserError, match="not finite"):
        translate(model, [[5, EOS]])
