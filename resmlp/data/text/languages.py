"""Languages by their codes: the English name, and the scripts that they are written in."""

from functools import lru_cache
from unicodedata import name as unicode_name
from unicodedata import normalize

LATIN, CYRILLIC, ARABIC, HAN = "Latin", "Cyrillic", "Arabic", "Han"
DEVANAGARI = "Devanagari"
ALIKE = {"Hiragana": HAN, "Katakana": HAN, "Bopomofo": HAN, "Cjk": HAN, "Kangxi": HAN}
"""scripts that are mixed with another one in a text of one language, and that count as it"""

LANGUAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    code: (name, scripts)
    for scripts, names in {
        (LATIN,): "en english de german fr french es spanish it italian pt portuguese nl dutch sv swedish da danish "
        "no norwegian nb bokmal nn nynorsk is icelandic fi finnish et estonian lv latvian lt lithuanian pl polish "
        "cs czech sk slovak sl slovenian hr croatian hu hungarian ro romanian ca catalan gl galician eu basque "
        "tr turkish vi vietnamese id indonesian ms malay tl tagalog sw swahili af afrikaans ga irish cy welsh "
        "mt maltese sq albanian eo esperanto la latin ha hausa yo yoruba zu zulu xh xhosa so somali lb luxembourgish",
        (CYRILLIC,): "ru russian uk ukrainian bg bulgarian be belarusian mk macedonian ky kyrgyz tg tajik mn mongolian",
        (LATIN, CYRILLIC): "sr serbian bs bosnian uz uzbek kk kazakh az azerbaijani",
        ("Greek",): "el greek",
        (ARABIC,): "ar arabic fa persian ur urdu ps pashto ug uyghur",
        ("Hebrew",): "he hebrew iw hebrew yi yiddish",
        (DEVANAGARI,): "hi hindi mr marathi ne nepali sa sanskrit",
        ("Bengali",): "bn bengali as assamese",
        ("Gurmukhi",): "pa punjabi",
        ("Gujarati",): "gu gujarati",
        ("Oriya",): "or odia",
        ("Tamil",): "ta tamil",
        ("Telugu",): "te telugu",
        ("Kannada",): "kn kannada",
        ("Malayalam",): "ml malayalam",
        ("Sinhala",): "si sinhala",
        ("Thai",): "th thai",
        ("Lao",): "lo lao",
        ("Khmer",): "km khmer",
        ("Myanmar",): "my burmese",
        ("Tibetan",): "bo tibetan dz dzongkha",
        ("Georgian",): "ka georgian",
        ("Armenian",): "hy armenian",
        ("Ethiopic",): "am amharic ti tigrinya",
        ("Hangul",): "ko korean",
        (HAN,): "zh chinese ja japanese",
    }.items()
    for code, name in zip(names.split()[::2], names.split()[1::2])
}
"""code of ISO 639-1 -> the English name in lower case, and the scripts"""

_PAIRS = (
    "eng:en deu:de ger:de fra:fr fre:fr spa:es ita:it por:pt nld:nl dut:nl rus:ru ukr:uk bul:bg ell:el "
    "gre:el ara:ar arb:ar heb:he hin:hi ben:bn tam:ta tel:te tha:th kor:ko jpn:ja zho:zh chi:zh cmn:zh pol:pl ces:cs "
    "cze:cs tur:tr vie:vi swe:sv dan:da fin:fi hun:hu ron:ro rum:ro fas:fa per:fa kat:ka geo:ka hye:hy arm:hy"
)
THREE_LETTERS = {long: short for long, _, short in (pair.partition(":") for pair in _PAIRS.split())}
"""codes of ISO 639-2 and 639-3 -> of 639-1"""
SCRIPT_CODES = {
    **{"latn": LATIN, "cyrl": CYRILLIC, "arab": ARABIC, "deva": DEVANAGARI, "grek": "Greek", "hebr": "Hebrew"},
    **{"hans": HAN, "hant": HAN, "jpan": HAN, "hang": "Hangul", "kore": "Hangul", "thai": "Thai", "beng": "Bengali"},
}
"""codes of ISO 15924, in lower case"""
KNOWN = {script for _, scripts in LANGUAGES.values() for script in scripts}


def language_of(code: str) -> str:
    """The code of ISO 639-1 of a code such as en, en-US, eng or eng_Latn; empty if it is not known."""
    first = code.casefold().replace("_", "-").partition("-")[0]
    first = THREE_LETTERS.get(first, first)
    return first if first in LANGUAGES else ""


def scripts_of(code: str) -> tuple[str, ...]:
    """The scripts of a language code, of which one may name the script (sr-Latn); empty if they are not known."""
    parts = code.casefold().replace("_", "-").split("-")
    named = [SCRIPT_CODES[part] for part in parts[1:] if part in SCRIPT_CODES]
    language = language_of(code)
    return tuple(named) or (LANGUAGES[language][1] if language else ())


@lru_cache(2**16)
def script(char: str) -> str:
    """The Unicode script of a letter, by its name; empty for other characters and for scripts without a language above.

    Hiragana and Katakana count as Han.
    """
    if not char.isalpha():
        return ""
    first = unicode_name(normalize("NFKC", char)[:1] or char, "").partition(" ")[0].partition("-")[0].capitalize()
    found = ALIKE.get(first, first)
    return found if found in KNOWN else ""
