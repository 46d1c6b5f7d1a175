"""Number words against a parser of them, and against examples written by hand."""

import random
import re
from collections import Counter

import pytest

from resmlp.config import Text
from resmlp.data.text.numbers import WORDS, english, french, german, numbers_pairs
from resmlp.data.text.sources import open_pairs, open_val
from resmlp.utils.errors import UserError

BY_HAND = {
    0: ("zero", "null", "zéro"),
    1: ("one", "eins", "un"),
    11: ("eleven", "elf", "onze"),
    12: ("twelve", "zwölf", "douze"),
    16: ("sixteen", "sechzehn", "seize"),
    17: ("seventeen", "siebzehn", "dix-sept"),
    20: ("twenty", "zwanzig", "vingt"),
    21: ("twenty-one", "einundzwanzig", "vingt et un"),
    22: ("twenty-two", "zweiundzwanzig", "vingt-deux"),
    30: ("thirty", "dreißig", "trente"),
    40: ("forty", "vierzig", "quarante"),
    61: ("sixty-one", "einundsechzig", "soixante et un"),
    66: ("sixty-six", "sechsundsechzig", "soixante-six"),
    70: ("seventy", "siebzig", "soixante-dix"),
    71: ("seventy-one", "einundsiebzig", "soixante et onze"),
    72: ("seventy-two", "zweiundsiebzig", "soixante-douze"),
    77: ("seventy-seven", "siebenundsiebzig", "soixante-dix-sept"),
    79: ("seventy-nine", "neunundsiebzig", "soixante-dix-neuf"),
    80: ("eighty", "achtzig", "quatre-vingts"),
    81: ("eighty-one", "einundachtzig", "quatre-vingt-un"),
    90: ("ninety", "neunzig", "quatre-vingt-dix"),
    91: ("ninety-one", "einundneunzig", "quatre-vingt-onze"),
    99: ("ninety-nine", "neunundneunzig", "quatre-vingt-dix-neuf"),
    100: ("one hundred", "einhundert", "cent"),
    101: ("one hundred one", "einhunderteins", "cent un"),
    111: ("one hundred eleven", "einhundertelf", "cent onze"),
    121: ("one hundred twenty-one", "einhunderteinundzwanzig", "cent vingt et un"),
    180: ("one hundred eighty", "einhundertachtzig", "cent quatre-vingts"),
    200: ("two hundred", "zweihundert", "deux cents"),
    203: ("two hundred three", "zweihundertdrei", "deux cent trois"),
    380: ("three hundred eighty", "dreihundertachtzig", "trois cent quatre-vingts"),
    1000: ("one thousand", "eintausend", "mille"),
    1001: ("one thousand one", "eintausendeins", "mille un"),
    1100: ("one thousand one hundred", "eintausendeinhundert", "mille cent"),
    1200: ("one thousand two hundred", "eintausendzweihundert", "mille deux cents"),
    2000: ("two thousand", "zweitausend", "deux mille"),
    2080: ("two thousand eighty", "zweitausendachtzig", "deux mille quatre-vingts"),
    21_000: ("twenty-one thousand", "einundzwanzigtausend", "vingt et un mille"),
    71_071: (
        "seventy-one thousand seventy-one",
        "einundsiebzigtausendeinundsiebzig",
        "soixante et onze mille soixante et onze",
    ),
    80_000: ("eighty thousand", "achtzigtausend", "quatre-vingt mille"),
    81_000: ("eighty-one thousand", "einundachtzigtausend", "quatre-vingt-un mille"),
    100_000: ("one hundred thousand", "einhunderttausend", "cent mille"),
    101_000: ("one hundred one thousand", "einhunderteintausend", "cent un mille"),
    101_101: (
        "one hundred one thousand one hundred one",
        "einhunderteintausendeinhunderteins",
        "cent un mille cent un",
    ),
    200_000: ("two hundred thousand", "zweihunderttausend", "deux cent mille"),
    200_200: ("two hundred thousand two hundred", "zweihunderttausendzweihundert", "deux cent mille deux cents"),
    280_000: ("two hundred eighty thousand", "zweihundertachtzigtausend", "deux cent quatre-vingt mille"),
    999_999: (
        "nine hundred ninety-nine thousand nine hundred ninety-nine",
        "neunhundertneunundneunzigtausendneunhundertneunundneunzig",
        "neuf cent quatre-vingt-dix-neuf mille neuf cent quatre-vingt-dix-neuf",
    ),
}


@pytest.mark.parametrize("number", BY_HAND)
def test_by_hand(number):
    assert (english(number), german(number), french(number)) == BY_HAND[number]


def values(text: str) -> dict[str, int]:
    return {word: int(value) for word, value in (item.split(":") for item in text.split())}


