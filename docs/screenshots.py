"""Write the screenshots of docs/serve.md: python docs/screenshots.py URL CLASSIFIER IMAGE SEGMENTER IMAGE.

URL is a running `resmlp serve` with both networks. Needs Chromium, and the tests' browser.
"""

import io
import sys
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "tests" / "serving"))

from browser import Browser  # noqa: E402


def choose(tab: Browser, model: str, image: str) -> None:
    """Choose a network and an image, and wait for the answer."""
    tab.run(
        f"(m => {{ m.value = {model!r}; m.dispatchEvent(new Event('change', {{bubbles: true}})); }})"
        "(document.querySelector('#model'))"
    )
    tab.upload("#file", Path(image))
    tab.wait("document.querySelector('#took').textContent && document.querySelector('#scan').hidden")


def shoot(tab: Browser, name: str) -> None:
    """Write what is visible."""
    tab.run("new Promise(done => setTimeout(done, 400))")  # the bars have grown
    with Image.open(io.BytesIO(tab.screenshot())) as image:
        image.convert("RGB").save(DOCS / name, optimize=True)


def main() -> None:
    """Three screenshots."""
    url, classifier, image, segmenter, scene = sys.argv[1:]
    tab = Browser()
    try:
        tab.resize(1200, 880)
        tab.open(url)
        tab.wait("!document.querySelector('#pick').hidden")
        choose(tab, classifier, image)
        tab.slide("#layer", 1)
        tab.point("#canvas", 0.42, 0.36)
        tab.wait("document.querySelector('#sentence').innerText.includes('takes')")
        shoot(tab, "serve.png")
        choose(tab, segmenter, scene)
        shoot(tab, "serve-segment.png")
        tab.prefer("dark")
        tab.resize(390, 760, mobile=True, ratio=1.5)
        choose(tab, classifier, image)
        shoot(tab, "serve-phone.png")
    finally:
        tab.close()


if __name__ == "__main__":
    main()
