"""Images that claim more than memory holds, and the crop of very long images."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from resmlp.config.preprocessing import Preprocessing
from resmlp.data import UnreadableImage
from resmlp.data.checking.headers import read_header
from resmlp.imaging import crop
from resmlp.imaging.crop import eval_crop
from resmlp.imaging.decode import decode, decode_region, full_region
from resmlp.imaging.image_file import BufferedMember
from resmlp.imaging.limits import MAX_ASPECT, check_image


def png(width: int, height: int, color: int) -> bytes:
    """A PNG that claims these sides, with the first pixels alone; `color` is the type of its header."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0))
    palette = chunk(b"PLTE", bytes(768)) if color == 3 else b""
    return b"\x89PNG\r\n\x1a\n" + header + palette + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")


GRAY, RGB, PALETTE, RGBA = 0, 2, 3, 6


@pytest.mark.parametrize("color", [GRAY, RGB, PALETTE, RGBA])
@pytest.mark.parametrize("size", [(13_000, 16_000), (1, 20_000), (20_000, 1), (3, 50_000_000), (100_000, 100_000)])
def test_small_file_of_many_pixels_is_refused_before_it_is_decoded(size, color):
    data = png(*size, color)
    for read in (decode, lambda *args: decode_region(*args, full_region)):
        with pytest.raises(UnreadableImage) as error:
            read("x.png", lambda: io.BytesIO(data))
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 200
    assert read_header(BufferedMember("a.tgz", "x.png", data)).error


def test_limit_depends_on_mode_and_on_the_size_of_the_file():
    blank = Image.new("1", (1, 1))
    for mode, side in {"1": 14_000, "L": 14_000, "RGB": 11_000, "RGBA": 8_000, "CMYK": 8_000}.items():
        image = Image.new(mode, (1, 1))
        image._size = (side, side)  # no pixels are made
        check_image(image, 1000)
        image._size = (side + 1000, side + 1000)
        check_image(image, side**2)
        with pytest.raises(ValueError, match="in a file of only 1,000 bytes"):
            check_image(image, 1000)
    image = Image.new("RGB", (1, 1))
    image.format = "JPEG2000"  # its decoder takes 18 bytes per pixel beside the RGB copies: measured
    image._size = (6500, 6500)
    check_image(image, 1000)
    image._size = (8000, 8000)
    with pytest.raises(ValueError, match="in a file of only 1,000 bytes"):
        check_image(image, 1000)
    blank._size = (MAX_ASPECT, 1)
    check_image(blank, 10)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "nearest"])
@pytest.mark.parametrize("side", [1, 2, 7])
@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("size", [(16, 16), (12, 20)])
def test_crop_of_a_long_image_equals_resize_then_crop(monkeypatch, side, interpolation, wide, size):
    ramp = np.cumsum(np.random.default_rng(0).normal(0, 1, (900, side, 3)), 0)
    pixels = (128 + 60 * np.sin(ramp / 20)).astype(np.uint8)
    image = Image.fromarray(pixels.swapaxes(0, 1) if wide else pixels)
    preprocessing = Preprocessing(size, 0.875, interpolation)
    whole = np.asarray(eval_crop(image, preprocessing)).astype(int)
    monkeypatch.setattr(crop, "MAX_RESIZED", 0)
    part = np.asarray(eval_crop(image, preprocessing)).astype(int)
    assert abs(part - whole).max() <= (16 if interpolation == "nearest" else 2)  # nearest: ties go to the other pixel


@pytest.mark.parametrize("size", [(1, 10_000), (10_000, 1), (20_000, 2)])
def test_crop_of_a_long_image_resizes_no_more_than_it_shows(monkeypatch, size):
    made = []
    monkeypatch.setattr(Image.Image, "resize", lambda image, size, *how: made.append(size) or Image.new("RGB", size))
    assert eval_crop(Image.new("RGB", size), Preprocessing((224, 224))).size == (224, 224)
    assert made == [(224, 224)]
