"""BLEU and what stands beside it: worked examples, sacreBLEU's own arithmetic, and what is done to the text."""

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
    """By hand: n-grams right of those said are 8/9, 6/7, 4/5 and 2/3, in 9 words where 10 are wanted."""
    ours = words("the the cat sat on it", "a dog barks")
    theirs = words("the cat sat on it now", "a dog barks loudly")
    # words: the second "the" has no match in the reference, the rest has: 5/6 and 3/3
    # pairs: the-cat cat-sat sat-on on-it of 5, a-dog dog-barks of 2; threes: 3 of 4, 1 of 1; fours: 2 of 3, 0 of 0
    expected = 100 * math.exp(1 - 10 / 9) * (8 / 9 * 6 / 7 * 4 / 5 * 2 / 3) ** 0.25
    assert multi_bleu(ours, theirs) == pytest.approx(expected, abs=1e-9)


def test_no_penalty_for_a_longer_translation():
    """By hand: 4 of 5 words, 3 of 4 pairs, 2 of 3 threes, 1 of 2 fours are right."""
    expected = 100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert multi_bleu(words("a b c d e"), words("a b c d")) == pytest.approx(expected, abs=1e-9)


def test_a_word_counts_as_often_as_in_its_own_reference():
    """By hand: of 7 "the" two are right (Papineni et al. 2002), and no fours; another line's do not help."""
    assert multi_bleu(words("the the the the the the the"), words("the cat is on the mat")) == 0
    ours, theirs = words("a a a a a", "b b b b b"), words("b b b b b", "a a a a a")
    assert multi_bleu(ours, theirs) == 0
    assert multi_bleu(ours, theirs[::-1]) == pytest.approx(100)


@pytest.mark.parametrize("ours", ["", "a", "a b c", "x y z w"], ids=["empty", "one word", "no fours", "none right"])
def test_an_order_without_a_match_is_zero(ours):
    assert multi_bleu(words(ours), words("a b c d")) == 0


def test_lines_must_be_as_many():
    with pytest.raises(ValueError):
        multi_bleu(words("a"), words("a", "b"))
    with pytest.raises(ValueError):
        dict(translation_scores(["a"], ["a", "b"], "de"))
    with pytest.raises(ValueError):
        dict(translation_scores([], [], "de"))


@pytest.mark.parametrize("seed", range(20))
def test_the_arithmetic_is_sacrebleus_without_smoothing(seed):
    """Random lines of few words, so that all orders match, of other lengths, some empty."""
    draw = random.Random(seed)
    vocabulary = "abcdefg"[: draw.randint(2, 7)]

    def line() -> str:
        return " ".join(draw.choices(vocabulary, k=draw.choice((0, 1, 3, 8, 20))))

    theirs = [line() for _ in range(30)]
    ours = [draw.choice((line(), there, " ".join(there.split()[:-1]))) for there in theirs]
    known = sacrebleu.BLEU(tokenize="none", smooth_method="none", force=True).corpus_score(ours, [theirs]).score
    assert multi_bleu(words(*ours), words(*theirs)) == pytest.approx(known, abs=1e-9)


@pytest.fixture(scope="session")
def captions(shared) -> tuple[list[str], list[str]]:
    """German captions, and the same with some words gone, changed or moved."""
    with gzip.open(shared / "mt" / "multi30k" / "test_2016_flickr.de.gz", "rt", encoding="utf-8", newline="\n") as file:
        theirs = file.read().split("\n")[:300]
    draw = random.Random(0)
    ours = []
    for line in theirs:
        said = [word for word in line.split() if draw.random() > 0.1]
        if len(said) > 2 and draw.random() < 0.5:
            i = draw.randrange(len(said) - 1)
            said[i], said[i + 1] = said[i + 1], said[i]
        ours.append(" ".join(said))
    return ours, theirs


