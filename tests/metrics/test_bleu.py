"""BLEU, chrF and exact match: worked examples, sacreBLEU's arithmetic, and tokenization."""

import gzip
import math
import random
import re
import subprocess
import sys

import pytest
import sacrebleu

from resmlp.metrics import multi_bleu, translation_scores, translation_signatures
from resmlp.metrics.bleu import compounds_split, tokenized
from resmlp.utils.errors import UserError


def words(*lines: str) -> list[list[str]]:
    return [line.split() for line in lines]


def test_a_worked_example():
    """By hand: 8/9, 6/7, 4/5 and 2/3 of the n-grams are right, in 9 words for 10 of the references."""
    hypotheses = words("the the cat sat on it", "a dog barks")
    references = words("the cat sat on it now", "a dog barks loudly")
    # words: the second "the" has no match in the reference, the rest has: 5/6 and 3/3
    # pairs: the-cat cat-sat sat-on on-it of 5, a-dog dog-barks of 2; threes: 3 of 4, 1 of 1; fours: 2 of 3, 0 of 0
    expected = 100 * math.exp(1 - 10 / 9) * (8 / 9 * 6 / 7 * 4 / 5 * 2 / 3) ** 0.25
    assert multi_bleu(hypotheses, references) == pytest.approx(expected, abs=1e-9)


def test_no_penalty_for_a_longer_translation():
    """By hand: 4 of 5 words, 3 of 4 pairs, 2 of 3 threes, 1 of 2 fours are right."""
    expected = 100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert multi_bleu(words("a b c d e"), words("a b c d")) == pytest.approx(expected, abs=1e-9)


def test_a_word_counts_as_often_as_in_its_own_reference():
    """By hand: of 7 "the" two are right (Papineni et al. 2002), and no fours; another line's do not help."""
    assert multi_bleu(words("the the the the the the the"), words("the cat is on the mat")) == 0
    hypotheses, references = words("a a a a a", "b b b b b"), words("b b b b b", "a a a a a")
    assert multi_bleu(hypotheses, references) == 0
    assert multi_bleu(hypotheses, references[::-1]) == pytest.approx(100)


@pytest.mark.parametrize(
    "hypotheses", ["", "a", "a b c", "x y z w"], ids=["empty", "one word", "no fours", "none right"]
)
def test_an_order_without_a_match_is_zero(hypotheses):
    assert multi_bleu(words(hypotheses), words("a b c d")) == 0


def test_different_numbers_of_lines_are_refused():
    with pytest.raises(ValueError):
        multi_bleu(words("a"), words("a", "b"))
    with pytest.raises(ValueError):
        dict(translation_scores(["a"], ["a", "b"], "de"))
    with pytest.raises(ValueError):
        dict(translation_scores([], [], "de"))


@pytest.mark.parametrize("seed", range(20))
def test_the_arithmetic_equals_that_of_sacrebleu_without_smoothing(seed):
    """Random lines of few words, so that all orders match, of other lengths, some empty."""
    draw = random.Random(seed)
    vocabulary = "abcdefg"[: draw.randint(2, 7)]

    def line() -> str:
        return " ".join(draw.choices(vocabulary, k=draw.choice((0, 1, 3, 8, 20))))

    references = [line() for _ in range(30)]
    hypotheses = [draw.choice((line(), other, " ".join(other.split()[:-1]))) for other in references]
    expected_score = (
        sacrebleu.BLEU(tokenize="none", smooth_method="none", force=True).corpus_score(hypotheses, [references]).score
    )
    assert multi_bleu(words(*hypotheses), words(*references)) == pytest.approx(expected_score, abs=1e-9)


@pytest.fixture(scope="session")
def captions(shared) -> tuple[list[str], list[str]]:
    """German captions, and the same with some words gone, changed or moved."""
    with gzip.open(shared / "mt" / "multi30k" / "test_2016_flickr.de.gz", "rt", encoding="utf-8", newline="\n") as file:
        references = file.read().split("\n")[:300]
    draw = random.Random(0)
    hypotheses = []
    for line in references:
        result = [word for word in line.split() if draw.random() > 0.1]
        if len(result) > 2 and draw.random() < 0.5:
            i = draw.randrange(len(result) - 1)
            result[i], result[i + 1] = result[i + 1], result[i]
        hypotheses.append(" ".join(result))
    return hypotheses, references


