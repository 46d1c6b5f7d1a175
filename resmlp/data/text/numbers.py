"""Embedded parallel text, which needs no download: the numbers from 0 to 999,999 in words.

They have the difficulties of a translation: the order of words changes (`einundzwanzig`), several words translate one
(`quatre-vingt-dix`), and endings depend on the next word (`deux cents`, `deux cent trois`).
"""

import random
from collections.abc import Callable, Sequence
from itertools import pairwise, starmap

from resmlp.config import Text
from resmlp.data.text.files import Pairs, make_pairs
from resmlp.utils.errors import lookup

TOP = 10**6
BOUNDS = (0, 100, 1000, TOP)
TRAIN, VAL, TIMES = (100, 850, 16_450), (0, 50, 950), (10, 3, 1)
"""for each range of `BOUNDS`: the training numbers, the validation numbers, and the copies of each training number;
there are more copies of the short numbers, which people try first, because there are few of them"""
SEED = 2105  # fixed, so that results of different users are comparable

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
    """`n` below a million in American English: hyphens from twenty-one to ninety-nine, and no `and`."""
    thousands, rest = divmod(_checked(n), 1000)
    if thousands:
        return f"{english(thousands)} thousand" + (f" {english(rest)}" if rest else "")
    hundreds, rest = divmod(rest, 100)
    if hundreds:
        return f"{ENGLISH[hundreds]} hundred" + (f" {english(rest)}" if rest else "")
    tens, ones = divmod(rest, 10)
    return ENGLISH[rest] if rest < 20 else ENGLISH_TENS[tens] + (f"-{ENGLISH[ones]}" if ones else "")


def german(n: int) -> str:
    """`n` below a million in German, one word; 100 is `einhundert`, 1000 is `eintausend`, and a final 1 is `eins`."""
    return _german(_checked(n)) + ("s" if n % 100 == 1 else "")


def _german(n: int) -> str:
    """The form of `n` before `hundert`, `tausend` or `und`: 1 is `ein`."""
    for size, name in ((1000, "tausend"), (100, "hundert")):
        if n >= size:
            return _german(n // size) + name + (_german(n % size) if n % size else "")
    tens, ones = divmod(n, 10)
    return GERMAN[n] if n < 20 else (f"{GERMAN[ones]}und" if ones else "") + GERMAN_TENS[tens]


def french(n: int) -> str:
    """`n` below a million in the French of France, spelled as before 1990: hyphens only below a hundred.

    `cents` and `quatre-vingts` have an s at the end of the number, but not before `mille`.
    """
    text = _french(_checked(n))
    return text + "s" if n % 100 == 80 or (n % 100 == 0 and n % 1000 > 100) else text


def _french(n: int) -> str:
    """The form of `n` before `mille`: without an s."""
    for size, name in ((1000, "mille"), (100, "cent")):
        if n >= size:
            parts = ([_french(n // size)] if n >= 2 * size else []) + [name] + ([_french(n % size)] if n % size else [])
            return " ".join(parts)
    tens = n // 10
    ones = n % 10 + 10 * (tens in (7, 9))  # 70 is 60 + 10, and 90 is 80 + 10
    if n < 20 or not ones:
        return FRENCH[n] if n < 20 else FRENCH_TENS[tens]
    return FRENCH_TENS[tens] + (" et " if ones in (1, 11) and tens < 8 else "-") + FRENCH[ones]


def _checked(n: int) -> int:
    if not 0 <= n < TOP:
        raise ValueError(f"{n} is not between 0 and {TOP - 1}")
    return n


WORDS: dict[str, Callable[[int], str]] = {"en": english, "de": german, "fr": french}


def numbers_pairs(data: Text) -> tuple[Pairs, Pairs]:
    """20,000 training pairs and 1,000 validation pairs, numbers in the two languages of `data`.

    The numbers are always the same. Raises `UserError` for a language other than en, de and fr.
    """
    languages = (data.source_language, data.target_language)
    source, target = (lookup("language of --data.source numbers", name, WORDS) for name in languages)
    train, val = (make_pairs([*map(source, n)], [*map(target, n)], "the embedded numbers") for n in _split())
    return train, val


def _split() -> tuple[Sequence[int], Sequence[int]]:
    """The training numbers and the validation numbers."""
    rng = random.Random(SEED)
    train: list[int] = []
    val: list[int] = []
    for numbers, train_count, val_count, times in zip(starmap(range, pairwise(BOUNDS)), TRAIN, VAL, TIMES):
        chosen = rng.sample(numbers, train_count + val_count)
        train += times * chosen[:train_count]
        val += chosen[train_count:]
    return train, val
