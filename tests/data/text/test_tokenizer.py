"""The vocabulary: decoding restores the text, training is a function of the text, and files are validated."""

import json
import os
import subprocess
import sys
import unicodedata

import pytest
import tokenizers

import resmlp.data.text.tokenizer
from resmlp.config import Text
from resmlp.config.seq2seq import BOS, EOS, PAD, UNK
from resmlp.data import Tokenizer, open_pairs, read_lines
from resmlp.utils.errors import UserError

LINES = ["ein Mann und ein Hund", "une femme et un chien", "a man and a dog", "l'homme est là\u00a0!"] * 5


@pytest.fixture(scope="module")
def small() -> Tokenizer:
    return Tokenizer.train(LINES, 300)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "  two  blanks  ",
        "a\tb",
        "no\u00a0break\u202f!",
        "\u00a0",
        "line\u2028par\u0085\r\x0b\x0c",
        "\n",
        "<s> x </s><pad> <unk>",
        "Ġ Ċ Ã",  # characters that represent bytes in the file
        "ﬁ ① ½",  # NFKC would change these
        "\ufeff\ufffd\x00\x7f",
        "日本語 العربية हिन्दी",
        "👩‍👩‍👧‍👦🏳️‍🌈",
        "\U0010ffff",
        "\u0301 at the beginning",
        "x" * 5000,
    ],
)
def test_decoding_restores_every_text(small, text):
    [tokens] = small.encode([text])
    assert small.decode(tokens) == unicodedata.normalize("NFC", text)
    assert all(4 <= token < small.size for token in tokens)
    assert bool(tokens) == bool(text)


def test_normalization_is_nfc(small):
    assert small.encode(["e\u0301te\u0301 \u212b"]) == small.encode(["été Å"])


def test_every_character(small):
    """All characters of the first two planes, a hundred at a time, separated because Unicode versions order marks
    differently.
    """
    points = [chr(i) for i in range(0x20000) if not 0xD800 <= i < 0xE000]
    texts = ["q".join(points[i : i + 100]) for i in range(0, len(points), 100)]
    for text, tokens in zip(texts, small.encode(texts)):
        assert small.decode(tokens) == unicodedata.normalize("NFC", text)


def test_special_tokens(small, tmp_path):
    words = small.encode(["ein Hund"])[0]
    assert small.decode([BOS, *words[:2], PAD, UNK, *words[2:], EOS, PAD]) == "ein Hund"
    small.save(tmp_path / "t.json")
    vocabulary = json.loads((tmp_path / "t.json").read_text())["model"]["vocab"]
    assert [vocabulary[name] for name in ("<pad>", "<s>", "</s>", "<unk>")] == [PAD, BOS, EOS, UNK]
    assert sorted(vocabulary.values()) == list(range(small.size))


def test_incomplete_characters(small):
    tokens = small.encode(["é"])[0]
    assert "\ufffd" in small.decode(tokens[:-1])
    assert small.decode([]) == ""


def test_merges_are_learned_by_frequency():
    """The first merge of a text is its most frequent pair inside a word, counted by hand."""
    tokenizer = Tokenizer.train(["xyxyxy"] * 3 + ["zq"], 261)
    assert tokenizer.size == 261
    assert len(tokenizer.encode(["xyxyxy"])[0]) == 4  # the space, and three times the pair
    assert len(tokenizer.encode(["zq"])[0]) == 3


def test_a_line_that_is_no_words_teaches_nothing():
    """Learning from a million letters without a space would take hours."""
    words = ["seven ten", "ten seven"] * 9
    noise = "".join(f"{i:x}" for i in range(200_000))
    tokenizer = Tokenizer.train([*words, noise], 2000)
    assert len(noise) > 900_000
    assert tokenizer.fingerprint == Tokenizer.train(words, 2000).fingerprint
    assert tokenizer.decode(tokenizer.encode([noise[:5000]])[0]) == noise[:5000]


