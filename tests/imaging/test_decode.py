"""Image files of every format and mode, compared with the original pixels."""

import io
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from resmlp.data import UnreadableImage
from resmlp.imaging import formats, jpeg
from resmlp.imaging.decode import Region, decode, decode_region
from resmlp.imaging.file_types import HEAD, is_image
from resmlp.imaging.image_file import File, Pixels
from resmlp.utils.errors import UserError


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
def test_lossy_formats_are_close(photo, kind):
    smooth = photo.resize((16, 12), Image.Resampling.BOX).resize((64, 48), Image.Resampling.BICUBIC)
    assert abs(read(saved(smooth, kind, quality=95)) - np.asarray(smooth)).mean() < 3


def test_cmyk_jpeg_keeps_its_colors():
    """Pillow writes inverted CMYK, as Adobe does; without that inversion the result would be a negative."""
    for color in ((250, 10, 10), (10, 240, 20), (255, 255, 255), (0, 0, 0)):
        data = saved(Image.new("RGB", (16, 16), color).convert("CMYK"), "JPEG", quality=95)
        assert Image.open(io.BytesIO(data)).mode == "CMYK"
        assert abs(read(data) - np.array(color)).max() <= 6


def test_gray_and_one_bit():
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (read(saved(Image.fromarray(gray), "PNG")) == gray[..., None]).all()
    bits = gray > 100
    assert (read(saved(Image.fromarray(bits), "PNG")) == 255 * bits[..., None]).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_gray_is_scaled_not_clipped(kind):
    wide = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    assert (read(saved(Image.fromarray(wide), kind)) == np.arange(256).reshape(16, 16, 1)).all()


def test_samples_of_unknown_range_are_errors():
    for values in (np.full((4, 4), 70000, np.int32), np.full((4, 4), 0.5, np.float32)):
        with pytest.raises(UnreadableImage, match="32-bit"):
            read(saved(Image.fromarray(values), "TIFF"))


def test_palette():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    assert read(saved(image, "PNG")).tolist() == [[[10, 20, 30], [200, 100, 50]]]
    assert read(saved(image, "PNG", transparency=0)).tolist() == [[[255, 255, 255], [200, 100, 50]]]


