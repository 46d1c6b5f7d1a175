"""Class names that Matplotlib's font lacks: another installed font, or the number with a legend and a note."""

import warnings

import numpy as np
import pytest
from PIL import Image

from resmlp.analysis import confusion, fonts, predictions, write_report
from resmlp.analysis.fonts import BASE, class_labels, covering, font_file
from resmlp.analysis.overlay import add_legend, draw_segmentations
from resmlp.inference.segmentation import Example
from resmlp.utils.files import write_json

CLASSES = {
    "Chinese": ["狗", "猫", "鸟"],
    "Japanese": ["いぬ", "ネコ", "鳥"],
    "Korean": ["개", "고양이", "새"],
    "Thai": ["หมา", "แมว", "นก"],
    "Hindi": ["कुत्ता", "बिल्ली", "पक्षी"],
    "astronaut": ["🧑‍🚀", "🦖", "🫠"],
    "mixed": ["dog", "猫 cat", "bird"],
}


@pytest.fixture(autouse=True)
def fresh_caches():
    yield
    for cached in (fonts._covering, fonts._families, fonts._path, fonts._open, fonts._note):
        cached.cache_clear()


@pytest.fixture
def only_base(monkeypatch):
    monkeypatch.setattr(fonts, "_families", lambda: ())


@pytest.fixture
def with_font(tmp_path):
    """A font, made of the glyphs of Matplotlib's, that has the Chinese names."""
    from fontTools.ttLib import TTFont
    from matplotlib import font_manager

    font = TTFont(font_manager.findfont(BASE))
    glyphs = font.getBestCmap()
    for table in font["cmap"].tables:
        table.cmap = {ord(char): glyphs[ord(stand_in)] for char, stand_in in zip("狗猫鸟", "WXZ")}
    for record in font["name"].names:
        if record.nameID in (1, 4, 16):
            record.string = "Test Han"
    file = tmp_path / "han.ttf"
    font.save(file)
    before = list(font_manager.fontManager.ttflist)
    font_manager.fontManager.addfont(file)
    yield file
    font_manager.fontManager.ttflist[:] = before
    font_manager._findfont_cached.cache_clear() if hasattr(font_manager, "_findfont_cached") else None


@pytest.mark.usefixtures("only_base")
@pytest.mark.parametrize("script", CLASSES)
def test_names_without_a_font_are_numbers_with_one_note(script, tmp_path, capfd, caplog):
    names = CLASSES[script]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        confusion(np.eye(3) * 5, names, tmp_path / "numbers.png")
        confusion(np.eye(3) * 5, names, tmp_path / "again.png")
    captured = capfd.readouterr()
    assert captured.out == ""
    assert not caplog.records
    (line,) = captured.err.splitlines()
    assert line.startswith("note: no installed font has")
    assert "0 is" in line or script == "mixed"
    numbered = [f"class {i}" if script != "mixed" or i == 1 else name for i, name in enumerate(names)]
    assert class_labels(names) == numbered
    confusion(np.eye(3) * 5, numbered, tmp_path / "expected.png")
    drawn, expected = (np.asarray(Image.open(tmp_path / f"{name}.png"))[120:] for name in ("numbers", "expected"))
    assert np.array_equal(drawn, expected), "below the title, where the first one says what numbers are"


@pytest.mark.usefixtures("only_base")
def test_names_that_the_font_has_stay(capfd):
    names = ["Hündin", "собака", "σκύλος", "كلب", "😀", "naïve", "$x$", "\u202eabc", ""]
    assert class_labels(names) == names
    assert capfd.readouterr().err == ""


def test_an_installed_font_is_used(with_font, tmp_path, capfd):
    names = CLASSES["Chinese"]
    assert covering("".join(names)) == ((BASE, "Test Han"), frozenset())
    assert class_labels(names) == names
    assert font_file("狗") == str(with_font)
    confusion(np.eye(3) * 5, names, tmp_path / "han.png")
    confusion(np.eye(3) * 5, ["W", "X", "Z"], tmp_path / "letters.png")
    assert capfd.readouterr().err == ""
    assert (tmp_path / "han.png").read_bytes() == (tmp_path / "letters.png").read_bytes(), "the same glyphs"


@pytest.mark.usefixtures("only_base")
def test_a_bold_text_that_only_the_normal_font_has_is_normal(tmp_path):
    images = np.zeros((1, 3, 8, 8), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predictions(images, ["😀"], ["😀"], [0.5], tmp_path / "emoji.png")
        predictions(images, ["狗"], ["狗"], [0.5], tmp_path / "box.png")
    emoji, box = ((np.asarray(Image.open(tmp_path / f"{name}.png")) < 128).sum() for name in ("emoji", "box"))
    assert emoji != box


@pytest.mark.usefixtures("only_base")
def test_segmentations_have_numbers_in_their_legend(tmp_path, capfd):
    labels = np.zeros((4, 4), np.uint8)
    example = Example("a.png", Image.new("RGB", (4, 4)), labels, labels.astype(np.int16))
    for name, classes in (("han", ["狗", "b"]), ("number", ["class 0", "b"])):
        draw_segmentations([example], classes, [(1, 2, 3), (4, 5, 6)], tmp_path / f"{name}.png")
    assert (tmp_path / "han.png").read_bytes() == (tmp_path / "number.png").read_bytes()
    assert capfd.readouterr().err.count("\n") == 1


def test_the_legend_of_an_overlay_uses_the_font(with_font):
    image = Image.new("RGB", (200, 200))
    drawn = [add_legend(image, [(name, (9, 9, 9))]).tobytes() for name in ("狗", "W")]
    assert drawn[0] == drawn[1]


@pytest.mark.usefixtures("only_base")
def test_the_report_lists_the_numbers(tmp_path):
    write_json(tmp_path / "model.json", {"classes": ["dog", "猫"]})
    write_report(tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert "Class numbers in figures" in text
    assert "<td>1</td><td>猫</td>" in text
    assert "<td>dog</td>" not in text