EN = values(
    "zero:0 one:1 two:2 three:3 four:4 five:5 six:6 seven:7 eight:8 nine:9 ten:10 eleven:11 twelve:12 thirteen:13 "
    "fourteen:14 fifteen:15 sixteen:16 seventeen:17 eighteen:18 nineteen:19 twenty:20 thirty:30 forty:40 fifty:50 "
    "sixty:60 seventy:70 eighty:80 ninety:90 hundred:100 thousand:1000"
)
FR = values(
    "zéro:0 un:1 deux:2 trois:3 quatre:4 cinq:5 six:6 sept:7 huit:8 neuf:9 dix:10 onze:11 douze:12 treize:13 "
    "quatorze:14 quinze:15 seize:16 vingt:20 vingts:20 trente:30 quarante:40 cinquante:50 soixante:60 cent:100 "
    "cents:100 mille:1000 et:0"
)
DE = values(
    "null:0 eins:1 ein:1 zwei:2 drei:3 vier:4 fünf:5 sechs:6 sieben:7 acht:8 neun:9 zehn:10 elf:11 zwölf:12 sech:6 "
    "sieb:7 zwan:2 zig:10 ßig:10 hundert:100 tausend:1000 und:0"
)
GERMAN_WORD = re.compile("|".join(sorted(DE, key=len, reverse=True)))


def read_english(text: str) -> int:
    """From left to right: add numbers, multiply by hundred and thousand."""
    done = now = 0
    for word in re.split("[ -]", text):
        if word == "thousand":
            done, now = 1000 * now, 0
        else:
            now = now * 100 if word == "hundred" else now + EN[word]
    return done + now


def read_french(text: str) -> int:
    """As in English; 4 before 20 multiplies, and cent or mille without a number is 100 or 1000."""
    done = now = 0
    for word in re.split("[ -]", text):
        if word == "mille":
            done, now = 1000 * (now or 1), 0
        elif word in ("cent", "cents"):
            now = 100 * (now or 1)
        elif word in ("vingt", "vingts") and now % 100 == 4:
            now += 76
        else:
            now += FR[word]
    return done + now


def read_german(text: str) -> int:
    """The parts of the word; `zig` multiplies the part before it, and no part remains."""
    parts = GERMAN_WORD.findall(text)
    assert "".join(parts) == text
    done, now, last = 0, 0, 0
    for part in parts:
        if part == "tausend":
            done, now, last = 1000 * (now + last), 0, 0
        elif part == "hundert":
            now, last = 100 * last, 0
        elif part in ("zig", "ßig"):
            last *= 10
        else:
            now, last = now + last, DE[part]
    return done + now + last


READERS = {"en": read_english, "de": read_german, "fr": read_french}


@pytest.mark.parametrize("language", READERS)
def test_parsing_restores_the_number(language):
    write, read = WORDS[language], READERS[language]
    numbers = {*range(2100), *range(0, 10**6, 997), *range(1000, 10**6, 1000), *range(80, 10**6, 1900), 999_999}
    for number in numbers:
        assert read(write(number)) == number
    assert len({write(number) for number in numbers}) == len(numbers)


@pytest.mark.parametrize("number", [-1, 10**6, -1000])
@pytest.mark.parametrize("write", WORDS.values())
def test_out_of_range(write, number):
    with pytest.raises(ValueError, match="999999"):
        write(number)


@pytest.mark.parametrize("language", ["de", "fr"])
def test_splits(language):
    data = Text(source="numbers", target_language=language)
    train, val = open_pairs(data)
    assert (len(train), len(val)) == (20_000, 1_000)
    assert open_val(data) == val == numbers_pairs(data)[1]
    train_numbers, val_numbers = ([read_english(line) for line in part.sources] for part in (train, val))
    assert [READERS[language](line) for part in (train, val) for line in part.targets] == train_numbers + val_numbers
    assert not {*train_numbers} & {*val_numbers}
    assert len({*val_numbers}) == 1_000
    assert sum(number < 1000 for number in val_numbers) == 50
    for low, high, count, times in ((0, 100, 100, 10), (100, 1000, 850, 3), (1000, 10**6, 16_450, 1)):
        part = Counter(number for number in train_numbers if low <= number < high)
        assert len(part) == count
        assert set(part.values()) == {times}


def test_numbers_do_not_change_between_versions():
    """Otherwise the scores of different versions would not be comparable."""
    for part, first, total in zip(
        numbers_pairs(Text(source="numbers")), ([18, 77, 54], [417, 266, 374]), (8282673405, 475079623)
    ):
        numbers = [read_english(line) for line in part.sources]
        assert (numbers[:3], sum(numbers)) == (first, total)


def test_training_text_has_every_word():
    for language, split in (("en", "[ -]"), ("fr", "[ -]")):
        other = "de" if language == "en" else "en"
        data = Text(source="numbers", source_language=language, target_language=other)
        train, val = numbers_pairs(data)
        train_words, val_words = (
            Counter(word for line in part.sources for word in re.split(split, line)) for part in (train, val)
        )
        assert not val_words.keys() - train_words.keys()
        assert {*train_words} >= ({*EN} if language == "en" else {*FR})
    train, _ = numbers_pairs(Text(source="numbers"))
    parts = Counter(part for line in train.targets for part in GERMAN_WORD.findall(line))
    assert {*parts} >= {*DE}


def test_other_languages():
    with pytest.raises(UserError, match="'it'.*choose from de, en, fr"):
        open_pairs(Text(source="numbers", target_language="it"))
    with pytest.raises(UserError, match="'e'"):
        open_val(Text(source="numbers", source_language="e"))


def test_global_generator_does_not_change():
    first = numbers_pairs(Text(source="numbers"))
    random.seed(5)
    state = random.getstate()
    assert numbers_pairs(Text(source="numbers")) == first
    assert random.getstate() == state
