"""Scores of translations against one reference each: BLEU, chrF, and exact match."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal
from unicodedata import normalize

from resmlp.metrics.bleu_tokenization import DEFAULT, bleu_tokenization
from resmlp.utils.errors import UserError, install_hint

ORDER = 4
"""length of the longest n-grams that BLEU counts"""

Dashes = Literal["kept", "aggressive", "compound"]
"""how a hyphen between two words is tokenized: not; `rich @-@ text`, Moses' option -a; `rich ##AT##-##AT## text`"""

DASHES: dict[str, Dashes] = {"de": "compound", "fr": "aggressive"}
"""by target language, as in the WMT14 numbers of fairseq and of the paper; other languages keep hyphens"""

NO_BREAK = str.maketrans(dict.fromkeys("\u00a0\u2007\u202f", " "))
"""no-break spaces, frequent in French text, which some tokenizers treat as a part of a word"""


def check_packages() -> None:
    """Raise `UserError` if a package is missing. Called before a network runs."""
    for package in ("sacrebleu", "sacremoses"):
        if find_spec(package) is None:
            raise UserError(f"BLEU needs {package}, which is not installed", install_hint("text"))


def translation_scores(
    hypotheses: Sequence[str], references: Sequence[str], language: str
) -> Iterator[tuple[str, float]]:
    """Scores of N translations into `language`; both sides are compared in Unicode's form NFC, as the tokenizer has it.

    `bleu` and `chrf` are sacreBLEU's, `bleu` with `bleu_tokenization`. `tokenized_bleu` is `multi_bleu` of `tokenized`
    lines. All are from 0 to 100. `exact_match` is the fraction of lines equal to their reference but for blanks at the
    ends. Raises `UserError` if a package is missing, and ValueError if the numbers of lines differ or are 0.
    """
    check_packages()
    if len(hypotheses) != len(references) or not references:
        raise ValueError(f"{len(hypotheses)} translations of {len(references)} references")
    from sacrebleu import BLEU, CHRF

    hypotheses, references = ([normalize("NFC", line) for line in lines] for lines in (hypotheses, references))
    tokenization = bleu_tokenization(language, references)
    yield "bleu", BLEU(tokenize=tokenization).corpus_score(hypotheses, [references]).score
    yield "chrf", CHRF().corpus_score(hypotheses, [references]).score
    both = ([tokenized(line, language, tokenization) for line in lines] for lines in (hypotheses, references))
    yield "tokenized_bleu", multi_bleu(*both)
    equal = sum(line.strip() == reference.strip() for line, reference in zip(hypotheses, references))
    yield "exact_match", equal / len(references)


def translation_signatures(language: str, references: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """Signatures of `translation_scores`, in sacreBLEU's notation: only scores of the same signature compare."""
    check_packages()
    from sacrebleu import BLEU, CHRF

    tokenization = bleu_tokenization(language, references)
    for name, metric in (("bleu", BLEU(tokenize=tokenization)), ("chrf", CHRF())):
        metric.corpus_score([""], [[""]])  # the signature contains the number of references
        yield f"{name}_signature", str(metric.get_signature())
    words = f"moses-{language}|dashes:{dashes(language)}" if tokenization == DEFAULT else tokenization
    yield "tokenized_bleu_signature", f"multi-bleu|case:mixed|tok:{words}|smooth:none"


def dashes(language: str) -> Dashes:
    """How the usual evaluation of `language` tokenizes hyphens."""
    return DASHES.get(language, "kept")


def tokenized(line: str, language: str, tokenization: str = DEFAULT) -> list[str]:
    """The words and punctuation of a line: by Moses' tokenizer with hyphens as usual in `language`, or by sacreBLEU's.

    Moses' is the usual one for languages with spaces between words, whose sacreBLEU `tokenization` is 13a.
    """
    if tokenization != DEFAULT:
        return str(_sacrebleu(tokenization)(line)).split()
    how = dashes(language)
    text = line.translate(NO_BREAK)
    words = _moses(language).tokenize(text, aggressive_dash_splits=how == "aggressive", escape=False)
    return compounds_split(words) if how == "compound" else words


def compounds_split(words: Sequence[str]) -> list[str]:
    """Hyphens inside words as words: `rich-text` -> `rich ##AT##-##AT## text`.

    Of two hyphens one character apart the second stays: `a-b-c` -> `a ##AT##-##AT## b-c`. So does the pattern behind
    all published numbers (Luong et al. 2015; fairseq's compound_split_bleu.sh).
    """
    return re.sub(r"(\S)-(\S)", r"\1 ##AT##-##AT## \2", " ".join(words)).split(" ") if words else []


def multi_bleu(hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> float:
    """Corpus BLEU from 0 to 100 of tokenized lines, one reference each (Papineni et al. 2002; Moses' multi-bleu.perl).

    The geometric mean of the precisions of n-grams up to `ORDER`, each counted at most as often as in the reference,
    times exp(1 - reference words / words) where the translation is shorter. 0 where no n-gram of an order is right.
    """
    right, total = [0] * ORDER, [0] * ORDER
    for line, reference in zip(hypotheses, references, strict=True):
        for n in range(ORDER):
            ngrams = _ngrams(line, n + 1)
            total[n] += ngrams.total()
            right[n] += (ngrams & _ngrams(reference, n + 1)).total()
    if not all(right):
        return 0.0
    words, reference_words = sum(map(len, hypotheses)), sum(map(len, references))
    brevity = min(0.0, 1 - reference_words / words)
    return 100 * math.exp(brevity + sum(math.log(r / t) for r, t in zip(right, total)) / ORDER)


def _ngrams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    """How often each run of `n` words occurs."""
    return Counter(zip(*(words[i:] for i in range(n))))


@cache
def _moses(language: str) -> Any:
    """The tokenizer for `language`; its abbreviations are English if Moses has none for it."""
    from sacremoses import MosesTokenizer

    return MosesTokenizer(lang=language)


@cache
def _sacrebleu(tokenization: str) -> Any:
    """SacreBLEU's tokenizer of this name, a function from a line to a line with spaces between its tokens."""
    from sacrebleu import BLEU

    return BLEU(tokenize=tokenization).tokenizer
