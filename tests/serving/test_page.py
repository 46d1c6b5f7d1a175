"""The page in headless Chromium: used as a person does, with mouse, keyboard, files, and a phone."""

import io

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("websockets", reason="websockets is not installed")
from browser import CHROMIUM, Browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
]
NAME = "<b>a&b<img src=x onerror=alert(1)>.png"
RGB = np.ndarray


@pytest.fixture(scope="module")
def browser():
    found = Browser()
    yield found
    found.close()


@pytest.fixture
def tab(browser, server):
    """The page, loaded anew; it has made no error when the test ends."""
    browser.errors.clear()
    browser.prefer("light")
    browser.resize(1280, 900)
    browser.open(server.url)
    browser.run("localStorage.clear()")
    browser.wait("!document.querySelector('#pick').hidden")
    yield browser
    assert browser.errors == []


def choose(tab: Browser, model: str) -> None:
    """Choose a network."""
    tab.run(
        f"(m => {{ m.value = {model!r}; m.dispatchEvent(new Event('change', {{bubbles: true}})); }})"
        "(document.querySelector('#model'))"
    )


def upload(tab: Browser, path) -> None:
    """Choose a file, and wait for the answer."""
    tab.run("document.querySelector('#took').textContent = ''")
    tab.upload("#file", path)
    tab.wait("document.querySelector('#took').textContent && document.querySelector('#scan').hidden", "an answer")


@pytest.fixture
def image(tmp_path):
    path = tmp_path / NAME.replace("/", "")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 72, 3), dtype=np.uint8)).save(path)
    return path


def pixels(tab: Browser) -> np.ndarray:
    """What the canvas shows."""
    import base64

    address = tab.run("document.querySelector('#canvas').toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB"), np.int16)


def test_an_upload_shows_the_classes_with_names_escaped(tab, image, server):
    choose(tab, "plain")
    upload(tab, image)
    (found,) = server.post("/v1/predict?model=plain", image.read_bytes()).json["predictions"]
    lines = tab.text("#bars").split("\n")
    assert lines[::2] == [entry["label"] for entry in found["top"]]
    assert lines[1] == f"{100 * found['top'][0]['probability']:.1f} %"
    assert tab.text("#name") == image.name
    assert tab.run("document.querySelectorAll('#bars img, #name img').length") == 0
    assert found["top"][0]["label"] in tab.text("#status")
    assert tab.run("document.querySelector('#canvas').getAttribute('aria-label')").startswith(image.name)


def test_pointing_at_a_patch_shows_its_row(tab, image, server):
    choose(tab, "plain")
    upload(tab, image)
    before = pixels(tab)
    tab.point("#canvas", (2 + 0.5) / 6, (1 + 0.5) / 4)
    tab.wait("document.querySelector('#sentence').innerText.startsWith('Patch row 1, column 2 in layer 0 takes ')")
    assert np.abs(pixels(tab) - before).mean() > 5
    row = server.ask("GET", "/v1/look?model=plain&layer=0&row=1&column=2").json["weights"]
    y, x = np.unravel_index(np.abs(row).argmax(), (4, 6))
    assert f"at row {y}, column {x}" in tab.text("#sentence").split(",  ")[0]
    tab.slide("#layer", 1)
    tab.wait("document.querySelector('#sentence').innerText.startsWith('Patch row 1, column 2 in layer 1 takes ')")
    assert tab.text("#layer-value") == "1 of 1"


def test_the_size_slider_asks_the_network_for_images_of_another_size(tab, image, server):
    choose(tab, "plain")
    upload(tab, image)
    assert tab.text("#size-value") == "16 × 24"
    tab.run("document.querySelector('#took').textContent = ''")
    tab.slide("#size-slider", 5)
    tab.run("document.querySelector('#size-slider').dispatchEvent(new Event('change', {bubbles: true}))")
    tab.wait("document.querySelector('#took').textContent && document.querySelector('#scan').hidden", "an answer")
    (found,) = server.post("/v1/predict?model=plain&size=32x48", image.read_bytes()).json["predictions"]
    assert (tab.text("#size-value"), tab.text("#bars .label")) == ("32 × 48", found["top"][0]["label"])
    assert f"{100 * found['top'][0]['probability']:.1f} %" in tab.text("#status")
    tab.point("#canvas", (11 + 0.5) / 12, (7 + 0.5) / 8)
    tab.wait("document.querySelector('#sentence').innerText.startsWith('Patch row 7, column 11 in layer 0 takes ')")
    choose(tab, "areas")
    assert tab.run("document.querySelector('#size').hidden")


def test_the_keyboard_moves_the_patch(tab, image):
    choose(tab, "plain")
    upload(tab, image)
    tab.run("document.querySelector('#canvas').focus()")
    tab.press("ArrowRight", code=39)
    tab.wait("document.querySelector('#sentence').innerText.startsWith('Patch row 2, column 3')")
    tab.press("ArrowRight", code=39)
    tab.wait("document.querySelector('#sentence').innerText.startsWith('Patch row 2, column 4')")
    tab.press("ArrowUp", code=38)
    tab.wait("document.querySelector('#sentence').innerText.startsWith('Patch row 1, column 4')")
    tab.press("Escape", code=27)
    tab.wait("document.querySelector('#sentence').innerText === 'The network sees 4 × 6 patches.'")


def test_a_network_without_a_shows_no_slider(tab, image):
    choose(tab, "mixer")
    upload(tab, image)
    assert tab.run("document.querySelector('#look').hidden")
    assert not tab.run("document.querySelector('#predict').hidden")