def test_word_at_the_beginning_has_the_same_token():
    tokenizer = Tokenizer.train(["dog cat", "cat dog"] * 9, 300)
    dog, cat = (tokenizer.encode([word])[0] for word in ("dog", "cat"))
    assert tokenizer.encode(["dog cat dog"])[0] == dog + cat + dog
    assert len(dog) == len(cat) == 1


def test_sizes(small):
    assert Tokenizer.train(LINES, 10_000).size < 400  # all pairs of the text
    assert Tokenizer.train([], 300).size == Tokenizer.train(iter(LINES), 260).size == 260
    assert small.size == 300
    with pytest.raises(UserError, match="--data.vocabulary 259 is too small .at least 260"):
        Tokenizer.train(LINES, 259)


def test_streams(small):
    lines = [f"ein Hund {i}" for i in range(9000)]
    stream = small.stream(iter(lines))
    one_by_one = [small.encode([line])[0] for line in lines]
    assert list(stream) == one_by_one == small.encode(lines)
    assert small.encode([]) == []


def test_files(small, tmp_path):
    small.save(tmp_path / "run" / "tokenizer.json")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["tokenizer.json"]
    for path in (tmp_path / "run", str(tmp_path / "run" / "tokenizer.json")):
        again = Tokenizer.load(path)
        assert again.encode(LINES) == small.encode(LINES)
        assert again.encode(["</s>"]) == small.encode(["</s>"])
        assert (again.size, again.fingerprint) == (small.size, small.fingerprint)
        again.save(tmp_path / "again.json")
        assert (tmp_path / "again.json").read_bytes() == (tmp_path / "run" / "tokenizer.json").read_bytes()
    reference = tokenizers.Tokenizer.from_file(str(tmp_path / "again.json"))
    assert [reference.encode(line).ids for line in LINES] == small.encode(LINES)
    with pytest.raises(UserError, match="cannot write"):
        small.save(tmp_path / "again.json" / "t.json")


def test_fingerprints(small):
    others = [Tokenizer.train(LINES, 299), Tokenizer.train([*LINES, "zz zz zz zz zz zz zz"] * 9, 300)]
    assert len({small.fingerprint, *(other.fingerprint for other in others)}) == 3
    assert Tokenizer.train(LINES, 300).fingerprint == small.fingerprint
    assert len(small.fingerprint) == 12


def test_training_is_a_function_of_the_text(shared):
    """The same in a process with another hash seed and number of threads, and with the lines in another order.

    A forked child of that process also works without warnings, although the threads of its parent do not exist there.
    """
    folder = shared / "mt" / "multi30k"
    tokenizer = Tokenizer.train([line for end in ("en", "de") for line in read_lines(folder / f"val.{end}.gz")], 2000)
    script = f"""
import gzip, os, runpy, signal
Tokenizer = runpy.run_path({resmlp.data.text.tokenizer.__file__!r})["Tokenizer"]
lines = [line for end in ("de", "en") for line in gzip.open(f"{folder}/val.{{end}}.gz").read().decode().split("\\n")]
tokenizer = Tokenizer.train(lines[::-1], 2000)
print(tokenizer.fingerprint, flush=True)
tokens = tokenizer.encode(lines)
child = os.fork()
if not child:
    signal.alarm(60)
    os._exit(tokenizer.encode(lines) != tokens)
print(os.waitpid(child, 0)[1])
"""
    env = {key: value for key, value in os.environ.items() if key != "TOKENIZERS_PARALLELISM"}
    env |= {"PYTHONHASHSEED": "5", "RAYON_NUM_THREADS": "4"}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"{tokenizer.fingerprint}\n0\n", "")


