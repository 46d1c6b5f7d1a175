"""The image files that paths name. Loads no image library."""

from collections.abc import Sequence
from pathlib import Path

from resmlp.imaging.file_types import ENDINGS
from resmlp.imaging.passed_over import Skipped, passed_over_texts
from resmlp.imaging.walk import is_special, walk
from resmlp.utils.errors import UserError, notice


def list_images(paths: Sequence[str | Path], flag: str = "resmlp predict MODEL FILE...") -> list[str]:
    """The files, and the images below the folders, in order of path. Hidden files are left out.

    Folders that are not data, and pipes, sockets and devices, are passed over and named on standard error. Raises
    `UserError` for a path that does not exist or leads to a pipe, and for a folder without images; `flag` is the hint
    where no path is given.
    """
    if not paths:
        raise UserError("no images given", flag)
    files = []
    for path in map(Path, paths):
        if not path.exists():
            raise UserError(f"no image at {path}", "check the path")
        if is_special(path):
            raise UserError(f"{path} is a pipe, a socket or a device", "give an image file")
        files += _images_in(path) if path.is_dir() else [str(path)]
    return files


def _images_in(folder: Path) -> list[str]:
    """The images below a folder."""
    skipped: list[Skipped] = []
    images = sorted(Path(file) for _, file in walk(folder, skipped.append).images)
    if passed := list(passed_over_texts(skipped)):
        notice(f"passed over in {folder}: {'; '.join(passed)}")
    if errors := [item.error for item in skipped if item.error]:
        raise errors[0]
    if not images:
        raise UserError(f"no images in {folder}", "images end in " + " ".join(ENDINGS))
    return list(map(str, images))
