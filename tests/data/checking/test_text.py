"""The check of parallel text: each kind of issue with its lines, what is text, and hostile input."""

import gzip
from pathlib import Path

import pytest
from PIL import Image

from resmlp.data.checking.pairs import main_script
from resmlp.data.checking.text import TextReport, check_text
from resmlp.data.checking.text_files import is_text
from resmlp.data.text.files import MAX_LINE, read_lines
from resmlp.data.text.lines import read_lines as stream_lines
from resmlp.utils.errors import UserError

WORDS = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett"]
WORDS += ["kilo", "lima", "mike"]
CLEAN = [(f"the {word} is here", f"das {word} ist hier") for word in WORDS]


@pytest.fixture
def write(tmp_path):
    """`write({"train.en": "a\\n"})`: files in a folder, gzipped if the name ends in .gz; the folder."""

    def write(files: dict[str, str | bytes]) -> Path:
        for name, text in files.items():
            raw = text.encode() if isinstance(text, str) else text
            (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return tmp_path

    return write


def two_files(pairs, name: str = "train", languages=("en", "de")) -> dict[str, str]:
    return {
        f"{name}.{language}": "".join(f"{pair[side]}\n" for pair in pairs) for side, language in enumerate(languages)
    }


def names(report: TextReport) -> dict[str, list[str]]:
    """The names of each kind of issue."""
    return {issue.kind: issue.names for issue in report.issues}


def details(report: TextReport, kind: str) -> list[str]:
    return next(issue.details for issue in report.issues if issue.kind == kind)


def test_clean_text_has_no_issues(write):
    report = check_text(write(two_files(CLEAN)))
    assert report.issues == []
    assert report.parts == [{"name": "train", "languages": ["en", "de"], "pairs": 13, "characters": [17, 18]}]
    assert str(report).endswith("no issues")
    report.raise_for_errors()


def added(write, *pairs, **options) -> dict[str, list[str]]:
    """The issues of clean pairs and these after them; the first of these is on line 14."""
    return names(check_text(write(two_files([*CLEAN, *pairs], **options))))


WHERE = "train.en and train.de, line {}".format


@pytest.mark.parametrize(
    ("pair", "kind"),
    [
        (CLEAN[2], "pair-duplicate"),
        (("  the charlie is here", "das charlie ist hier\t"), "pair-duplicate"),
        (("Good morning", "Good morning"), "equal-sides"),
        (("short", "ein Satz, der nicht zu diesem Wort gehört " * 5), "length-ratio"),
        (("word " * 60, "kurz"), "length-ratio"),
        (("Привет, мир", "Hallo Welt"), "wrong-script"),
        (("hello there", "καλημέρα κόσμε"), "wrong-script"),
        (("hello there", "你好"), "wrong-script"),
        (("", "nichts"), "empty-side"),
        (("nothing", " \u00a0"), "empty-side"),
        (("", ""), "empty-side"),
        (("one\rtwo", "eins zwei"), "carriage-return"),
    ],
)
def test_a_pair_with_an_issue_is_named(write, pair, kind):
    found = added(write, pair)
    assert list(found) == [kind]
    assert found[kind][0].startswith(WHERE(14) if kind != "carriage-return" else "train.en, line 14")


def test_copies_are_compared_in_one_unicode_form(write):
    found = added(write, ("the café", "das Café"), ("the cafe\u0301", "das Cafe\u0301"))
    assert found == {"pair-duplicate": [f"{WHERE(15)} = {WHERE(14)}"]}


@pytest.mark.parametrize("pair", [("2,500", "2,500"), ("...", "...")])
def test_numbers_and_signs_may_be_equal(write, pair):
    assert added(write, pair) == {}


def test_copies_across_parts(write):
    val = [CLEAN[3], (CLEAN[4][0], "anders"), ("the new one", "das neue")]
    found = names(check_text(write(two_files(CLEAN) | two_files(val, "val"))))
    assert found == {
        "pair-leak": [f"val.en and val.de, line 1 = {WHERE(4)}"],
        "source-leak": [f"val.en and val.de, line 2 = {WHERE(5)}"],
    }


@pytest.mark.parametrize(
    ("language", "good", "bad"),
    [
        ("ru", "и вот он здесь", "hello there"),
        ("zh", "他在这里", "он здесь"),
        ("ja", "カタカナとひらがな", "ここ is mostly English"),
        ("ko", "여기에 있습니다", "他在这里"),
        ("el", "είναι εδώ", "он здесь"),
        ("sr-Latn", "on je ovde", "он је овде"),
        ("zho_Hans", "他在这里", "it is here"),
        ("xx", "είναι εδώ", "он здесь"),
        ("deu", "er ist hier", "он здесь"),
    ],
)
def test_scripts_of_languages(write, language, good, bad):
    pairs = [(f"line {i} {word}", good) for i, word in enumerate(WORDS)]
    found = names(check_text(write(two_files([*pairs, ("the last line", bad)], languages=("en", language)))))
    assert [name.rpartition(" ")[2] for name in found["wrong-script"]] == ["14"]


@pytest.mark.parametrize(
    ("line", "script"),
    [
        ("Größe", "Latin"),
        ("10 µm", "Latin"),
        ("ﬁn", "Latin"),
        ("ＡＢＣ", "Latin"),
        ("ｶﾀｶﾅ", "Han"),
        ("12 %", ""),
        ("ß", "Latin"),
        ("مرحبا", "Arabic"),
        ("한국어 text", "Latin"),
    ],
)
def test_script_of_most_letters(line, script):
    assert main_script(line) == script


def test_serbian_and_unknown_mixed_columns_may_have_two_scripts(write):
    rows = [(f"line {word}", "он је овде" if i % 2 else "on je ovde") for i, word in enumerate(WORDS)]
    for language in ("sr", "xx"):
        assert "wrong-script" not in names(check_text(write(two_files(rows, language, ("en", language)))))


@pytest.mark.parametrize("header", [("source", "target"), ("en", "de"), ("English", "German"), ("en,de", "en,de")])
def test_a_header_in_two_files(write, header):
    found = names(check_text(write(two_files([header, *CLEAN]))))
    assert found["header-row"] == [WHERE(1)]


def tsv(rows) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.tsv.gz"])
@pytest.mark.parametrize("header", [("source", "target"), ("en", "de"), ("German", "English")])
def test_a_header_of_a_table_names_its_columns(write, name, header):
    path = write({name: tsv([header, *CLEAN, ("", "x")])}) / name
    found = names(check_text(path))
    assert found == {"empty-side": [f"{name}, line 15"], "table-header": [name]}
    assert is_text(path)


def test_other_numbers_of_columns(write):
    report = check_text(write({"train.tsv": tsv([*CLEAN, ("a", "b", "c"), ("x",)])}))
    assert names(report) == {"columns": ["train.tsv, line 14", "train.tsv, line 15"]}
    assert details(report, "columns") == ["3, not 2", "1, not 2"]


def test_the_splits_of_a_table_are_parts(write):
    rows = [("en", "de", "split"), *((*pair, "train") for pair in CLEAN), (*CLEAN[0], "val")]
    report = check_text(write({"x.tsv": tsv(rows)}) / "x.tsv")
    assert names(report)["pair-leak"] == ["x.tsv, line 15 = x.tsv, line 2"]
    assert [(part["name"], part["pairs"]) for part in report.parts] == [("train", 13), ("val", 1)]


def test_a_split_that_is_neither_training_nor_validation(write):
    rows = [("en", "de", "split"), *((*pair, "train") for pair in CLEAN[1:]), (*CLEAN[0], "banana")]
    found = names(check_text(write({"x.tsv": tsv(rows)}) / "x.tsv"))
    assert found == {"unknown-split": ["x.tsv: 'banana'"], "table-header": ["x.tsv"]}


@pytest.mark.parametrize("files", [{"train.en": "", "train.de": ""}, {"train.tsv": "en\tde\n"}])
def test_files_without_a_pair_are_errors(write, files):
    report = check_text(write(files))
    assert names(report)["no-pairs"] == [" and ".join(files)]
    assert report.errors


def test_parquet(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {"en": [a for a, _ in CLEAN] + ["same"], "de": [b for _, b in CLEAN] + ["same"]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
    assert is_text(tmp_path / "x.parquet")
    assert is_text(tmp_path)
    assert names(check_text(tmp_path / "x.parquet")) == {"equal-sides": ["x.parquet, line 14"]}
    assert check_text(tmp_path).parts[0]["languages"] == ["en", "de"]
    nested = {
        "translation": [dict(zip(("en", "de"), pair)) for pair in zip(*columns.values())]
    }  # Hugging Face's layout
    parquet.write_table(pyarrow.table(nested), tmp_path / "x.parquet")
    assert is_text(tmp_path / "x.parquet")
    assert names(check_text(tmp_path / "x.parquet")) == {"equal-sides": ["x.parquet, line 14"]}
    raw = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(UserError, match="damaged Parquet file"):
        is_text(tmp_path / "x.parquet")
    parquet.write_table(pyarrow.table({"image": [b"\x89PNG"], "a": ["x"], "b": ["y"]}), tmp_path / "x.parquet")
    assert not is_text(tmp_path / "x.parquet")


def test_unequal_line_counts(write):
    report = check_text(write(two_files(CLEAN) | {"train.de": "eins\nzwei\n"}))
    assert names(report)["line-counts"] == ["train.en and train.de"]
    assert details(report, "line-counts") == ["13 and 2 lines"]
    with pytest.raises(UserError, match=r"1 issue must be fixed before training: line-counts 1"):
        report.raise_for_errors()


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_another_encoding_names_line_and_byte(write, encoding):
    raw = "das ist gut\nich höre\n".encode(encoding)
    report = check_text(write({"train.en": "this is good\nI hear\n", "train.de": raw}))
    assert names(report) == {"encoding": ["train.de, line 2"]}
    assert details(report, "encoding") == ["byte 6 is 0xF6"]


WIDE = {"utf-16": "utf-16", "utf-16-le": "utf-16le", "utf-16-be": "utf-16be", "utf-32": "utf-32"}


@pytest.mark.parametrize("encoding", WIDE)
@pytest.mark.parametrize("text", ["das ist gut\n", "größer als 1\r\nzwei\n"])
def test_utf16(write, encoding, text):
    """The check, training and translation each name the encoding and the command that converts it."""
    folder = write({"train.en": "this is good\n", "train.de": text.encode(encoding)})
    report, command = check_text(folder), f"iconv -f {WIDE[encoding]} -t utf-8"
    assert names(report) == {"utf-16": ["train.de"]}
    assert details(report, "utf-16") == [command]
    assert report.errors
    with pytest.raises(UserError, match=command):
        read_lines(folder / "train.de")
    with (folder / "train.de").open("rb") as file, pytest.raises(UserError, match=command):
        list(stream_lines(file, "stdin", 9))


def test_cr_alone(write):
    text = {name: content.replace("\n", "\r") for name, content in two_files([*CLEAN, ("", "x")]).items()}
    found = names(check_text(write(text)))
    assert found == {"cr-line-ends": ["train.en", "train.de"], "empty-side": [WHERE(14)]}


def test_windows_line_ends_and_a_byte_order_mark_are_fine(write):
    files = {name: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() for name, text in two_files(CLEAN).items()}
    assert check_text(write(files)).issues == []


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("train.de", b"x" * (MAX_LINE + 1), "unreadable-text"),
        ("train.de", b"a\rb" * MAX_LINE, "unreadable-text"),
        ("train.de", b"ein\0s\n", "nul"),
        ("train.de.gz", b"no gzip", "unreadable-text"),
    ],
    ids=["long", "long with CR", "NUL", "no gzip"],
)
def test_hostile_files_are_errors(write, tmp_path, name, content, kind):
    write({"train.en": "one\n"})
    (tmp_path / name).write_bytes(content)
    report = check_text(tmp_path)
    assert names(report)[kind][0].startswith(name)
    assert all(line.isprintable() for line in str(report).splitlines())
    assert report.errors


def test_files_without_a_translation_are_named(write):
    found = names(check_text(write(two_files(CLEAN) | {"val.en": "alone\n", "notes.md": "", "README": ""})))
    assert found == {"unpaired": ["val.en"]}


@pytest.mark.parametrize("name", ["train.en", "val.deu_Latn", "a.pt-BR"])
def test_a_file_of_one_language_alone_is_an_error(write, name):
    root = write({name: "alone\n", "notes.md": ""})
    assert is_text(root)
    assert names(check_text(root)) == {"one-side": [name]}
    assert check_text(root).errors
    assert is_text(root / name)
    with pytest.raises(UserError, match="is one side of parallel text"):
        check_text(root / name)


def test_three_languages_are_pairs_with_english(write):
    files = two_files(CLEAN) | {"train.fr": "".join(f"le {word} est ici\n" for word in WORDS)}
    report = check_text(write(files))
    assert [part["languages"] for part in report.parts] == [["en", "de"], ["en", "fr"]]
    assert report.issues == []


def test_what_is_text(write, tmp_path):
    assert not is_text(tmp_path)
    write({"a.jpg": b"", "notes.md": "x", "run.sh": "x"})
    assert not is_text(tmp_path)
    write(two_files(CLEAN))
    assert not is_text(tmp_path), "there is an image"
    (tmp_path / "a.jpg").unlink()
    assert is_text(tmp_path)
    (tmp_path / "cats").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "cats" / "a.png")
    assert not is_text(tmp_path)
    assert not is_text(tmp_path / "missing")


@pytest.mark.slow
def test_published_text_has_no_errors(shared):
    report = check_text(shared / "mt" / "multi30k")
    assert report.errors == []
    assert {"train", "val"} <= {part["name"] for part in report.parts}
    ratios = next(issue for issue in report.issues if issue.kind == "length-ratio")
    assert len(ratios.names) < 100  # of 60,000
