import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image


def image(value: int, size: tuple[int, int] = (8, 8)) -> bytes:
    """A PNG file of a single color, (value, 0, 255 - value)."""
    file = io.BytesIO()
    Image.new("RGB", size, (value, 0, 255 - value)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def plant(tmp_path: Path) -> Callable[..., str]:
    """Write files into a folder: `plant("cat/1.png", ...)`; images differ, other endings hold text."""

    def plant(*paths: str, root: str = "tree") -> str:
        (tmp_path / root).mkdir(exist_ok=True)
        for i, path in enumerate(paths):
            file = tmp_path / root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(image(i % 256) if path.lower().endswith(".png") else b"text")
        return str(tmp_path / root)

    return plant


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., str]:
    """Write an archive: `pack("a.tar", "cat/1.png", ...)`; other endings hold text, a TarInfo is added unchanged."""

    def pack(name: str, *paths: str | tarfile.TarInfo) -> str:
        archive = tmp_path / name
        archive.parent.mkdir(exist_ok=True)
        if name.endswith(".zip"):
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
                for i, path in enumerate(map(str, paths)):
                    file.writestr(path, image(i) if path.endswith(".png") else b"text")
            return str(archive)
        mode = next((f"w:{kind}" for kind in ("gz", "bz2", "xz") if name.endswith(kind)), "w")
        mode = {".tbz2": "w:bz2", ".txz": "w:xz"}.get(archive.suffix, mode)
        with tarfile.open(archive, mode) as tar:
            for i, path in enumerate(paths):
                info = tarfile.TarInfo(path) if isinstance(path, str) else path
                data = (image(i) if info.name.endswith(".png") else b"text") if info.isreg() else b""
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return str(archive)

    return pack


@pytest.fixture
def many(plant: Callable[..., str]) -> str:
    """A tree of 3 classes x 14 images, 42 in all."""
    return plant(*(f"{name}/{i:02}.png" for name in ("a", "b", "c") for i in range(14)), root="many")
