"""The report is one well-formed, self-contained page that escapes all names."""

import base64
import json
import re
from html.parser import HTMLParser

import pytest
import torch

from resmlp.analysis import confusion, write_report
from resmlp.analysis.page import duration, number

from .conftest import NASTY, png_size

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Checks that tags balance; collects tags, attributes and visible text."""

    def __init__(self, path):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data if "style" not in self.open else ""

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def report(folder):
    write_report(folder)
    return Page(folder / "report.html")


def test_a_finished_run(run):
    page = report(run)
    assert png_size(run / "figures" / "curves.png")[0] == 1400
    for words in (
        "0.9375",
        "best, epoch 4, raw weights",
        "✓ expected 0.9: reached",
        "✗ expected 0.999: not reached",
        "expected 0.5: not measured",
        "last top1, ema",
        "1 h 2 min",
        "1,234",
        "136,586",
        "resmlp 0.1.0",
        "data.img-size",
        "32 64",
        f"resmlp eval '{run}' --data.root PATH",
        f"resmlp predict '{run}' FILE...",
    ):
        assert words in page.text, words
    assert "not finished" not in page.text
    assert len([attributes for attributes in page.of("tr") if attributes.get("class") == "best"]) == 1


def test_the_commands_of_a_translator(run):
    (run / "model.json").write_text('{"kind": "translator"}')
    page = report(run)
    assert f"resmlp translate '{run}' FILE" in page.text
    assert "resmlp predict" not in page.text


def test_names_are_escaped(run):
    page = report(run)
    assert page.text.count(NASTY) >= 5
    assert not page.of("script")
    assert "<script" not in (run / "report.html").read_text(encoding="utf-8")
    assert r"bytes \udcff and \x00.png" in page.text


def test_a_file_name_that_is_a_script(run):
    confusion(torch.eye(2, dtype=torch.int64), [NASTY, "dog"], run / "figures" / "confusion.png")
    (run / "figures" / "confusion.png").rename(run / "figures" / "x <script>alert(1)<&script>.png")
    page = report(run)
    assert len(page.of("img")) == 2
    assert not page.of("script")
    assert any("<script>alert(1)" in image["alt"] for image in page.of("img"))


def test_the_page_is_self_contained(run):
    page = report(run)
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert name not in ("src", "href", "srcset", "data") or value.startswith("data:"), (tag, name)
            assert not name.startswith("on")
    text = (run / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import|url\(", text)
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.of("meta")
    assert "prefers-color-scheme: dark" in text


def test_images_are_embedded_with_alternative_text_and_curves_first(run):
    for name in ("confusion", "a_first"):
        confusion(torch.eye(3, dtype=torch.int64), ["a", "b", "c"], run / "figures" / f"{name}.png")
    (run / "figures" / "broken.png").write_bytes(b"no image")
    images = report(run).of("img")
    assert [image["alt"].split()[0] for image in images] == ["Curves", "a_first:", "confusion:"]
    assert "top1 goes from 0.5000 to 0.9375" in images[0]["alt"]
    for image, name in zip(images, ("curves", "a_first", "confusion")):
        embedded = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
        assert embedded == (run / "figures" / f"{name}.png").read_bytes()
        assert int(image["width"]) == 700


@pytest.mark.parametrize("missing", ["recipe.json", "summary.json", "metrics.jsonl", "model.json"])
@pytest.mark.parametrize("broken", [None, b"", b"{", b"[1]", b"\xff"])
def test_any_file_may_be_missing_or_broken(run, missing, broken):
    (run / missing).unlink() if broken is None else (run / missing).write_bytes(broken)
    page = report(run)
    assert ("not finished" in page.text) == (missing == "summary.json")
    assert ("resmlp predict" in page.text) == (missing != "model.json" or broken is not None)


def test_an_interrupted_run(run):
    for name in ("summary.json", "model.json"):
        (run / name).unlink()
    progress = {"step": 20, "seconds": 59.6, "best": {}, "last": {}, "notes": {"unreadable": {"bad.png": 2}}}
    (run / "checkpoints" / "step-00000020").mkdir(parents=True)
    (run / "checkpoints" / "step-00000020" / "progress.json").write_text(json.dumps(progress))
    page = report(run)
    for words in ("not finished: 40 steps", "best, epoch 4, raw weights", "1 min", "bad.png"):
        assert words in page.text
    assert "resmlp predict" not in page.text


def test_an_empty_folder(tmp_path):
    page = report(tmp_path)
    assert "not finished: 0 steps" in page.text
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_log_that_was_cut_short(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "eval", "st')
    assert "0.9375" in report(run).text


def test_writing_again_gives_the_same_page(run):
    write_report(run)
    first = (run / "report.html").read_bytes()
    write_report(run)
    assert (run / "report.html").read_bytes() == first


def test_long_tables_are_collapsed(run):
    short = report(run)
    assert "4 evaluations" not in short.text
    lines = [{"kind": "eval", "step": i, "weights": "raw", "epoch": i, "bleu": 20.0 + i} for i in range(1, 40)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "39 evaluations" in report(run).text
    assert "59.00" in report(run).text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (0.4, "0 s"), (59.6, "1 min"), (275.3, "4 min 35 s"), (7260, "2 h 1 min"), (3600, "1 h"),
     (273_600, "3 d 4 h"), (86_460, "1 d")],
)  # fmt: skip
def test_duration(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("value", "words"), [(0.98123, "0.9812"), (1, "1.0000"), (27.318, "27.32"), (None, "–"), (float("nan"), "–")]
)
def test_number(value, words):
    assert number(value) == words


@pytest.mark.parametrize("value", [None, True, 7, 2.5, "x", [], ["x"]], ids=repr)
@pytest.mark.parametrize("name", ["versions", "unreadable", "notes", "best", "seconds", "parameters"])
def test_a_summary_with_a_value_of_another_type_is_still_a_report(run, monkeypatch, name, value):
    monkeypatch.setattr("resmlp.analysis.report.curves", lambda *_: None)  # they do not depend on it
    path = run / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    write_report(run)
    assert "</html>" in (run / "report.html").read_text()
