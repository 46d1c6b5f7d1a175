"""How near translations are to their references: BLEU, chrF, and whole lines."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal

from resmlp.utils.errors import UserError, install_hint

ORDER = 4
"""longest n-gram that BLEU counts"""

Dashes = Literal["kept", "aggressive", "compound"]
"""what becomes of a hyphen between two words: nothing; `rich @-@ text`, Moses' option -a; `rich ##AT##-##AT## text`"""

DASHES: dict[str, Dashes] = {"de": "compound", "fr": "aggressive"}
"""by target language, as the WMT14 numbers of fairseq and of the paper were counted; all others keep them"""

NO_BREAK = str.maketrans(dict.fromkeys("\u00a0\u2007\u202f", " "))
"""no-break spaces, which French text has and which some of those who count take for a part of a word"""


def check_packages() -> None:
    """Raises `UserError` where what counts is not installed: before a network runs, and not after."""
    for package in ("sacrebleu", "sacremoses"):
        if find_spec(package) is None:
            raise UserError(f"BLEU needs {package}, which is not installed", install_hint("text"))


def translation_scores(
    hypotheses: Sequence[str], references: Sequence[str], language: str
) -> Iterator[tuple[str, float]]:
    """Numbers of N translations into `language`, one reference each.

    `bleu` and `chrf` are sacreBLEU's and `tokenized_bleu` is `multi_bleu` of `tokenized` lines, each from 0 to 100;
    `exact_match` is the share of lines that are the reference, blanks at their ends aside. Raises `UserError` where a
    package is missing, and ValueError where the lines are not as many, or none.
    """
    check_packages()
    if len(hypotheses) != len(references) or not references:
        raise ValueError(f"{len(hypotheses)} translations of {len(references)} references")
    from sacrebleu import BLEU, CHRF

    yield "bleu", BLEU().corpus_score(hypotheses, [references]).score
    yield "chrf", CHRF().corpus_score(hypotheses, [references]).score
    both = ([tokenized(line, language) for line in lines] for lines in (hypotheses, references))
    yield "tokenized_bleu", multi_bleu(*both)
    equal = sum(ours.strip() == theirs.strip() for ours, theirs in zip(hypotheses, references))
    yield "exact_match", equal / len(references)


def translation_signatures(language: str) -> Iterator[tuple[str, str]]:
    """How each of `translation_scores` is counted, in sacreBLEU's notation: only numbers of one signature compare."""
    check_packages()
    from sacrebleu import BLEU, CHRF

    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        metric.corpus_score([""], [[""]])  # the number of references is a part of it, and known only now
        yield f"{name}_signature", str(metric.get_signature())
    yield (
        "tokenized_bleu_signature",
        f"multi-bleu|case:mixed|tok:moses-{language}|dashes:{dashes(language)}|smooth:none",
    )


def dashes(language: str) -> Dashes:
    """What the usual evaluation does with hyphens in `language`."""
    return DASHES.get(language, "kept")


def tokenized(line: str, language: str) -> list[str]:
    """A line as Moses cuts it into words and punctuation, hyphens as usual in `language`."""
    how = dashes(language)
    text = line.translate(NO_BREAK)
    words = _moses(language).tokenize(text, aggressive_dash_splits=how == "aggressive", escape=False)
    return compounds_split(words) if how == "compound" else words


def compounds_split(words: Sequence[str]) -> list[str]:
    """Hyphens inside words as words: `rich-text` -> `rich ##AT##-##AT## text`.

    Of hyphens one character apart the second stays, as in the pattern that all published numbers were counted with
    (Luong et al. 2015; fairseq's compound_split_bleu.sh): `a-b-c` -> `a ##AT##-##AT## b-c`.
    """
    return re.sub(r"(\S)-(\S)", r"\1 ##AT##-##AT## \2", " ".join(words)).split(" ") if words else []


def multi_bleu(hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> float:
    """Corpus BLEU from 0 to 100 of tokenized lines, one reference each (Papineni et al. 2002; Moses' multi-bleu.perl).

    The geometric mean of the precisions of n-grams up to `ORDER`, each counted at most as often as in the reference,
    times exp(1 - reference words / words) where the translation is shorter. 0 where no n-gram of an order is right.
    """
    right, said = [0] * ORDER, [0] * ORDER
    for ours, theirs in zip(hypotheses, references, strict=True):
        for n in range(ORDER):
            found = _ngrams(ours, n + 1)
            said[n] += found.total()
            right[n] += (found & _ngrams(theirs, n + 1)).total()
    if not all(right):
        return 0.0
    words, wanted = sum(map(len, hypotheses)), sum(map(len, references))
    brevity = min(0.0, 1 - wanted / words)
    return 100 * math.exp(brevity + sum(math.log(r / s) for r, s in zip(right, said)) / ORDER)


def _ngrams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    """How often each run of `n` words occurs."""
    return Counter(zip(*(words[i:] for i in range(n))))


@cache
def _moses(language: str) -> Any:
    """The tokenizer with the abbreviations of `language`, or English ones where Moses has none."""
    from sacremoses import MosesTokenizer

    return MosesTokenizer(lang=language)
