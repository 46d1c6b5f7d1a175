"""Reading parallel text: layouts, line ends, and one line for each thing that can be wrong."""

import gzip
from pathlib import Path

import pytest

from resmlp.config import Text
from resmlp.data import open_pairs, open_val, read_lines
from resmlp.utils.errors import UserError

ODD = "a\u00a0b\u0085c\u2028d\x0be\x0cf\x1cg\rh"
"""one line, though str.splitlines would make several of it"""


@pytest.fixture
def place(tmp_path):
    """Write files: `place(**{"train.en": "a\\n"})`; those named .gz are packed. Settings that read them."""

    def place(files: dict[str, str | bytes], **settings) -> Text:
        for name, text in files.items():
            raw = text.encode() if isinstance(text, str) else text
            (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return Text(root=str(tmp_path), **settings)

    return place


VAL = {"val.en": "v\n", "val.de": "w\n"}


@pytest.mark.parametrize("zipped", [(), ("train.en",), ("train.de",), ("train.en", "train.de")])
def test_two_files(place, zipped):
    files = {"train.en": f"one\n{ODD}\n", "train.de": "eins\nzwei"}  # the last line has no end
    train, val = open_pairs(place({name + ".gz" * (name in zipped): text for name, text in files.items()} | VAL))
    assert (train.sources, train.targets, train.left_out) == (["one", ODD], ["eins", "zwei"], ())
    assert (val.sources, val.targets) == (["v"], ["w"])
    assert "train.en" in train.where
    assert "train.de" in train.where


@pytest.mark.parametrize("name", ["val.tsv", "val.tsv.gz"])
def test_table(place, name):
    val = open_val(place({name: "one\teins\r\n\ttwo\n"}))
    assert (val.sources, val.targets) == (["one", ""], ["eins", "two"])


def test_several_names_and_another_direction(place):
    files = {"a.fr": "un\n", "a.de": "eins\n", "b.x.tsv": "deux\tzwei\n", "val.fr": "x\n", "val.de": "y\n"}
    train, _ = open_pairs(place(files, source_language="fr", target_language="de", train=("b.x", "a")))
    assert (train.sources, train.targets) == (["deux", "un"], ["zwei", "eins"])


def test_files_come_before_packed_ones_and_tables(place):
    files = {"val.en": "plain\n", "val.en.gz": "packed\n", "val.de": "d\n", "val.tsv": "table\td\n"}
    assert open_val(place(files)).sources == ["plain"]


def test_windows(place):
    data = place({"val.en": b"\xef\xbb\xbfone\r\ntwo\r\r\n\r\n", "val.de": b"eins\r\nzwei\r\n\xef\xbb\xbfdrei\r"})
    val = open_val(data)
    assert val.sources == ["one", "two\r", ""]
    assert val.targets == ["eins", "zwei", "\ufeffdrei"]


def test_empty_sides_are_left_out_of_training_alone(place):
    files = {"en": "a\n\nc\n \u00a0\ne\n", "de": "A\nB\n\t\nD\nE\n"}
    data = place({f"{name}.{language}": text for name in ("train", "val") for language, text in files.items()})
    train, val = open_pairs(data)
    assert (train.sources, train.targets, train.left_out) == (["a", "e"], ["A", "E"], (1, 2, 3))
    assert (len(val), val.left_out) == (5, ())
    assert val.sources[3] == " \u00a0"


def test_a_pair_is_told_by_its_files_and_its_line(place):
    """Over several files, and whatever was left out before it: that line of the file holds the text."""
    files = {
        "a.en": "\n1\n\n2\n",
        "a.de": "x\n1\nx\n2\n",
        "b.tsv": "\tx\n3\t3\n",
        "c.en": "4\nx\n5",
        "c.de": "4\n\n5\n",
    }
    train, val = open_pairs(place(files | {"val.tsv": "v\tw\nx\ty\n"}, train=("a", "b", "c")))
    assert train.sources == train.targets == ["1", "2", "3", "4", "5"]
    places = [train.place(number).rpartition("/")[2] for number in range(len(train))]
    pair = "{0}.en and {0}.de, line {1}".format
    assert places == [pair("a", 2), pair("a", 4), "b.tsv, line 2", pair("c", 1), pair("c", 3)]
    assert val.place(1).endswith("val.tsv, line 2")
    with pytest.raises(IndexError):
        train.place(5)


def test_a_line_of_a_megabyte(place):
    line = "wörd " * 200_000
    assert open_val(place({"val.en": line + "\n", "val.de": "kurz\n"})).sources == [line]


def refused(data: Text, *parts: str) -> None:
    """Opening raises one line that has all the parts."""
    with pytest.raises(UserError) as caught:
        open_pairs(data)
    message = str(caught.value)
    assert message.isprintable()
    for part in parts:
        assert part in message, message


def test_no_root(tmp_path, place):
    refused(Text(), "--data.root is not given", "train.en, train.de, val.en, val.de", ".gz", "train.tsv, val.tsv")
    (tmp_path / "text").mkdir()
    refused(Text(root=str(tmp_path / "texte")), "no such folder", "did you mean text?", "give a folder with train.en")
    refused(Text(root="/no/such/place"), "no such folder", "(give a folder")
    place({"file": "x"})
    refused(Text(root=str(tmp_path / "file")), "is a file")


def test_missing_files(place, tmp_path):
    refused(place({}), "no val.en or val.en.gz and no val.de or val.de.gz, nor val.tsv", str(tmp_path), "it is empty")
    refused(place(VAL), "no train.en or train.en.gz and no train.de", "there is val.de, val.en")
    refused(place({"train.de.gz": "x\n"}), "no train.en or train.en.gz, nor", "--data.train", "train.de.gz")
    (tmp_path / "train.en").mkdir()
    refused(Text(root=str(tmp_path)), "no train.en or")


def test_names_that_are_there_are_said(place):
    """Of both languages, or a table; those that are learned from are none to evaluate on."""
    files = {f"{name}.{end}": "x\n" for name in ("train", "test") for end in ("en", "de")}
    refused(place(files), "no val.en", "--data.val", "such as test)")
    place({"tables.tsv.gz": "a\tb\n", "half.en": "x\n", "other.fr": "x\n", ".en": "", ".de": ""})
    refused(place({}), "such as tables, test)")
    refused(place({}, source_language="fr"), "such as tables)")
    refused(place({}, train=("test", "tables")), "such as train)")


def test_a_name_with_odd_characters_is_told_in_one_line(place):
    refused(place({"new\nline": ""} | VAL), "new\\nline")
    refused(Text(root=place(VAL).root, val="a\0b"), "no a\\x00b.en")


@pytest.mark.parametrize(
    ("en", "de", "told"),
    [
        ("1\n2\n3\n", "1\n2\n", "3 and 2 lines: line 3 of train.en"),
        ("1\n", "1\n2\n3\n", "1 and 3 lines: line 2 of train.de"),
        ("1\n2\n", "1\n2\n\n", "line 3 of train.de"),
        ("", "1\n", "0 and 1 lines: line 1 of train.de"),
    ],
)
def test_counts_differ(place, en, de, told):
    refused(place({"train.en": en, "train.de": de} | VAL), told)


def test_broken_text(place, tmp_path):
    bad = b"gut\nzw" + b"\xfc\n" * 2
    for name in ("train.en", "train.en.gz"):
        refused(place({name: bad, "train.de": "1\n2\n3\n"} | VAL), f"{name}, line 2, is not UTF-8")
        (tmp_path / name).unlink()
    refused(place({"train.en": "a\n".encode("utf-16")}), "line 1, is not UTF-8")


def test_broken_archives(place, tmp_path):
    packed = gzip.compress("".join(f"line {i}\n" for i in range(50_000)).encode())
    flipped = bytearray(packed)
    flipped[len(packed) // 2 :: 50] = bytes(len(flipped[len(packed) // 2 :: 50]))
    data = place({"train.de": "x\n"} | VAL)
    for raw in (packed[:-4], packed[: len(packed) // 2], bytes(flipped), b"plain text\n", packed + b"more"):
        (tmp_path / "train.en.gz").write_bytes(raw)
        refused(data, "train.en.gz is damaged after")


def test_tables_of_another_shape(place):
    refused(place({"train.tsv": "a\tb\na b\n"} | VAL), "train.tsv, line 2, has 0 tabs")
    refused(place({"train.tsv": "a\tb\tCC BY\n"}), "line 1, has 2 tabs", "cut -f1,2")


def test_empty(place):
    refused(place({"train.en": "", "train.de": ""} | VAL), "train.en and train.de without a line")
    refused(place({"train.en": "\n \n", "train.de": "a\n\n"}), "all 2 pairs of", "have an empty side")
    refused(place({"val.en": "", "val.de.gz": "", "val.de": ""}), "without a line")


def test_unreadable(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        read_lines(tmp_path)


def test_multi30k(shared):
    for language in ("de", "fr"):
        data = Text(root=str(shared / "mt" / "multi30k"), target_language=language)
        train, val = open_pairs(data)
        assert (len(train), len(val), train.left_out) == (29_000, 1_014, ())
    assert train.sources[0] == "Two young, White males are outside near many bushes."
    assert train.targets[0] == "Deux jeunes hommes blancs sont dehors près de buissons."


def test_lines_are_those_of_a_byte_count(shared):
    """All text that is not packed; in the French, str.split and str.splitlines would take no-break spaces for more."""
    folder = shared / "mt" / "wmt_news"
    for path in sorted(Path(folder).glob("newstest*.*")):
        if path.suffix == ".gz":
            continue
        assert "\n".join(read_lines(path)).encode() + b"\n" == path.read_bytes()
    val = open_val(Text(root=str(folder), target_language="fr", val="newstest2014.en-fr"))
    assert len(val) == 3_003
    assert sum("\u00a0" in line for line in val.targets) == 707