def test_sacrebleu_scores_equal_those_of_the_library(captions, tmp_path):
    """The library's functions, and its program on the same files."""
    hypotheses, references = captions
    scores = dict(translation_scores(hypotheses, references, "de"))
    assert scores["bleu"] == sacrebleu.corpus_bleu(hypotheses, [references]).score
    assert scores["chrf"] == sacrebleu.corpus_chrf(hypotheses, [references]).score
    for name, lines in (("hypotheses", hypotheses), ("references", references)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    program = [sys.executable, "-m", "sacrebleu", "references", "-i", "hypotheses", "-m", "bleu", "-b", "-w", "6"]
    ended = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(ended.stdout) == pytest.approx(scores["bleu"], abs=1e-6)
    assert 40 < scores["bleu"] < 90


def test_tokenized_bleu_uses_the_tokenizer_of_moses(captions):
    """Against sacreBLEU's arithmetic on lines that sacremoses tokenized, hyphens split by the published pattern."""
    from sacremoses import MosesTokenizer

    hypotheses, references = captions
    moses = MosesTokenizer(lang="de")

    def cut(lines):
        return [re.sub(r"(\S)-(\S)", r"\1 ##AT##-##AT## \2", moses.tokenize(s, return_str=True)) for s in lines]

    metric = sacrebleu.BLEU(tokenize="none", smooth_method="none", force=True)
    expected_score = metric.corpus_score(cut(hypotheses), [cut(references)]).score
    assert dict(translation_scores(hypotheses, references, "de"))["tokenized_bleu"] == pytest.approx(
        expected_score, abs=1e-9
    )


def test_perfect_translations_have_the_highest_scores(captions):
    _, references = captions
    scores = dict(translation_scores(references, references, "de"))
    assert list(scores) == ["bleu", "chrf", "tokenized_bleu", "exact_match"]
    assert [round(value, 9) for value in scores.values()] == [100, 100, 100, 1]


def test_exact_match_is_a_fraction_of_lines_without_blanks_at_the_ends():
    scores = dict(translation_scores(["ein Hund ", "Ein Hund", "eine Katze", ""], ["ein Hund"] * 3 + [" "], "de"))
    assert scores["exact_match"] == 0.5


def test_empty_translations_score_0():
    scores = dict(translation_scores(["", ""], ["ein Hund", "eine Katze"], "de"))
    assert set(scores.values()) == {0}


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("de", "Die rote E ##AT##-##AT## Mail ist da ."),
        ("fr", "Die rote E @-@ Mail ist da ."),
        ("en", "Die rote E-Mail ist da ."),
        ("words", "Die rote E-Mail ist da ."),
    ],
)
def test_hyphens_are_as_usual_in_the_language(language, expected):
    assert tokenized("Die rote E-Mail ist da.", language) == expected.split()


@pytest.mark.parametrize("line", ["", "a-b", "a-b-c", "ab-cd-ef - g -h i- --", "A-B-C-D-E", "-"])
def test_compounds_are_split_by_the_published_pattern(line):
    """`s{(\\S)-(\\S)}{$1 ##AT##-##AT## $2}g`: by hand for a-b-c, and letter by letter for all."""
    assert compounds_split(["a-b-c"]) == ["a", "##AT##-##AT##", "b-c"]
    result, i = "", 0
    while i < len(line):
        if line[i + 1 : i + 2] == "-" and line[i] != " " and line[i + 2 : i + 3].strip():
            result, i = result + f"{line[i]} ##AT##-##AT## {line[i + 2]}", i + 3
        else:
            result, i = result + line[i], i + 1
    assert compounds_split(line.split()) == result.split()


@pytest.mark.parametrize("blank", ["\u00a0", "\u202f", "\u2007"])
def test_a_no_break_space_is_a_space(blank):
    """French text has them before punctuation; plain spaces of a model are not wrong."""
    references = f"Quoi{blank}? Il y a 10{blank}000 personnes{blank}!"
    assert tokenized(references, "fr") == tokenized(references.replace(blank, " "), "fr")
    scores = dict(translation_scores([references.replace(blank, " ")], [references], "fr"))
    assert scores["tokenized_bleu"] == pytest.approx(100)


def test_signatures():
    scores = dict(translation_signatures("de"))
    metric = sacrebleu.BLEU()
    metric.corpus_score(["a"], [["a"]])
    assert scores["bleu_signature"] == str(metric.get_signature())
    assert re.fullmatch(r"nrefs:1\|case:mixed\|eff:no\|tok:13a\|smooth:exp\|version:[\d.]+", scores["bleu_signature"])
    assert scores["chrf_signature"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|")
    assert scores["tokenized_bleu_signature"] == "multi-bleu|case:mixed|tok:moses-de|dashes:compound|smooth:none"
    assert dict(translation_signatures("en"))["tokenized_bleu_signature"].count("|dashes:kept|") == 1


@pytest.mark.parametrize("package", ["sacrebleu", "sacremoses"])
def test_a_missing_package_is_named_with_the_install_command(monkeypatch, package):
    monkeypatch.setattr("resmlp.metrics.bleu.find_spec", lambda name: None if name == package else object())
    with pytest.raises(UserError, match=rf"{package}.*pip install '\.\[text\]'"):
        dict(translation_scores(["a"], ["a"], "de"))