def test_a_segmentation_with_opacity_and_legend(tab, image, server):
    choose(tab, "areas")
    upload(tab, image)
    tab.wait("document.querySelectorAll('#legend .share').length")
    (found,) = server.post("/v1/segment?model=areas&format=runs", image.read_bytes()).json["segmentations"]
    assert tab.text("#legend").split("\n")[0] == found["classes"][0]["label"]
    assert tab.run("document.querySelectorAll('#legend img').length") == 0
    tab.slide("#opacity", 100)
    assert tab.text("#opacity-value") == "100 %"
    colors = {tuple(color) for color in pixels(tab).reshape(-1, 3)}
    assert colors == {tuple(region["color"]) for region in found["classes"]}
    tab.slide("#opacity", 0)
    assert len({tuple(color) for color in pixels(tab).reshape(-1, 3)}) > 100


def test_a_translation(tab, server):
    choose(tab, "words")
    assert tab.run("document.querySelector('#images').hidden")
    tab.run("document.querySelector('#source').focus()")
    tab.type("one\ntwenty two")
    tab.press("Enter", modifiers=2, code=13)
    tab.wait("document.querySelector('#target').textContent")
    wanted = server.post_json("/v1/translate", texts=["one", "twenty two"]).json["translations"]
    assert tab.run("document.querySelector('#target').textContent") == "\n".join(found["text"] for found in wanted)


def test_a_text_file_is_one_line_of_error_and_the_next_image_clears_it(tab, image, tmp_path):
    choose(tab, "plain")
    text = tmp_path / "notes <i>.txt"
    text.write_text("not an image")
    tab.upload("#file", text)
    tab.wait("!document.querySelector('#problem').hidden")
    assert tab.text("#problem").startswith("cannot read notes <i>.txt: not an image")
    assert tab.run("document.querySelector('#problem').getAttribute('role')") == "alert"
    upload(tab, image)
    assert tab.run("document.querySelector('#problem').hidden")
    tab.errors[:] = [error for error in tab.errors if "422" not in error]  # the browser lists each refusal


def test_an_image_can_be_dropped_pasted_and_taken_from_the_examples(tab):
    choose(tab, "plain")
    for event in (
        "new DragEvent('drop', {dataTransfer: moved, bubbles: true, cancelable: true})",
        "new ClipboardEvent('paste', {clipboardData: moved, bubbles: true, cancelable: true})",
    ):
        tab.run("document.querySelector('#took').textContent = ''")
        tab.run(
            "(async () => { const blob = await (await fetch('/examples/ship.png')).blob();"
            " const moved = new DataTransfer(); moved.items.add(new File([blob], 'moved.png', {type: 'image/png'}));"
            f" document.body.dispatchEvent({event}); }})()"
        )
        tab.wait("document.querySelector('#took').textContent")
        assert tab.text("#name") == "moved.png"
    tab.click("#examples button:nth-child(2)")
    tab.wait("document.querySelector('#name').innerText === 'airplane.png'")


def test_the_camera(tab):
    choose(tab, "plain")
    tab.click("#camera")
    tab.wait("document.querySelector('#video').videoWidth")
    tab.click("#shoot")
    tab.wait("document.querySelector('#name').innerText === 'camera.jpg'")
    assert not tab.run("document.querySelector('#viewfinder').open")


@pytest.mark.parametrize("model", ["plain", "areas", "words"])
def test_nothing_is_cut_off_on_a_phone(model, tab, image):
    tab.resize(360, 740, mobile=True, ratio=2)
    choose(tab, model)
    if model != "words":
        upload(tab, image)
    assert tab.run("document.documentElement.scrollWidth") == 360
    assert (
        tab.run("[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > 361).length")
        == 0
    )


def background(tab: Browser) -> int:
    """The brightness of the page's ground, 0 to 255."""
    return int(tab.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"))


def test_light_and_dark_by_preference_and_by_choice(tab):
    assert background(tab) > 200
    tab.prefer("dark")
    assert background(tab) < 50
    tab.wait("document.querySelector('#theme').innerText === 'Light'")
    tab.click("#theme")
    assert background(tab) > 200
    tab.run("window.before = true; location.reload()")
    tab.wait("!window.before && document.readyState === 'complete'")
    assert tab.run("document.documentElement.dataset.theme") == "light"
    assert background(tab) > 200


def test_everything_is_labeled(tab, image):
    """Each control has a name that a screen reader says."""
    choose(tab, "plain")
    upload(tab, image)
    nodes = tab.send("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "combobox", "slider", "textbox", "image", "link", "list"}
    shown = [node for node in nodes if not node["ignored"] and node["role"]["value"] in roles]
    assert {node["role"]["value"] for node in shown} >= {"button", "combobox", "slider", "image"}
    assert [node for node in shown if not node["name"].get("value", "").strip()] == []


def test_the_description_of_the_api(tab, server):
    tab.open(f"{server.url}/docs")
    tab.wait("document.querySelector('main').innerText.includes('/v1/predict')")
    assert "429" in tab.text("main")


def test_a_token_is_asked_for_on_the_page(browser, start, image):
    running = start("plain", token="secret")
    browser.errors.clear()
    browser.open(running.url)
    browser.wait("!document.querySelector('#ask').hidden")
    browser.run("document.querySelector('#token').focus()")
    browser.type("secret")
    browser.press("Enter", code=13)
    browser.click("#ask button")
    browser.wait("!document.querySelector('#pick').hidden")
    upload(browser, image)
    assert browser.run("document.querySelectorAll('#bars .label').length") == 3
    assert [error for error in browser.errors if "401" not in error] == []
