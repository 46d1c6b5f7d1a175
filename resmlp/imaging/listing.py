"""The image files that paths name. Loads no image library before it is called."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from resmlp.utils.errors import UserError


def list_images(paths: Sequence[str | Path], flag: str = "resmlp predict MODEL FILE...") -> list[str]:
    """The files, and the images below the folders, in order. Hidden files are left out.

    Raises `UserError` for a path that does not exist and for a folder without images; `flag` is the hint where no path
    is given.
    """
    from resmlp.imaging.image_file import ENDINGS

    if not paths:
        raise UserError("no images given", flag)
    files = []
    for path in map(Path, paths):
        if not path.exists():
            raise UserError(f"no image at {path}", "check the path")
        images = sorted(_images_in(path, ENDINGS)) if path.is_dir() else [path]
        if not images:
            raise UserError(f"no images in {path}", "images end in " + " ".join(ENDINGS))
        files += [str(image) for image in images]
    return files


def _images_in(folder: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    """Files below a folder with the ending of an image, except hidden ones."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in endings and not hidden and not path.is_dir():
            yield path
