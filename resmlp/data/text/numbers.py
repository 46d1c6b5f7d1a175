"""Embedded parallel text: the numbers from 0 to 999,999 in words, which need no download to be translated.

They have what a translation has: words change places (`einundzwanzig`), several answer to one (`quatre-vingt-dix`), and
endings depend on what follows (`deux cents`, `deux cent trois`).
"""

import random
from collections.abc import Callable, Sequence
from itertools import pairwise, starmap

from resmlp.config import Text
from resmlp.data.text.pairs import Pairs, pairs_of
from resmlp.utils.errors import lookup

TOP = 10**6
BOUNDS = (0, 100, 1000, TOP)
TRAIN, VAL, TIMES = (100, 850, 16_450), (0, 50, 950), (10, 3, 1)
"""how many numbers of each part between `BOUNDS` are learned from and held out, and how often one is in the text: the
short ones, which people try first, are few"""
SEED = 2105  # of the one choice that everybody's numbers are compared on

ENGLISH, GERMAN, FRENCH = (
    words.split()
    for words in (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen",
        "null ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn "
        "siebzehn achtzehn neunzehn",
        "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept "
        "dix-huit dix-neuf",
    )
)
ENGLISH_TENS, GERMAN_TENS, FRENCH_TENS = (
    ["", "", *words.split()]
    for words in (
        "twenty thirty forty fifty sixty seventy eighty ninety",
        "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig",
        "vingt trente quarante cinquante soixante soixante quatre-vingt quatre-vingt",
    )
)


def english(n: int) -> str:
    """`n` below a million as Americans write it: hyphens from twenty-one to ninety-nine, and no `and`."""
    thousands, rest = divmod(_checked(n), 1000)
    if thousands:
        return f"{english(thousands)} thousand" + (f" {english(rest)}" if rest else "")
    hundreds, rest = divmod(rest, 100)
    if hundreds:
        return f"{ENGLISH[hundreds]} hundred" + (f" {english(rest)}" if rest else "")
    tens, ones = divmod(rest, 10)
    return ENGLISH[rest] if rest < 20 else ENGLISH_TENS[tens] + (f"-{ENGLISH[ones]}" if ones else "")


def german(n: int) -> str:
    """`n` below a million in one word; 100 is `einhundert`, 1000 `eintausend`, and 1 at the end is `eins`."""
    return _german(_checked(n)) + ("s" if n % 100 == 1 else "")


def _german(n: int) -> str:
    """`n` as it stands before `hundert`, `tausend` or `und`: with `ein` for 1."""
    for size, name in ((1000, "tausend"), (100, "hundert")):
        if n >= size:
            return _german(n // size) + name + (_german(n % size) if n % size else "")
    tens, ones = divmod(n, 10)
    return GERMAN[n] if n < 20 else (f"{GERMAN[ones]}und" if ones else "") + GERMAN_TENS[tens]


def french(n: int) -> str:
    """`n` below a million as in France, by the spelling from before 1990: hyphens below a hundred alone.

    `cents` and `quatre-vingts` have their s at the end of the number, and not before `mille`.
    """
    text = _french(_checked(n))
    return text + "s" if n % 100 == 80 or (n % 100 == 0 and n % 1000 > 100) else text


def _french(n: int) -> str:
    """`n` as it stands before `mille`: without an s."""
    for size, name in ((1000, "mille"), (100, "cent")):
        if n >= size:
            parts = ([_french(n // size)] if n >= 2 * size else []) + [name] + ([_french(n % size)] if n % size else [])
            return " ".join(parts)
    tens = n // 10
    ones = n % 10 + 10 * (tens in (7, 9))  # 70 and 90 count on from 60 and 80
    if n < 20 or not ones:
        return FRENCH[n] if n < 20 else FRENCH_TENS[tens]
    return FRENCH_TENS[tens] + (" et " if ones in (1, 11) and tens < 8 else "-") + FRENCH[ones]


def _checked(n: int) -> int:
    if not 0 <= n < TOP:
        raise ValueError(f"{n} is not from 0 to {TOP - 1}")
    return n


WORDS: dict[str, Callable[[int], str]] = {"en": english, "de": german, "fr": french}


def numbers_pairs(data: Text) -> tuple[Pairs, Pairs]:
    """20,000 pairs to learn from and 1,000 others, numbers in the words of `data`'s two languages.

    The choice is always the same. Raises `UserError` for a language other than en, de and fr.
    """
    languages = (data.source_language, data.target_language)
    source, target = (lookup("language of --data.source numbers", name, WORDS) for name in languages)
    train, val = (pairs_of([*map(source, part)], [*map(target, part)], "the embedded numbers") for part in _split())
    return train, val


def _split() -> tuple[Sequence[int], Sequence[int]]:
    """The numbers learned from, and those held out."""
    rng = random.Random(SEED)
    train: list[int] = []
    val: list[int] = []
    for numbers, learned, held_out, times in zip(starmap(range, pairwise(BOUNDS)), TRAIN, VAL, TIMES):
        chosen = rng.sample(numbers, learned + held_out)
        train += times * chosen[:learned]
        val += chosen[learned:]
    return train, val