def test_sacrebleu_is_the_librarys_own(captions, tmp_path):
    """The library's functions, and its program on the same files."""
    ours, theirs = captions
    found = dict(translation_scores(ours, theirs, "de"))
    assert found["bleu"] == sacrebleu.corpus_bleu(ours, [theirs]).score
    assert found["chrf"] == sacrebleu.corpus_chrf(ours, [theirs]).score
    for name, lines in (("ours", ours), ("theirs", theirs)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    program = [sys.executable, "-m", "sacrebleu", "theirs", "-i", "ours", "-m", "bleu", "-b", "-w", "6"]
    ended = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(ended.stdout) == pytest.approx(found["bleu"], abs=1e-6)
    assert 40 < found["bleu"] < 90


def test_tokenized_bleu_is_of_moses_words(captions):
    """Against sacreBLEU's arithmetic on lines that sacremoses tokenized, hyphens split by the published pattern."""
    from sacremoses import MosesTokenizer

    ours, theirs = captions
    moses = MosesTokenizer(lang="de")

    def cut(lines):
        return [re.sub(r"(\S)-(\S)", r"\1 ##AT##-##AT## \2", moses.tokenize(s, return_str=True)) for s in lines]

    metric = sacrebleu.BLEU(tokenize="none", smooth_method="none", force=True)
    known = metric.corpus_score(cut(ours), [cut(theirs)]).score
    assert dict(translation_scores(ours, theirs, "de"))["tokenized_bleu"] == pytest.approx(known, abs=1e-9)


def test_perfect_translations_have_full_marks(captions):
    _, theirs = captions
    found = dict(translation_scores(theirs, theirs, "de"))
    assert list(found) == ["bleu", "chrf", "tokenized_bleu", "exact_match"]
    assert [round(value, 9) for value in found.values()] == [100, 100, 100, 1]


def test_exact_match_is_a_share_of_lines_and_blanks_at_the_ends_are_nothing():
    found = dict(translation_scores(["ein Hund ", "Ein Hund", "eine Katze", ""], ["ein Hund"] * 3 + [" "], "de"))
    assert found["exact_match"] == 0.5


def test_translations_that_are_all_empty_are_worth_nothing():
    found = dict(translation_scores(["", ""], ["ein Hund", "eine Katze"], "de"))
    assert set(found.values()) == {0}


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
    said, i = "", 0
    while i < len(line):
        if line[i + 1 : i + 2] == "-" and line[i] != " " and line[i + 2 : i + 3].strip():
            said, i = said + f"{line[i]} ##AT##-##AT## {line[i + 2]}", i + 3
        else:
            said, i = said + line[i], i + 1
    assert compounds_split(line.split()) == said.split()


@pytest.mark.parametrize("blank", ["\u00a0", "\u202f", "\u2007"])
def test_a_no_break_space_is_a_space(blank):
    """French sets them before punctuation; a model that writes plain ones is not wrong for it."""
    theirs = f"Quoi{blank}? Il y a 10{blank}000 personnes{blank}!"
    assert tokenized(theirs, "fr") == tokenized(theirs.replace(blank, " "), "fr")
    found = dict(translation_scores([theirs.replace(blank, " ")], [theirs], "fr"))
    assert found["tokenized_bleu"] == pytest.approx(100)


def test_signatures_say_how_it_was_counted():
    found = dict(translation_signatures("de"))
    metric = sacrebleu.BLEU()
    metric.corpus_score(["a"], [["a"]])
    assert found["bleu_signature"] == str(metric.get_signature())
    assert re.fullmatch(r"nrefs:1\|case:mixed\|eff:no\|tok:13a\|smooth:exp\|version:[\d.]+", found["bleu_signature"])
    assert found["chrf_signature"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|")
    assert found["tokenized_bleu_signature"] == "multi-bleu|case:mixed|tok:moses-de|dashes:compound|smooth:none"
    assert dict(translation_signatures("en"))["tokenized_bleu_signature"].count("|dashes:kept|") == 1


@pytest.mark.parametrize("package", ["sacrebleu", "sacremoses"])
def test_a_missing_package_is_named_with_the_way_to_get_it(monkeypatch, package):
    monkeypatch.setattr("resmlp.metrics.bleu.find_spec", lambda name: None if name == package else object())
    with pytest.raises(UserError, match=rf"{package}.*pip install '\.\[text\]'"):
        dict(translation_scores(["a"], ["a"], "de"))
