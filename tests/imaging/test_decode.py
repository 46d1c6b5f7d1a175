"""Every way a picture file can be written, against the pixels it was written from."""

import io
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from resmlp.data import UnreadableImage
from resmlp.errors import UserError
from resmlp.imaging.decode import decode


def saved(image: Image.Image, kind: str, **how) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def read(data: bytes) -> np.ndarray:
    image = decode("x.png", lambda: io.BytesIO(data))
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_rgb_is_exact(photo, kind):
    assert (read(saved(photo, kind)) == np.asarray(photo)).all()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_is_near(photo, kind):
    smooth = photo.resize((16, 12), Image.Resampling.BOX).resize((64, 48), Image.Resampling.BICUBIC)
    assert abs(read(saved(smooth, kind, quality=95)) - np.asarray(smooth)).mean() < 3


def test_cmyk_jpeg_keeps_its_colours():
    """Pillow writes CMYK as Adobe does, inverted; a reader that missed it would return the negative."""
    for colour in ((250, 10, 10), (10, 240, 20), (255, 255, 255), (0, 0, 0)):
        data = saved(Image.new("RGB", (16, 16), colour).convert("CMYK"), "JPEG", quality=95)
        assert Image.open(io.BytesIO(data)).mode == "CMYK"
        assert abs(read(data) - np.array(colour)).max() <= 6


def test_grey_and_one_bit():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (read(saved(Image.fromarray(grey), "PNG")) == grey[..., None]).all()
    bits = grey > 100
    assert (read(saved(Image.fromarray(bits), "PNG")) == 255 * bits[..., None]).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_not_clipped(kind):
    wide = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    assert (read(saved(Image.fromarray(wide), kind)) == np.arange(256).reshape(16, 16, 1)).all()


def test_samples_of_unknown_range_are_refused():
    for values in (np.full((4, 4), 70000, np.int32), np.full((4, 4), 0.5, np.float32)):
        with pytest.raises(UnreadableImage, match="32-bit"):
            read(saved(Image.fromarray(values), "TIFF"))


def test_palette():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    assert read(saved(image, "PNG")).tolist() == [[[10, 20, 30], [200, 100, 50]]]
    assert read(saved(image, "PNG", transparency=0)).tolist() == [[[255, 255, 255], [200, 100, 50]]]


def test_transparency_lies_on_white():
    half = Image.new("RGBA", (1, 1), (100, 0, 200, 51))  # 20 % opaque
    assert abs(read(saved(half, "PNG"))[0, 0] - [224, 204, 244]).max() <= 1
    assert (
        abs(read(saved(half.convert("LA"), "PNG"))[0, 0] - (0.2 * half.convert("L").getpixel((0, 0)) + 204)).max() <= 1
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation):
    upright = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    # How a camera must store an upright picture so that this orientation turns it back: the standard's table.
    store = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).T,
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(np.ascontiguousarray(store(upright))), "PNG", exif=exif)
    assert (read(data)[..., 0] == upright).all()


def test_truncated_files_are_errors(photo):
    for kind in ("JPEG", "PNG"):
        data = saved(photo, kind)
        with pytest.raises(UnreadableImage):
            read(data[: len(data) // 2])


def test_decompression_bomb():
    """A PNG that claims 20,000 x 20,000 pixels in a few bytes: refused by its size, before any pixel."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )
    with pytest.raises(UnreadableImage, match="400000000 pixels"):
        read(data)


@pytest.mark.parametrize("data", [b"", b"text", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_no_picture_at_all(data):
    """PostScript among them: Pillow knows it, and would run Ghostscript."""
    with pytest.raises(UnreadableImage, match=r"cannot read x.png: not a picture"):
        read(data)


def test_missing_file(tmp_path):
    with pytest.raises(UnreadableImage, match="No such file"):
        decode("gone.png", (tmp_path / "gone.png").open)


def test_error_is_a_one_line_user_error_that_pickles():
    error = pickle.loads(pickle.dumps(UnreadableImage("a/b.jpg", "it is broken")))
    assert isinstance(error, UserError)
    assert (error.name, error.reason) == ("a/b.jpg", "it is broken")
    assert "a/b.jpg" in str(error)
    assert "\n" not in str(error)