def test_transparent_pixels_are_blended_with_white():
    half = Image.new("RGBA", (1, 1), (100, 0, 200, 51))  # 20 % opaque
    assert abs(read(saved(half, "PNG"))[0, 0] - [224, 204, 244]).max() <= 1
    assert (
        abs(read(saved(half.convert("LA"), "PNG"))[0, 0] - (0.2 * half.convert("L").getpixel((0, 0)) + 204)).max() <= 1
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation):
    upright = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    # From the table in the EXIF standard: the stored image that this orientation turns upright.
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
    """A PNG of a few bytes with 20,000 x 20,000 pixels in its header is an error before any pixel is decoded."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )
    with pytest.raises(UnreadableImage, match="400000000 pixels"):
        read(data)


@pytest.mark.parametrize("data", [b"", b"text", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_files_that_are_not_images(data):
    """Includes PostScript: Pillow supports it, and would run Ghostscript."""
    with pytest.raises(UnreadableImage, match=r"cannot read x.png: not an image"):
        read(data)


def test_missing_file(tmp_path):
    with pytest.raises(UnreadableImage, match="No such file"):
        decode("gone.png", (tmp_path / "gone.png").open)


def test_error_is_one_line_and_can_be_pickled():
    error = pickle.loads(pickle.dumps(UnreadableImage("a/b.jpg", "it is broken")))
    assert isinstance(error, UserError)
    assert (error.name, error.reason) == ("a/b.jpg", "it is broken")
    assert "a/b.jpg" in str(error)
    assert "\n" not in str(error)


BOX = (5, 3, 41, 30)


def region(data: bytes, box=BOX, min_size=(1000, 1000)) -> np.ndarray:
    sizes: list[tuple[int, int]] = []

    def choose(size):
        sizes.append(size)
        return Region(box, min_size)

    pixels = decode_region("x.jpg", lambda: io.BytesIO(data), choose)
    assert sizes == [decode("x.jpg", lambda: io.BytesIO(data)).size]
    return pixels


@pytest.fixture(params=["fast", "plain"])
def decoder(request, monkeypatch) -> str:
    """With simplejpeg, if it is installed, and without it."""
    if request.param == "fast":
        pytest.importorskip("simplejpeg")
    else:
        monkeypatch.setattr(jpeg, "simplejpeg", None)
    return request.param


WAYS = {
    "jpeg": ("JPEG", {"quality": 90}),
    "4:4:4": ("JPEG", {"subsampling": 0}),
    "4:2:2": ("JPEG", {"subsampling": 1}),
    "progressive": ("JPEG", {"progressive": True}),
    "rgb": ("JPEG", {"keep_rgb": True}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("box", [BOX, (0, 0, 61, 47), (60, 46, 61, 47)])
def test_region_equals_a_crop_of_the_whole_image(photo, decoder, way, box):
    kind, how = WAYS[way]
    data = saved(photo, kind, **how)
    whole = decode("x", lambda: io.BytesIO(data))
    assert (region(data, box) == np.asarray(whole.crop(box))).all()


@pytest.mark.parametrize("mode", ["L", "CMYK", "1", "P", "LA", "RGBA", "I;16"])
def test_region_of_other_modes(photo, decoder, mode):
    if mode == "I;16":
        image, kind = Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257), "PNG"
    else:
        image, kind = photo.convert("RGBA" if mode == "LA" else mode), "JPEG" if mode in ("L", "CMYK") else "PNG"
        image = image.convert(mode)
    data = saved(image, kind)
    assert (region(data) == np.asarray(decode("x", lambda: io.BytesIO(data)).crop(BOX))).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_region_of_a_rotated_image(photo, decoder, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(photo, kind, exif=exif)
    assert (region(data) == np.asarray(decode("x", lambda: io.BytesIO(data)).crop(BOX))).all()
    small = region(data, (0, 0, 40, 40), (10, 10))  # only upright JPEG images are reduced
    assert small.shape == ((10, 10, 3) if kind == "JPEG" and orientation == 1 else (40, 40, 3))


def test_orientation_in_xmp(photo, decoder):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = saved(photo, "JPEG", xmp=xmp)
    whole = decode("x", lambda: io.BytesIO(data))
    assert whole.size == photo.size[::-1]
    assert (region(data) == np.asarray(whole.crop(BOX))).all()


@pytest.mark.parametrize(("min_size", "scale"), [((100, 100), 8), ((101, 100), 4), ((200, 300), 2), ((401, 10), 1)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_large_regions_are_decoded_at_reduced_resolution(photo, decoder, min_size, scale, mode):
    smooth = photo.resize((9, 7)).resize((1201, 903), Image.Resampling.BICUBIC).convert(mode)
    data = saved(smooth, "JPEG", quality=95)
    box = (16, 24, 816, 864)
    pixels = region(data, box, min_size)
    assert pixels.shape == (840 // scale, 800 // scale, 3)
    boxes = (
        np.asarray(smooth.convert("RGB").crop(box)).reshape(840 // scale, scale, 800 // scale, scale, 3).mean((1, 3))
    )
    assert abs(pixels - boxes).mean() < 1.5
    last = region(data, (1, 1, 1201, 903), (10, 10))  # the edge is not a multiple of 8
    assert last.shape == (902 // 8, 1200 // 8, 3)


def test_unreadable_region_has_the_same_error(photo, decoder):
    data = saved(photo, "JPEG")
    broken = [b"", b"text", data[:3], data[:200], data[: len(data) // 2], data[:-2], saved(photo, "PNG")[:-30]]
    for damaged in broken:
        with pytest.raises(UnreadableImage) as whole:
            decode("x.jpg", lambda damaged=damaged: io.BytesIO(damaged))
        with pytest.raises(UnreadableImage) as caught:
            decode_region("x.jpg", lambda damaged=damaged: io.BytesIO(damaged), lambda size: Region(BOX, (1, 1)))
        assert caught.value.name == "x.jpg"
        assert caught.value.reason == whole.value.reason
    with pytest.raises(UnreadableImage, match="no.jpg"):
        File("/nowhere/no.jpg").read_region(lambda size: Region(BOX, (1, 1)))


SHORT = {
    "whole": {},
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "restart": {"restart_marker_rows": 1},
    "progressive": {"progressive": True},
    "gray": {},
}


@pytest.mark.parametrize("way", SHORT)
@pytest.mark.parametrize("height", [101, 112])
def test_rows_below_the_box_do_not_matter(photo, decoder, way, height):
    """Every last row of the box: the color of a row is interpolated from the rows around it."""
    image = photo.resize((75, height)).convert("L" if way == "gray" else "RGB")
    data = saved(image, "JPEG", quality=90, **SHORT[way])
    whole = np.asarray(decode("x", lambda: io.BytesIO(data)))
    for bottom in range(1, height + 1):
        assert (region(data, (3, bottom // 2, 70, bottom)) == whole[bottom // 2 : bottom, 3:70]).all()


def test_rows_below_the_box_are_not_decoded(photo):
    """The work itself: a decoder that stops early returns fewer rows."""
    pytest.importorskip("simplejpeg")
    data = saved(photo.resize((64, 256)), "JPEG")
    assert jpeg.decode_rgb(data, 64).shape == (64 + jpeg.MARGIN, 64, 3)
    assert jpeg.decode_rgb(data, 252).shape == jpeg.decode_rgb(data, 256).shape == (256, 64, 3)
    for whole in (data + b" ", saved(photo.resize((64, 256)), "JPEG", progressive=True)):
        assert jpeg.decode_rgb(whole, 64).shape == (256, 64, 3)


def test_marks_of_an_orientation_inside_of_pixels_are_not_searched(photo):
    pytest.importorskip("simplejpeg")
    data = saved(photo, "JPEG")
    assert jpeg.probe(io.BytesIO(data + b"Exif\0"))[1] == photo.size
    assert jpeg.probe(io.BytesIO(data[:2] + b"\xff\xe1\0\x08Exif\0\0" + data[2:]))[1] is None


@pytest.mark.parametrize("height", [150, 70])
def test_damage_in_the_middle_is_decoded_as_by_pillow(photo, decoder, height):
    """Also below the box, whose rows are not decoded: both read the file, or neither does."""
    whole = saved(photo.resize((200, 150)), "JPEG", quality=90)
    rng = np.random.default_rng(0)
    for _ in range(200):
        data = bytearray(whole)
        for place in rng.integers(650, len(data), 2):  # after the header, where damage could declare millions of pixels
            data[place] = rng.integers(256)
        outcomes = []
        for read in (decode, lambda *args: decode_region(*args, lambda size: Region((0, 0, 200, height), (200, 1)))):
            try:
                outcomes.append(np.asarray(read("x", lambda data=data: io.BytesIO(data)))[:height].tobytes())
            except UnreadableImage as error:
                outcomes.append(error.reason)
        assert outcomes[0] == outcomes[1]


def test_region_of_an_image_with_too_many_pixels(photo, decoder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UnreadableImage, match="decompression bomb"):
        decode_region("x", lambda: io.BytesIO(saved(photo, "JPEG")), lambda size: Region(BOX, (1, 1)))


@pytest.mark.parametrize("compression", ["tiff_deflate", "tiff_lzw", "group4", "jpeg"])
def test_libtiff_writes_nothing_to_standard_error(photo, compression, capfd):
    data = bytearray(saved(photo.convert("1" if compression == "group4" else "RGB"), "TIFF", compression=compression))
    rng = np.random.default_rng(0)
    failed = 0
    for _ in range(40):
        damaged = data.copy()
        for place in rng.integers(8, len(data), 5):
            damaged[place] = rng.integers(256)
        try:
            decode("x.tif", lambda damaged=damaged: io.BytesIO(damaged))
        except UnreadableImage as error:
            failed += "\n" not in str(error)
    assert failed
    assert capfd.readouterr().err == ""


def test_error_in_choose_region_is_not_an_unreadable_image(photo):
    def choose(size):
        raise KeyError(size)

    with pytest.raises(KeyError):
        decode_region("x", lambda: io.BytesIO(saved(photo, "JPEG")), choose)


def test_region_of_pixels_in_memory():
    colors = np.arange(10 * 12 * 3, dtype=np.uint8).reshape(10, 12, 3)
    for array in (colors, colors[..., 0]):
        image = Pixels("x", array)
        pixels = image.read_region(lambda size: Region((2, 1, 12, 9), size))
        assert (pixels == np.asarray(image.read())[1:9, 2:12]).all()


CONTAINERS = {"GIF": 40, "AVIF": 3, "JPEG2000": 3, "WEBP": 3, "HEIF": 3, "TIFF": 0, "BMP": 0, "PPM": 0, "JPEG": 3}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_content_decides_whatever_the_ending(tmp_path, photo, kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    smooth = photo.resize((16, 12), Image.Resampling.BOX).resize((64, 48), Image.Resampling.BICUBIC)
    data = saved(smooth, kind, **({"quality": 95} if kind in ("AVIF", "WEBP", "HEIF", "JPEG") else {}))
    for name in ("a.png", "a.jfif", "a", "a.heic"):
        (tmp_path / name).write_bytes(data)
        pixels = np.asarray(File(str(tmp_path / name)).read()).astype(int)
        assert abs(pixels - np.asarray(smooth)).mean() <= CONTAINERS[kind]
        region = File(str(tmp_path / name)).read_region(lambda size: Region((8, 8, 40, 40), (32, 32)))
        assert abs(region.astype(int) - pixels[8:40, 8:40]).max() <= (3 if kind == "JPEG" else 0)
    assert is_image("a", data[:HEAD])


def test_damaged_heic_is_one_line(photo):
    pytest.importorskip("pillow_heif").register_heif_opener()
    data = saved(photo, "HEIF")
    for damaged in (data[:40], data[: len(data) // 2], data[:32] + bytes(200)):
        with pytest.raises(UnreadableImage) as caught:
            read(damaged)
        assert "\n" not in str(caught.value)


def test_heic_without_its_package_is_one_error_and_no_unreadable_image(monkeypatch, photo):
    pytest.importorskip("pillow_heif").register_heif_opener()
    data = saved(photo, "HEIF")
    formats._register_heif.cache_clear()
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"need pillow-heif.*'.\[heic\]'") as caught:
        read(data)
    assert not isinstance(caught.value, UnreadableImage)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    formats._register_heif.cache_clear()
