"""Reading parallel text: layouts, line ends, and one-line errors."""

import gzip
from pathlib import Path

import pytest

from resmlp.config import Text
from resmlp.data import open_pairs, open_val, read_lines
from resmlp.data.text import files
from resmlp.data.text.files import MAX_LINE
from resmlp.utils.errors import UserError

ODD = "a\u00a0b\u0085c\u2028d\x0be\x0cf\x1cg\rh"
"""one line, although str.splitlines would split it"""


@pytest.fixture
def write(tmp_path):
    """Write files, `write({"train.en": "a\\n"})`, gzipped if the name ends in .gz; returns settings that read them."""

    def write(files: dict[str, str | bytes], **settings) -> Text:
        for name, text in files.items():
            raw = text.encode() if isinstance(text, str) else text
            (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return Text(root=str(tmp_path), **settings)

    return write


VAL = {"val.en": "v\n", "val.de": "w\n"}


@pytest.mark.parametrize("zipped", [(), ("train.en",), ("train.de",), ("train.en", "train.de")])
def test_two_files(write, zipped):
    files = {"train.en": f"one\n{ODD}\n", "train.de": "eins\nzwei"}  # the last line has no end
    train, val = open_pairs(write({name + ".gz" * (name in zipped): text for name, text in files.items()} | VAL))
    assert (train.sources, train.targets, train.empty_lines) == (["one", ODD], ["eins", "zwei"], ())
    assert (val.sources, val.targets) == (["v"], ["w"])
    assert "train.en" in train.file_names
    assert "train.de" in train.file_names


@pytest.mark.parametrize("name", ["val.tsv", "val.tsv.gz"])
def test_table(write, name):
    val = open_val(write({name: "one\teins\r\n\ttwo\n"}))
    assert (val.sources, val.targets) == (["one", ""], ["eins", "two"])


def test_several_names_and_another_direction(write):
    files = {"a.fr": "un\n", "a.de": "eins\n", "b.x.tsv": "deux\tzwei\n", "val.fr": "x\n", "val.de": "y\n"}
    train, _ = open_pairs(write(files, source_language="fr", target_language="de", train=("b.x", "a")))
    assert (train.sources, train.targets) == (["deux", "un"], ["zwei", "eins"])


def test_plain_files_are_preferred(write):
    files = {"val.en": "plain\n", "val.en.gz": "packed\n", "val.de": "d\n", "val.tsv": "table\td\n"}
    assert open_val(write(files)).sources == ["plain"]


def test_windows(write):
    data = write({"val.en": b"\xef\xbb\xbfone\r\ntwo\r\r\n\r\n", "val.de": b"eins\r\nzwei\r\n\xef\xbb\xbfdrei\r"})
    val = open_val(data)
    assert val.sources == ["one", "two\r", ""]
    assert val.targets == ["eins", "zwei", "\ufeffdrei"]


def test_only_training_pairs_with_an_empty_side_are_removed(write):
    files = {"en": "a\n\nc\n \u00a0\ne\n", "de": "A\nB\n\t\nD\nE\n"}
    data = write({f"{name}.{language}": text for name in ("train", "val") for language, text in files.items()})
    train, val = open_pairs(data)
    assert (train.sources, train.targets, train.empty_lines) == (["a", "e"], ["A", "E"], (1, 2, 3))
    assert (len(val), val.empty_lines) == (5, ())
    assert val.sources[3] == " \u00a0"


def test_location_of_a_pair(write):
    """Also with several files, and with empty lines before the pair."""
    files = {
        "a.en": "\n1\n\n2\n",
        "a.de": "x\n1\nx\n2\n",
        "b.tsv": "\tx\n3\t3\n",
        "c.en": "4\nx\n5",
        "c.de": "4\n\n5\n",
    }
    train, val = open_pairs(write(files | {"val.tsv": "v\tw\nx\ty\n"}, train=("a", "b", "c")))
    assert train.sources == train.targets == ["1", "2", "3", "4", "5"]
    locations = [train.location(number).rpartition("/")[2] for number in range(len(train))]
    pair = "{0}.en and {0}.de, line {1}".format
    assert locations == [pair("a", 2), pair("a", 4), "b.tsv, line 2", pair("c", 1), pair("c", 3)]
    assert val.location(1).endswith("val.tsv, line 2")
    with pytest.raises(IndexError):
        train.location(5)


def test_line_of_a_megabyte(write):
    line = "wörd " * 200_000
    assert open_val(write({"val.en": line + "\n", "val.de": "kurz\n"})).sources == [line]


@pytest.mark.parametrize("name", ["train.en", "train.en.gz", "train.tsv", "val.de", "val.tsv.gz"])
@pytest.mark.parametrize(
    "content", ["x" * (MAX_LINE + 1), "ok\n" + "word " * (MAX_LINE // 4), "\0" * 2**23], ids=["x", "words", "zeros"]
)
def test_longer_line_is_one_error_and_is_not_read(write, name, content):
    part, ending, *_ = name.split(".")
    plain = {f"{each}.{end}": "ok\n" for each in ("train", "val") for end in ("en", "de")}
    replaced = {f"{part}.{end}" for end in ("en", "de") if ending in (end, "tsv")}
    number = content.count("\n") + 1
    others = {other: text for other, text in plain.items() if other not in replaced}
    check_error(write(others | {name: content}), f"{name}, line {number}, has more than", "a sentence a line")


def test_gzipped_lines_without_end_are_one_error(write, monkeypatch):
    monkeypatch.setattr(files, "FREE", 2**16)
    check_error(write({"val.en.gz": "\n" * 2**18, "val.de": "x\n"}), "val.en.gz is too large when unpacked")


def check_error(data: Text, *parts: str) -> None:
    """Check that opening the data raises a one-line error with all the parts."""
    with pytest.raises(UserError) as caught:
        open_pairs(data)
    message = str(caught.value)
    assert message.isprintable()
    for part in parts:
        assert part in message, message


def test_no_root(tmp_path, write):
    check_error(Text(), "--data.root is not given", "train.en, train.de, val.en, val.de", ".gz", "train.tsv, val.tsv")
    (tmp_path / "text").mkdir()
    check_error(
        Text(root=str(tmp_path / "texte")), "no such folder", "did you mean text?", "give a folder with train.en"
    )
    check_error(Text(root="/no/such/place"), "no such folder", "(give a folder")
    write({"file": "x"})
    check_error(Text(root=str(tmp_path / "file")), "file, line 1, has 0 tabs")


def test_missing_files(write, tmp_path):
    check_error(write({}), "no val.en or val.en.gz and no val.de or val.de.gz, nor val.tsv", str(tmp_path), "is empty")
    check_error(write(VAL), "no train.en or train.en.gz and no train.de", "the folder has val.de, val.en")
    check_error(write({"train.de.gz": "x\n"}), "no train.en or train.en.gz, nor", "--data.train", "train.de.gz")
    (tmp_path / "train.en").mkdir()
    check_error(Text(root=str(tmp_path)), "no train.en or")


def test_hint_for_missing_files_lists_existing_names(write):
    """Names with files in both languages or a table, without the names of the training files."""
    files = {f"{name}.{end}": "x\n" for name in ("train", "test") for end in ("en", "de")}
    check_error(write(files), "no val.en", "--data.val", "such as test)")
    write({"tables.tsv.gz": "a\tb\n", "half.en": "x\n", "other.fr": "x\n", ".en": "", ".de": ""})
    check_error(write({}), "such as tables, test)")
    check_error(write({}, source_language="fr"), "such as tables)")
    check_error(write({}, train=("test", "tables")), "such as train)")


def test_error_with_an_unprintable_name_is_one_line(write):
    check_error(write({"new\nline": ""} | VAL), "new\\nline")
    check_error(Text(root=write(VAL).root, val="a\0b"), "no a\\x00b.en")


@pytest.mark.parametrize(
    ("en", "de", "message"),
    [
        ("1\n2\n3\n", "1\n2\n", "3 and 2 lines: line 3 of train.en"),
        ("1\n", "1\n2\n3\n", "1 and 3 lines: line 2 of train.de"),
        ("1\n2\n", "1\n2\n\n", "line 3 of train.de"),
        ("", "1\n", "0 and 1 lines: line 1 of train.de"),
    ],
)
def test_different_numbers_of_lines(write, en, de, message):
    check_error(write({"train.en": en, "train.de": de} | VAL), message)


def test_broken_text(write, tmp_path):
    bad = b"gut\nzw" + b"\xfc\n" * 2
    for name in ("train.en", "train.en.gz"):
        check_error(write({name: bad, "train.de": "1\n2\n3\n"} | VAL), f"{name}, line 2, is not UTF-8")
        (tmp_path / name).unlink()
    check_error(write({"train.en": "a\n".encode("utf-16")}), "line 1, is not UTF-8", "iconv -f utf-16 -t utf-8")


def test_broken_archives(write, tmp_path):
    packed = gzip.compress("".join(f"line {i}\n" for i in range(50_000)).encode())
    flipped = bytearray(packed)
    flipped[len(packed) // 2 :: 50] = bytes(len(flipped[len(packed) // 2 :: 50]))
    data = write({"train.de": "x\n"} | VAL)
    for raw in (packed[:-4], packed[: len(packed) // 2], bytes(flipped), b"plain text\n", packed + b"more"):
        (tmp_path / "train.en.gz").write_bytes(raw)
        check_error(data, "train.en.gz is damaged after")


def test_tables_of_another_shape(write):
    check_error(write({"train.tsv": "a\tb\na b\n"} | VAL), "train.tsv, line 2, has 0 tabs")
    check_error(write({"train.tsv": "a\tb\tCC BY\n"}), "line 1, has 2 tabs", "add a first line with their names")


def test_empty(write):
    check_error(write({"train.en": "", "train.de": ""} | VAL), "train.en and train.de without lines")
    check_error(write({"train.en": "\n \n", "train.de": "a\n\n"}), "all 2 pairs of", "have an empty side")
    check_error(write({"val.en": "", "val.de.gz": "", "val.de": ""}), "without lines")


def test_unreadable(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        read_lines(tmp_path)


def test_multi30k(shared):
    for language in ("de", "fr"):
        data = Text(root=str(shared / "mt" / "multi30k"), target_language=language)
        train, val = open_pairs(data)
        assert (len(train), len(val), train.empty_lines) == (29_000, 1_014, ())
    assert train.sources[0] == "Two young, White males are outside near many bushes."
    assert train.targets[0] == "Deux jeunes hommes blancs sont dehors près de buissons."


def test_lines_equal_those_of_the_bytes(shared):
    """All files that are not gzipped; str.splitlines would also split the French ones at other characters."""
    folder = shared / "mt" / "wmt_news"
    for path in sorted(Path(folder).glob("newstest*.*")):
        if path.suffix == ".gz":
            continue
        assert "\n".join(read_lines(path)).encode() + b"\n" == path.read_bytes()
    val = open_val(Text(root=str(folder), target_language="fr", val="newstest2014.en-fr"))
    assert len(val) == 3_003
    assert sum("\u00a0" in line for line in val.targets) == 707
