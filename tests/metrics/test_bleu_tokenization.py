"""The tokenization of BLEU by language and by script, against sacreBLEU, and canonically equal text."""

import math
from importlib.util import find_spec
from unicodedata import normalize

import pytest
import sacrebleu

from resmlp.metrics import translation_scores, translation_signatures
from resmlp.metrics.bleu_tokenization import bleu_tokenization, tokenization_warning

TEXTS = {
    "zh": ["狗一八树房子蓝色九房子绿色天空六。", "九四三跑步八水跑步,2024年。"],
    "ja": ["私は昨日、東京で新しい本を買いました。", "この犬は水を飲みます。"],
    "ko": ["나는 어제 서울에서 새 책을 샀습니다.", "이 개는 물을 마십니다."],
    "th": ["ฉันซื้อหนังสือเล่มใหม่เมื่อวานนี้", "สุนัขตัวนี้ดื่มน้ำ"],
    "lo": ["ຂ້ອຍຊື້ປຶ້ມໃໝ່ມື້ວານນີ້", "ໝາໂຕນີ້ດື່ມນ້ຳ"],
    "km": ["ខ្ញុំបានទិញសៀវភៅថ្មីកាលពីម្សិលមិញ", "ឆ្កែនេះផឹកទឹក"],
    "my": ["ကျွန်တော်မနေ့ကစာအုပ်အသစ်ဝယ်ခဲ့တယ်", "ဒီခွေးကရေသောက်တယ်"],
    "de": ["Ich habe gestern ein neues Buch gekauft.", "Dieser Hund trinkt Wasser."],
    "ar": ["اشتريت أمس كتابا جديدا.", "هذا الكلب يشرب الماء."],
    "ru": ["Вчера я купил новую книгу.", "Эта собака пьёт воду."],
}


def expected(language: str) -> str:
    """SacreBLEU's own choice, or characters where it has none or its analyzer is not installed."""
    modules = {"ja": "MeCab", "ko": "mecab_ko"}
    if language in modules:
        return f"{language}-mecab" if find_spec(modules[language]) else "char"
    return {"zh": "zh", "de": "13a", "ar": "13a", "ru": "13a"}.get(language, "char")


@pytest.mark.parametrize("language", TEXTS)
def test_code_and_script_agree(language):
    assert bleu_tokenization(language) == expected(language)
    assert bleu_tokenization("tgt", TEXTS[language]) == expected(language)


@pytest.mark.parametrize(
    ("code", "language"),
    [("zh-CN", "zh"), ("zh_TW", "zh"), ("zho_Hans", "zh"), ("cmn", "zh"), ("ZH", "zh"), ("jpn", "ja"), ("ja-JP", "ja")]
    + [("kor_Hang", "ko"), ("tha_Thai", "th"), ("mya", "my"), ("khm", "km"), ("lao", "lo"), ("deu_Latn", "de")],
)
def test_other_spellings_of_a_code(code, language):
    assert bleu_tokenization(code) == expected(language)


@pytest.mark.parametrize("language", TEXTS)
def test_scores_equal_sacrebleu_and_perfect_output_is_100(language):
    references = TEXTS[language]
    hypotheses = [line[: len(line) * 3 // 4] for line in references]
    scores = dict(translation_scores(hypotheses, references, language))
    name = expected(language)
    assert scores["bleu"] == pytest.approx(sacrebleu.corpus_bleu(hypotheses, [references], tokenize=name).score)
    assert dict(translation_scores(references, references, "tgt"))["bleu"] == pytest.approx(100)
    assert dict(translation_scores(references, references, language))["tokenized_bleu"] == pytest.approx(100)
    signatures = dict(translation_signatures(language, references))
    assert f"tok:{name}" in signatures["bleu_signature"]


def test_characters_by_hand():
    """Of 6 characters 5 are right, of 5 pairs 3, of 4 threes 2, of 3 fours 1: the third one differs."""
    scores = dict(translation_scores(["กขคงจฉ"], ["กขXงจฉ"], "th"))
    assert scores["tokenized_bleu"] == 0  # no four is right
    scores = dict(translation_scores(["กขคงจฉX"], ["กขคงจฉช"], "th"))
    assert scores["tokenized_bleu"] == pytest.approx(100 * (6 / 7 * 5 / 6 * 4 / 5 * 3 / 4) ** 0.25)
    assert math.isclose(scores["bleu"], scores["tokenized_bleu"])


def test_text_without_spaces_of_an_unknown_language_is_named():
    yi = ["ꀀꀁꀂꀃꀄꀅꀆꀇꀈꀉꀊꀋꀌꀍꀎꀏꀐꀑꀒꀓ", "ꀔꀕꀖꀗꀘꀙꀚꀛꀜꀝꀞꀟꀠꀡꀢꀣꀤꀥꀦꀧ"]
    assert bleu_tokenization("tgt", yi) == "13a"
    assert "no spaces" in tokenization_warning("tgt", yi)
    assert tokenization_warning("de", ["siebenhundertdreiundzwanzigtausend"]) == ""
    for language in ("zh", "th", "de", "ar", "ru"):
        assert tokenization_warning(language, TEXTS[language]) == ""
        assert tokenization_warning("tgt", TEXTS[language]) == ""


@pytest.mark.skipif(find_spec("MeCab") is not None, reason="MeCab is installed")
def test_a_missing_analyzer_is_named():
    assert "sacrebleu[ja]" in tokenization_warning("ja", TEXTS["ja"])


@pytest.mark.parametrize("line", ["Wir hören schöne Töne über Österreich.", "Tiếng Việt có dấu.", "한국어 문장입니다."])
@pytest.mark.parametrize("language", ["de", "tgt"])
def test_canonically_equal_text_has_the_same_scores(line, language):
    composed, decomposed = normalize("NFC", line), normalize("NFD", line)
    assert composed != decomposed
    for pair in ((composed, decomposed), (decomposed, composed), (decomposed, decomposed)):
        assert dict(translation_scores([pair[0]], [pair[1]], language)) == dict(
            translation_scores([composed], [composed], language)
        )
    assert dict(translation_scores([composed], [decomposed], language))["exact_match"] == 1
