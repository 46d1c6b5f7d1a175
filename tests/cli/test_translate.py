"""`resmlp translate`, and `resmlp eval` of what translates: text in and out, and every way to stop in between."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sacrebleu

from resmlp.cli import translate as verb
from resmlp.data.text import lines as text_lines
from resmlp.data.text.lines import read_lines
from resmlp.inference import load
from resmlp.utils.files import read_json, write_json

LINES = ["seven", "", "nine hundred", "twenty-one thousand", "four"]
TEXT = "".join(f"{line}\n" for line in LINES)
COMMAND = [sys.executable, "-m", "resmlp", "translate"]


@pytest.fixture(scope="session")
def expected(translator_run) -> list[str]:
    """The translations of LINES."""
    return load(translator_run, "cpu").translate(LINES)


@pytest.fixture
def piped(resmlp, translator_run, monkeypatch):
    """`piped(b"...", flags)`: `resmlp translate` of what stands in standard input."""

    def run(text: bytes, *flags: object):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
        return resmlp("translate", translator_run, *flags)

    return run


# text in and out


def test_a_line_for_a_line_from_a_file(resmlp, translator_run, tmp_path, expected):
    (tmp_path / "in.txt").write_text(TEXT)
    ended = resmlp("translate", translator_run, "in.txt")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.split("\n") == [*expected, ""]
    assert expected[1] == ""
    assert len({*expected}) > 3


@pytest.mark.parametrize(
    "text",
    [
        TEXT.encode(),
        TEXT.encode()[:-1],
        TEXT.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
    ],
    ids=["as it is", "without a last end", "ends of Windows", "with a byte order mark"],
)
def test_ends_of_lines_are_of_any_kind(piped, text, expected):
    ended = piped(text)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.split("\n") == [*expected, ""]


@pytest.mark.parametrize("text", [b"", b"\n", b"\n\n\n", b"\r\n"])
def test_nothing_is_nothing(piped, text):
    ended = piped(text)
    assert (ended.code, ended.out) == (0, "\n" * text.count(b"\n"))


def test_batches_change_nothing(piped, expected):
    assert piped(TEXT.encode(), "--batch-size", 1).out.split("\n") == [*expected, ""]


def test_json_is_one_object(piped, expected):
    ended = piped(TEXT.encode(), "--json")
    assert json.loads(ended.out) == {"translations": expected}


def test_scores_stand_before_a_tab(piped, expected):
    ended = piped(TEXT.encode(), "--scores")
    scores, texts = zip(*(line.split("\t", 1) for line in ended.out.split("\n")[:-1]))
    assert list(texts) == expected
    assert all(float(score) <= 0 for score in scores)
    assert float(scores[1]) == 0


def test_n_best_are_groups_with_an_empty_line_after_each(piped, expected):
    ended = piped(TEXT.encode(), "--n-best", 3, "--beam", 4)
    groups = [group.split("\n") for group in ended.out.removesuffix("\n\n").split("\n\n")]
    assert [len(group) for group in groups] == [3, 1, 3, 3, 3]
    assert [group[0].split("\t")[1] for group in groups] == expected
    found = json.loads(piped(TEXT.encode(), "--n-best", 3, "--beam", 4, "--json").out)
    assert found["translations"] == expected
    assert [[f"{h['score']:.4f}\t{h['text']}" for h in each] for each in found["hypotheses"]] == groups


# what is wrong with the text


def test_what_stands_before_a_line_that_is_no_text_is_translated(piped, expected):
    ended = piped("seven\n\nnine h\u00fcndred\n".encode() + b"one \xff two\nfour\n")
    assert ended.code == 2
    assert ended.out.count("\n") == 3
    assert ended.out.startswith(expected[0] + "\n\n")
    assert "line 4 of standard input is not UTF-8, at its byte 5" in ended.error


def test_a_line_with_half_of_a_surrogate_pair_is_no_text(piped):
    ended = piped(b"seven\none \xed\xa0\x80\n")
    assert ended.code == 2
    assert "line 2 of standard input is not UTF-8, at its byte 5" in ended.error


def test_a_line_without_end_does_not_fill_the_memory(piped, monkeypatch, expected):
    monkeypatch.setattr(text_lines, "LONGEST", 100)
    monkeypatch.setattr(text_lines, "BLOCK", 16)
    ended = piped(b"seven\n\n" + b"x" * 1000)
    assert ended.code == 2
    assert ended.out == f"{expected[0]}\n\n"
    assert "line 3 of standard input has more than 100 bytes" in ended.error


def test_a_long_sentence_is_cut_and_its_line_named(piped, monkeypatch):
    """Lines are counted over all that was read, not over what is translated at once."""
    monkeypatch.setattr(verb, "BATCHES", 1)
    ended = piped(b"seven\n" * 5 + b"seven hundred thousand " * 30 + b"\nfour\n", "--batch-size", 2)
    assert ended.code == 0
    assert ended.out.count("\n") == 7
    assert "note: line 6: longer than" in ended.err


# as it comes


class Slow(io.RawIOBase):
    """Gives a piece at a time, as a pipe does, and remembers how many were asked for."""

    def __init__(self, *pieces: bytes):
        self.pieces, self.asked = list(pieces), 0

    def read1(self, size: int) -> bytes:
        self.asked += 1
        return self.pieces.pop(0) if self.pieces else b""


def test_a_line_is_given_out_before_more_is_read():
    slow = Slow(b"one\ntwo\nth", b"ree", b"\n\xc3", b"\xa9\nfive")
    found = [(slow.asked, first, lines) for first, lines in read_lines(slow, "it", 10)]
    assert found == [
        (1, 1, ["one", "two"]),
        (3, 3, ["three"]),
        (4, 4, ["\u00e9"]),
        (5, 5, ["five"]),
    ]


def test_no_more_lines_at_once_than_asked_for():
    found = list(read_lines(Slow(b"a\nb\nc\nd\ne\n", b"f\n"), "it", 2))
    assert found == [(1, ["a", "b"]), (3, ["c", "d"]), (5, ["e"]), (6, ["f"])]


@pytest.fixture
def process(translator_run):
    """`resmlp translate` in a process of its own, that reads from and writes to pipes."""
    started = []

    def start(*flags: str, **options) -> subprocess.Popen:
        command = [*COMMAND, str(translator_run), *flags]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
        started.append(subprocess.Popen(command, env=environment, **pipes))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()
        for pipe in filter(None, (each.stdin, each.stdout, each.stderr)):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def test_each_line_is_answered_before_the_next_is_written_until_ctrl_c(process, expected):
    """The answer to a line comes while standard input is open; what was said stays said."""
    run = process()
    for line, answer in zip(LINES, expected):
        run.stdin.write(f"{line}\n".encode())
        run.stdin.flush()
        assert run.stdout.readline() == f"{answer}\n".encode(), "UTF-8, whatever the terminal"
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=120)
    assert (run.returncode, out, err) == (130, b"", b"stopped\n")


def test_it_ends_quietly_where_nobody_reads(process):
    """As with `| head -1`, however much is still to come."""
    run = process()
    run.stdin.write(b"seven\n")
    run.stdin.flush()
    assert run.stdout.readline()
    run.stdout.close()
    run.stdin.write(b"nine hundred\n" * 2)
    run.stdin.close()
    assert (run.stderr.read(), run.wait(timeout=120)) == (b"", 0)


def test_a_closed_output_ends_it_before_anything_is_read(process):
    run = process("--json")
    closed = subprocess.run(
        ["bash", "-c", 'exec "$@" >&-', "-", *run.args], capture_output=True, text=True, check=False
    )
    assert (closed.returncode, closed.stderr.count("\n")) == (2, 1)
    assert "error: standard output is closed" in closed.stderr


def test_a_full_disk_is_told(process):
    with Path("/dev/full").open("wb") as full:
        run = process(stdout=full)
        _, err = run.communicate(b"seven\n", timeout=120)
    assert run.returncode == 2
    assert err == b"error: cannot write to standard output: No space left on device (see to where it goes)\n"


def test_a_closed_input_is_an_empty_one(piped, monkeypatch, resmlp, translator_run):
    """`<&-`: Python then has no standard input at all."""
    monkeypatch.setattr(sys, "stdin", None)
    ended = resmlp("translate", translator_run)
    assert (ended.code, ended.out, ended.err) == (0, "", "")


# mistakes


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["nowhere.txt"], ["cannot read nowhere.txt", "No such file"]),
        (["."], ["cannot read .", "directory"]),
        (["--beam", "0"], ["--beam 0"]),
        (["--n-best", "0"], ["--n-best 0"]),
        (["--n-best", "5", "--beam", "4"], ["--n-best 5 of --beam 4"]),
        (["--n-best", "50"], ["--n-best 50", "--beam 50"]),
        (["--length-penalty", "-1"], ["--length-penalty -1"]),
        (["--length-penalty", "nan"], ["--length-penalty nan"]),
        (["--length-penalty", "200"], ["--length-penalty 200", "0 or more, below 100"]),
        (["--beam", "2000"], ["--beam 2000", "1 or more, at most 1024"]),
        (["--batch-size", "0"], ["--batch-size 0"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_mistake_is_one_line(piped, flags, words):
    ended = piped(b"seven\n", *flags)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert all(word in ended.error for word in words), ended.error


def broken(folder: Path, how: str) -> None:
    if how == "without tokenizer":
        (folder / "tokenizer.json").unlink()
    elif how == "damaged tokenizer":
        (folder / "tokenizer.json").write_text('{"model": {"type": "BPE"}')
    elif how == "no tokenizer":
        write_json(folder / "tokenizer.json", {"model": {"vocab": [], "merges": 3}})
    elif how == "tokenizer of another run":
        from resmlp.data.text.tokenizer import Tokenizer

        Tokenizer.train(["another text altogether"], 262).save(folder / "tokenizer.json")
    elif how == "without weights":
        (folder / "model.safetensors").unlink()
    elif how == "damaged weights":
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])
    elif how == "damaged card":
        (folder / "model.json").write_text("{")
    elif how == "another vocabulary":
        card = read_json(folder / "model.json")
        card["model"]["vocabulary"] += 1
        write_json(folder / "model.json", card)
    elif how == "shorter":
        card = read_json(folder / "model.json")
        card["model"]["architecture"]["max_length"] = 20
        write_json(folder / "model.json", card)
    elif how in ("beam", "length_penalty"):
        write_json(folder / "model.json", read_json(folder / "model.json") | {how: 2000})


@pytest.mark.parametrize(
    ("how", "word"),
    [
        ("without tokenizer", "tokenizer.json"),
        ("damaged tokenizer", "tokenizer.json"),
        ("no tokenizer", "tokenizer.json"),
        ("tokenizer of another run", "tokenizer.json"),
        ("without weights", "model.safetensors"),
        ("damaged weights", "model.safetensors"),
        ("damaged card", "model.json"),
        ("another vocabulary", ""),
        ("shorter", "max_length"),
        ("beam", "model.json: beam 2000 (1 or more, at most 1024)"),
        ("length_penalty", "model.json: length-penalty 2000.0 (0 or more, below 100)"),
    ],
)
def test_a_damaged_run_is_one_line(resmlp, translator_run, tmp_path, how, word):
    folder = tmp_path / "copy"
    shutil.copytree(translator_run, folder)
    broken(folder, how)
    (tmp_path / "in.txt").write_text(TEXT)
    for command in (["translate", folder, "in.txt"], ["eval", folder]):
        ended = resmlp(*command)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), ended.err
        assert word in ended.error


@pytest.mark.parametrize("model", ["resmlp_mt6", "resmlp_s12", "runs/nothing", "nonsense", "timm:resnet18"])
def test_a_model_without_a_vocabulary_is_one_line(resmlp, tmp_path, model):
    (tmp_path / "in.txt").write_text(TEXT)
    ended = resmlp("translate", model, "in.txt")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), ended.err
    assert model.split(":")[-1] in ended.error


def test_a_classifier_does_not_translate(resmlp, trained, tmp_path):
    (tmp_path / "in.txt").write_text(TEXT)
    for command in (["translate", trained, "in.txt"], ["eval", trained, "--protocol", "bleu"]):
        ended = resmlp(*command)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), ended.err
        assert "classifier" in ended.error


def test_a_translator_sees_nothing(resmlp, translator_run, tree):
    """Every verb and protocol for images says so in a line, and which verb to use."""
    image = next(tree.rglob("*.png"))
    for command in (
        ["predict", translator_run, image],
        ["predict", translator_run, "no.txt"],
        ["embed", translator_run, tree, "--out", "x.npy"],
    ):
        ended = resmlp(*command)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), ended.err
        assert "resmlp translate" in ended.error
    for protocol in ("top1", "knn", "linear"):
        for data in ([], ["--data.root", tree]):
            ended = resmlp("eval", translator_run, "--protocol", protocol, *data)
            assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), ended.err


# evaluation


def held_out(folder: Path, name: str) -> tuple[list[str], list[str]]:
    sides = (Path(read_json(folder / "recipe.json")["data"]["root"]) / f"{name}.{end}" for end in ("en", "de"))
    return tuple(side.read_text(encoding="utf-8").split("\n")[:-1] for side in sides)


def test_a_run_is_evaluated_on_what_it_held_out(resmlp, translator_run, tmp_path):
    """The numbers of sacreBLEU on the translations, which are written down."""
    sources, targets = held_out(translator_run, "val")
    ended = resmlp("eval", translator_run, "--json", "--device", "cpu", "--out", tmp_path / "out")
    found = json.loads(ended.out)
    said = load(translator_run, "cpu").translate(sources)
    assert (tmp_path / "out" / "hypotheses.txt").read_text(encoding="utf-8") == "".join(f"{s}\n" for s in said)
    assert found["bleu"] == sacrebleu.corpus_bleu(said, [targets]).score
    assert found["chrf"] == sacrebleu.corpus_chrf(said, [targets]).score
    assert found["chrf"] > 0
    assert found["exact_match"] == sum(map(str.__eq__, said, targets)) / len(targets)
    assert found["sentences"] == len(targets)
    assert {"tokenized_bleu", "bleu_signature", "chrf_signature", "tokenized_bleu_signature"} < set(found)


def test_the_numbers_stand_with_how_they_were_counted(resmlp, translator_run, tmp_path):
    ended = resmlp("eval", translator_run, "--protocol", "bleu", "--out", tmp_path / "out")
    assert ended.code == 0
    first, *others = ended.out.splitlines()
    assert first.startswith("bleu ")
    assert f"on {len(held_out(translator_run, 'val')[0])} sentences" in first
    assert any(line.startswith("  bleu is nrefs:1|case:mixed|") for line in others)
    assert any(line.startswith("  tokenized_bleu is multi-bleu|") for line in others)


def test_other_files_have_a_name(resmlp, translator_run, tmp_path):
    """Of the run's own folder, or of another; the run's languages say the endings."""
    root = tmp_path / "text"
    root.mkdir()
    (root / "other.en").write_text("seven\nfour\n\n")
    (root / "other.de").write_text("sieben\nvier\nnichts\n")
    out = ("--out", tmp_path / "out")
    ended = resmlp("eval", translator_run, "--json", "--data.root", root, "--data.val", "other", *out)
    assert json.loads(ended.out)["sentences"] == 3
    assert (tmp_path / "out" / "hypotheses-text-other.txt").read_text().split("\n")[2:] == ["", ""]
    name = json.loads(resmlp("eval", translator_run, "--json", "--data.val", "test", *out).out)
    assert name["sentences"] == len(held_out(translator_run, "test")[0])
    ended = resmlp("eval", translator_run, "--data.root", root, "--data.val", "another")
    assert ended.code == 2
    assert "another.en" in ended.error


def test_a_model_alone_is_evaluated_on_what_is_given(resmlp, translator_run, tmp_path):
    """Without a recipe the card says which languages there are."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("model.safetensors", "model.json", "tokenizer.json"):
        shutil.copy(translator_run / name, folder / name)
    ended = resmlp("eval", folder)
    assert ended.code == 2
    assert "val.en and val.de" in ended.error
    root = read_json(translator_run / "recipe.json")["data"]["root"]
    ended = resmlp("eval", folder, "--data.root", root, "--data.val", "test", "--json")
    assert json.loads(ended.out)["sentences"] == len(held_out(translator_run, "test")[0])


