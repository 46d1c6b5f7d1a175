"""More than 8 bits per channel: 12 bits in 16-bit files, 32-bit integers, float, and TIFF files whose 0 is white."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from resmlp.config import Data
from resmlp.config.preprocessing import Decoding
from resmlp.data.images.value_range import check_value_range
from resmlp.imaging.decode import UnreadableImage, decode, decode_region, full_region
from resmlp.imaging.image_file import BufferedMember
from resmlp.utils.errors import UserError

GRAY = np.arange(256).reshape(16, 16)


def tiff(values: np.ndarray, bits: int, photometric: int = 1, sample: int = 1) -> bytes:
    """A TIFF file of one strip, written by the specification; little endian, 12 bits are packed."""
    if bits == 12:
        bitstring = "".join(f"{value:012b}" for value in values.ravel())
        data = int(bitstring, 2).to_bytes(len(bitstring) // 8, "big")
    else:
        kind = {1: "u", 2: "i", 3: "f"}[sample]
        data = values.astype(f"<{kind}{bits // 8}").tobytes()
    height, width = values.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in (*tags.items(), (339, sample)))
    directory = struct.pack("<H", len(tags) + 1) + entries + bytes(4)
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + directory


def png(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(file, "PNG")
    return file.getvalue()


def read(data: bytes, value_range=None) -> np.ndarray:
    decoding = Decoding(value_range=value_range)
    pixels = np.asarray(decode("x", lambda: io.BytesIO(data), decoding))
    region = decode_region("x", lambda: io.BytesIO(data), full_region, decoding)
    assert np.array_equal(pixels, region)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


FILES = {
    "12 bits in a PNG of 16": (png(GRAY * 16), (0, 255 * 16)),
    "12 bits in a TIFF of 16": (tiff(GRAY * 16, 16), (0, 255 * 16)),
    "10 bits": (png(GRAY * 4), (0, 255 * 4)),
    "32-bit integers": (tiff(GRAY * 1000, 32, sample=2), (0, 255_000)),
    "signed integers": (tiff(GRAY * 16 - 1024, 32, sample=2), (-1024, 255 * 16 - 1024)),
    "signed integers of 16 bits": (tiff(GRAY * 16 - 1024, 16, sample=2), (-1024, 255 * 16 - 1024)),
    "float up to 1": (tiff(GRAY / 255, 32, sample=3), (0, 1)),
    "float": (tiff(GRAY / 10 - 5, 32, sample=3), (-5, 20.5)),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_named_range_is_scaled_to_8_bits(kind):
    data, value_range = FILES[kind]
    assert np.array_equal(read(data, value_range), GRAY)


@pytest.mark.parametrize("kind", [kind for kind in FILES if "bits" in kind and "signed" not in kind])
def test_a_small_part_of_16_bits_is_a_warning(kind):
    data, (_, high) = FILES[kind]
    images = [BufferedMember("a.tar", f"{i}", data) for i in range(3)]
    warning = check_value_range(images, Decoding())
    assert f"0 to {high:g} of 65535" in warning
    assert f"--data.value-range 0 {2 ** int(high).bit_length() - 1}" in warning


@pytest.mark.parametrize("kind", [kind for kind in FILES if "bits" not in kind or "signed" in kind])
def test_an_unknown_range_is_an_error_before_training(kind):
    data, _ = FILES[kind]
    images = [BufferedMember("a.tar", f"{i}", data) for i in range(3)]
    with pytest.raises(UserError, match=r"range is unknown \(name it.*--data.value-range"):
        check_value_range(images, Decoding())
    other = BufferedMember("a.tar", "png", png(GRAY * 257))
    assert "range is unknown" in check_value_range([*images, other], Decoding())


@pytest.mark.parametrize("kind", FILES)
def test_a_named_range_is_compared_with_the_values(kind):
    data, (low, high) = FILES[kind]
    images = [BufferedMember("a.tar", "0", data)]
    assert check_value_range(images, Decoding(value_range=(low, high))) == ""
    assert "clipped" in check_value_range(images, Decoding(value_range=(low, (low + high) / 2)))


def test_a_narrow_range_far_from_zero_is_suggested_as_it_is():
    warning = check_value_range([BufferedMember("a.tar", "0", png(GRAY * 8 + 40_000))], Decoding())
    assert "--data.value-range 40000 42040" in warning


def test_no_warning_for_8_bits_and_for_the_full_range():
    file = io.BytesIO()
    Image.fromarray((GRAY // 16).astype(np.uint8)).save(file, "PNG")
    for data in (file.getvalue(), png(GRAY * 257), tiff(GRAY * 16, 12), b"not an image", b""):
        assert check_value_range([BufferedMember("a.tar", "x", data)] * 2, Decoding()) == ""
    assert check_value_range([], Decoding()) == ""


def test_12_bits_of_a_tiff_are_its_range():
    assert np.array_equal(read(tiff(GRAY * 16, 12)), np.rint(GRAY * 16 / 4095 * 255))


@pytest.mark.parametrize(("bits", "scale"), [(8, 1), (16, 257)])
def test_white_is_zero_is_not_inverted(bits, scale):
    assert np.array_equal(read(tiff((255 - GRAY) * scale, bits, photometric=0)), GRAY)
    assert np.array_equal(read(tiff(GRAY * scale, bits, photometric=1)), GRAY)


def test_white_is_zero_with_a_named_range():
    assert np.array_equal(read(tiff((255 - GRAY) * 16, 16, photometric=0), (0, 255 * 16)), GRAY)
    assert np.array_equal(read(tiff((255 - GRAY) / 255, 32, photometric=0, sample=3), (0, 1)), GRAY)


def test_white_is_zero_compressed():
    file = io.BytesIO()
    values = ((255 - GRAY) * 257).astype(np.uint16)
    Image.fromarray(values).save(file, "TIFF", compression="tiff_lzw", tiffinfo={262: 0})
    assert np.array_equal(read(file.getvalue()), GRAY)


def test_values_outside_the_range_are_clipped_and_nan_is_black():
    values = np.array([[np.nan, np.inf, -np.inf, -1, 2, 0.5]])
    assert read(tiff(values, 32, sample=3), (0, 1)).tolist() == [[0, 255, 0, 0, 255, 128]]


@pytest.mark.parametrize("kind", ["32-bit integers", "float", "signed integers"])
def test_an_unknown_range_is_one_line(kind):
    with pytest.raises(UnreadableImage, match=r"32-bit samples from .* set --data.value-range") as caught:
        read(FILES[kind][0])
    assert "\n" not in str(caught.value)


def test_colors_of_16_bits_with_a_small_range_are_named():
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + np.repeat(row.astype(">u2"), 3).tobytes() for row in GRAY * 16)
    header = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert "convert RGB images to 8 bits" in check_value_range([BufferedMember("a.tar", "x", data)], Decoding())


def test_the_choice_is_kept_with_the_model():
    data = Data(exif="ignore", value_range=(0, 4095))
    assert data.preprocessing().decoding == data.decoding == Decoding("ignore", (0, 4095))
    with pytest.raises(UserError, match=r"--data.value-range 5 5 \(give the smaller value first\)"):
        Data(value_range=(5, 5)).preprocessing()


def test_samples_that_are_no_numbers():
    data = tiff(np.full((4, 4), np.nan, np.float32), 32, sample=3)
    with pytest.raises(UnreadableImage, match="none of its samples is a finite number"):
        decode("x.tiff", lambda: io.BytesIO(data))
