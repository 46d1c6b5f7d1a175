"""A translator: order, batches, empty and long lines, and that a sentence's company changes nothing."""

from dataclasses import replace

import pytest
import torch

from resmlp.config.seq2seq import EOS
from resmlp.inference import Translator, load
from resmlp.inference import translator as module
from resmlp.inference.translation import Translation
from resmlp.inference.translator import TorchTranslator
from resmlp.models import translate
from resmlp.models.search import Hypothesis
from resmlp.utils.errors import UserError
from resmlp.utils.files import read_json

LINES = [
    "seven",
    "",
    "nine hundred thousand three hundred twelve",
    "twenty-one",
    "   ",
    "four thousand",
    "five hundred sixty-six thousand eight",
    "seven",
]


@pytest.fixture(scope="module")
def translator(translator_run) -> Translator:
    return load(translator_run, "cpu")


@pytest.fixture
def searched(monkeypatch) -> list[dict]:
    """What the search was asked for, batch by batch."""
    calls = []

    def spy(model, sources, beam, length_penalty, n_best, batch_size):
        calls.append({"sources": sources, "beam": beam, "length_penalty": length_penalty, "batch_size": batch_size})
        return translate(model, sources, beam, length_penalty, n_best, batch_size=batch_size)

    monkeypatch.setattr(module, "translate", spy)
    return calls


def test_each_line_has_its_own_translation_in_its_place(translator):
    """Each is translated alone by the search itself: no other line, no place in the batch matters."""

    def alone(line: str) -> str:
        tokens = [*translator.tokenizer.encode([line])[0], EOS]
        return translator.tokenizer.line(translate(translator.model, [tokens], beam=3, length_penalty=1.0)[0][0].tokens)

    expected = [alone(line) if line.strip() else "" for line in LINES]
    assert len({*expected}) > 3, "the fixture says the same of everything"
    assert translator.translate(LINES, beam=3, length_penalty=1.0) == expected
    small = TorchTranslator(translator.saved, translator.device, batch_size=2)
    assert small.translate(LINES[::-1], beam=3, length_penalty=1.0) == expected[::-1]


def test_empty_lines_need_no_network(translator, searched):
    assert translator.translate(["", " \t", "\u00a0"]) == ["", "", ""]
    assert translator.translate([]) == []
    assert [call["sources"] for call in searched] == [[], []]


def test_beam_and_penalty_are_the_cards_unless_given(translator, searched):
    card = replace(translator.config, beam=3, length_penalty=0.25)
    own = TorchTranslator(replace(translator.saved, config=card), translator.device)
    own.translate(["seven"])
    own.translate(["seven"], beam=1, length_penalty=0.0)
    assert [(call["beam"], call["length_penalty"]) for call in searched] == [(3, 0.25), (1, 0.0)]


def test_n_best_are_in_order_and_the_first_is_the_translation(translator):
    found = translator.n_best(LINES, 4, beam=4)
    assert [len(each) for each in found] == [
        1 if not line.strip() else len({*each}) for line, each in zip(LINES, found)
    ]
    assert max(map(len, found)) == 4
    for each in found:
        scores = [said.score for said in each]
        assert scores == sorted(scores, reverse=True)
        assert max(scores) <= 0
    assert [best.text for best, *_ in found] == translator.translate(LINES, beam=4)


@pytest.mark.parametrize(("n", "beam"), [(0, 2), (3, 2), (1, 0)])
def test_more_than_the_beam_holds_is_refused(translator, n, beam):
    with pytest.raises(UserError, match="beam"):
        translator.n_best(["seven"], n, beam=beam)


@pytest.mark.parametrize("penalty", [-1.0, 100, float("nan"), float("inf")])
def test_a_penalty_is_a_number_from_zero_on(translator, penalty):
    with pytest.raises(UserError, match="length-penalty"):
        translator.translate(["seven"], length_penalty=penalty)


def test_what_fits_of_a_long_line_is_translated_and_the_line_is_named(translator, capsys, searched):
    long = "seven hundred thousand " * 20
    found = translator.n_best(["seven", long, "eight", long], 1, first=11)
    assert "lines 12, 14: longer than" in capsys.readouterr().err
    cut = [*translator.tokenizer.encode([long])[0][:23], EOS]
    assert [source for call in searched for source in call["sources"]].count(cut) == 2
    assert found[1] == found[3]
    translator.translate(["seven"])
    assert capsys.readouterr().err == ""


def test_a_long_line_can_be_an_error(translator):
    strict = TorchTranslator(translator.saved, translator.device, long="error")
    with pytest.raises(UserError, match="line 2: longer than"):
        strict.translate(["seven", "seven hundred thousand " * 20])


def test_text_is_normalized_as_in_training(translator):
    """Two ways to write the same letters are one sentence."""
    composed, decomposed = "f\u00fcnf", "fu\u0308nf"
    assert composed != decomposed
    first, second = translator.translate([composed, decomposed])
    assert first == second


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\v", "\x85", "\u2028"])
def test_a_translation_is_one_line(translator, end):
    """A vocabulary of bytes can say the end of a line."""
    tokens = translator.tokenizer.encode([f"ein{end}zwei{end}"])[0]
    assert translator.tokenizer.line(tokens) == "ein zwei"


def test_the_same_text_in_other_tokens_comes_once(translator, translator_run, monkeypatch):
    """A word can be said in large tokens and in letters: of the two, the likelier counts."""
    whole = translator.tokenizer.encode(["hundert"])[0]
    vocabulary = read_json(translator_run / "tokenizer.json")["model"]["vocab"]
    letters = [vocabulary[letter] for letter in "\u0120hundert"]  # the byte of a blank, and of each letter
    assert len(whole) < len(letters)
    assert translator.tokenizer.line(letters) == "hundert"
    other = translator.tokenizer.encode(["neun"])[0]
    found = [[Hypothesis(tuple(t), s) for t, s in ((letters, -1.0), (other, -2.0), (whole, -3.0))]]
    monkeypatch.setattr(module, "translate", lambda *args, **options: found)
    assert translator.n_best(["x"], 3, beam=4) == [[Translation("hundert", -1.0), Translation("neun", -2.0)]]


@pytest.mark.parametrize("beam", [1, 4])
def test_weights_that_overflow_are_an_error(translator_run, beam):
    translator = load(str(translator_run), "cpu")
    with torch.no_grad():
        for parameter in translator.model.parameters():
            parameter.fill_(3e38)
    with pytest.raises(UserError, match="not finite"):
        translator.predict(["seven", "ten"], beam=beam)


@pytest.mark.parametrize("lines", [["seven", "one \ud800"], ["", "\udfff two"], ["seven", "\ud83d"]])
def test_half_of_a_surrogate_pair_is_named(translator, lines):
    for call in (translator.translate, translator.predict, lambda lines: translator.n_best(lines, 1)):
        with pytest.raises(UserError, match="^line 2 is not valid Unicode: its character . is half of a surrogate"):
            call(lines)
    with pytest.raises(UserError, match="^line 1 is not valid Unicode"):
        translator.predict(lines[1])