def test_real_text(shared):
    """A vocabulary of Multi30k on its validation set, and on news with no-break spaces."""
    data = Text(root=str(shared / "mt" / "multi30k"), target_language="fr")
    train, val = open_pairs(data)
    tokenizer = Tokenizer.train(train.sources[:10_000] + train.targets[:10_000], 4000)
    assert tokenizer.size == 4000
    news = read_lines(shared / "mt" / "wmt_news" / "newstest2014.en-fr.fr")
    assert sum("\u00a0" in line for line in news) == 707
    lines = val.sources + val.targets + news
    tokens = tokenizer.encode(lines)
    for line, encoded in zip(lines, tokens):
        assert tokenizer.decode(encoded) == unicodedata.normalize("NFC", line)
    captions = 2 * len(val)
    assert sum(map(len, tokens[:captions])) < 1.35 * sum(len(line.split()) for line in lines[:captions])


def _change(file: dict, change: str) -> None:
    model, vocabulary = file["model"], file["model"]["vocab"]
    match change:
        case "blanks":
            file["pre_tokenizer"]["add_prefix_space"] = True
        case "no normalizer":
            file["normalizer"] = None
        case "lower case":
            file["normalizer"]["normalizers"].append({"type": "Lowercase"})
        case "untyped":
            file["decoder"] = {}
        case "lacking":
            del file["decoder"]
        case "dropout":
            model["dropout"] = 0.5
        case "added":
            file["added_tokens"].append({"id": 300, "content": "<mask>"})
        case "special":
            vocabulary["<s>"], vocabulary["</s>"] = 2, 1
        case "unigram":
            model["type"] = "Unigram"
        case "gap":
            vocabulary[max(vocabulary, key=vocabulary.get)] = 10**9
        case "negative":
            vocabulary[max(vocabulary, key=vocabulary.get)] = -1
        case "text":
            vocabulary[max(vocabulary, key=vocabulary.get)] = "299"
        case "true":
            vocabulary["<s>"] = True
        case "byte":
            vocabulary["??"] = vocabulary.pop("Ġ")
        case "list":
            model["vocab"] = list(vocabulary)
        case "empty":
            model["vocab"] = {}
        case "merge":
            model["merges"].append(["dog", "house"])
        case "short merge":
            model["merges"][0] = ["a"]
        case "numbers":
            model["merges"][0] = [1, 2]
        case "nested":
            model["merges"][0] = [["a"], ["b"]]
        case "merges":
            model["merges"] = 7
        case "surrogate":
            vocabulary["\ud800"] = len(vocabulary)


CHANGES = (
    "blanks,no normalizer,lower case,untyped,lacking,dropout,added,special,unigram,gap,negative,text,true,byte,list,"
    "empty,merge,short merge,numbers,nested,merges,surrogate"
)


@pytest.mark.parametrize("change", CHANGES.split(","))
def test_other_kinds_of_tokenizers(small, tmp_path, change):
    path = tmp_path / "tokenizer.json"
    small.save(path)
    file = json.loads(path.read_text())
    _change(file, change)
    path.write_text(json.dumps(file))
    with pytest.raises(UserError) as caught:
        Tokenizer.load(path)
    assert str(path) in caught.value.what
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", "null", '"x"', "{}", '{"model": 1}', '{"model": {"vocab": {}}}', "[" * 9999]
)
def test_files_that_are_not_tokenizers(tmp_path, text):
    path = tmp_path / "tokenizer.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path)


def test_no_file(tmp_path):
    with pytest.raises(UserError, match="no file"):
        Tokenizer.load(tmp_path)
    with pytest.raises(UserError, match="no file"):
        Tokenizer.load("/no/such/file.json")


def test_merges_of_older_versions(small, tmp_path):
    path = tmp_path / "tokenizer.json"
    small.save(path)
    file = json.loads(path.read_text())
    file["model"]["merges"] = [" ".join(merge) for merge in file["model"]["merges"]]
    del file["model"]["ignore_merges"]
    path.write_text(json.dumps(file))
    assert Tokenizer.load(path).fingerprint == small.fingerprint


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UserError, match=r"tokenizers.*pip install '\.\[text\]'"):
        Tokenizer.train(LINES, 300)