def test_a_table_is_evaluated_as_a_whole_or_as_the_run_held_out(resmlp, translator_run, tmp_path):
    """All pairs of another table; of the run's own, those that it did not learn from; of splits, that of --data.val."""
    run = shutil.copytree(translator_run, tmp_path / "run")
    pairs = list(zip(*held_out(translator_run, "val")))
    table = tmp_path / "pairs.tsv"
    table.write_text("".join(f"{source}\t{target}\n" for source, target in [("en", "de"), *pairs]), encoding="utf-8")

    def sentences(*flags: object) -> int:
        ended = resmlp("eval", run, "--json", *flags, "--out", tmp_path / "out")
        return json.loads(ended.out)["sentences"]

    assert sentences("--data.root", table) == len(pairs)
    recipe = read_json(run / "recipe.json")
    recipe["data"] |= {"root": str(table), "val_fraction": 0.4}
    write_json(run / "recipe.json", recipe)
    own = sentences()
    assert 0 < own < len(pairs)
    assert sentences("--data.root", table) == own
    splits = tmp_path / "splits.tsv"
    splits.write_text("de\ten\tsplit\nsieben\tseven\ttrain\nvier\tfour\tdev\nacht\teight\ttest\n")
    assert sentences("--data.root", splits) == 1
    said = (tmp_path / "out" / "hypotheses-splits.tsv.txt").read_text(encoding="utf-8")
    assert said == load(run, "cpu").predict("four").text + "\n"
    assert sentences("--data.root", splits, "--data.val", "test") == 1


@pytest.mark.parametrize("flags", [["--data.crop-ratio", "0.9"], ["--weights", "avg"], ["--indices", "x"]])
def test_what_is_for_images_is_refused(resmlp, translator_run, flags):
    ended = resmlp("eval", translator_run, *flags)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), ended.err
    assert flags[0] in ended.error


def test_names_of_text_are_nothing_to_images(resmlp, trained):
    ended = resmlp("eval", trained, "--data.val", "test")
    assert ended.code == 2
    assert "--data.val" in ended.error


def test_several_processes_say_the_same(resmlp, translator_run, tmp_path, monkeypatch):
    """Each has its share, and the shares together are all lines in order."""
    from resmlp.evaluation import translation
    from resmlp.utils.devices import Process

    translator = load(translator_run, "cpu")
    lines = held_out(translator_run, "val")[0][:7]
    shares = []
    for rank in range(3):
        monkeypatch.setattr("resmlp.utils.devices.all_gather", lambda mine: shares.append(mine) or [mine])
        translation.translations(Process(rank=rank, world=3), translator, lines)
    monkeypatch.setattr("resmlp.utils.devices.all_gather", lambda mine: shares)
    assert translation.translations(Process(rank=0, world=3), translator, lines) == translator.translate(lines)
