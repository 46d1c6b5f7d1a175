"""Folders inside a data set that are not data: runs and exports, and what other programs leave behind."""

from collections.abc import Collection, Iterable, Iterator
from typing import Literal, NamedTuple

from resmlp.utils.errors import UserError
from resmlp.utils.run_folder import CHECKPOINTS, CONFIG, FIGURES, METRICS, RECIPE, REPORT

SYSTEM_FOLDERS = {
    *("__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "#snapshot", "@recently-snapshot"),
    *("system volume information", "lost+found", "__pycache__", "node_modules"),
    *("wandb", "mlruns", "lightning_logs", "tb_logs"),
}
"""names of folders of other programs, in lower case; no class has such a name"""
IN_ARCHIVES = {
    "outside-archive": "members that lead out of their archive",
    "repeated-member": "members before another one of the same name and other content",
}
"""kinds of skipped members of an archive -> what they are"""
RUNS = "runs"
"""a folder of runs, unless images lie directly in it: then it may be a class"""
PREDICTIONS = ("-overlay.png", "-labels.png")
OWN_FOLDERS = {CHECKPOINTS, FIGURES, "inspect", "export"}
"""folders that our commands make inside a run folder"""


SkipKind = Literal[
    "cannot-list", "hidden", "link-loop", "passed-over", "special-file", "outside-archive", "repeated-member"
]


class Skipped(NamedTuple):
    """A file, folder or archive that is not part of a data set."""

    kind: SkipKind
    path: str
    """its path in the data set; that of a folder ends in '/'"""
    error: UserError | None = None
    """why a folder or an archive cannot be listed"""


def is_passed_over(path: str, names: Collection[str]) -> bool:
    """Whether the folder at `path` (in the data set) is not data, by its name and the `names` of what is in it.

    The names of folders in it end in '/'.
    """
    name = path.rpartition("/")[2].lower()
    if name in SYSTEM_FOLDERS or name.endswith(".lrdata"):  # thumbnails of Lightroom
        return True
    if name == RUNS and path.lower() == RUNS and not any("." in inner for inner in names if inner[-1] != "/"):
        return True
    return is_output(names)


def is_output(names: Collection[str]) -> bool:
    """Whether a folder with these `names` in it was written by a program that trains, exports or predicts."""
    present = set(names)
    if is_run(present) or {"inspect.json", REPORT} <= present:
        return True
    if CONFIG in present and any(name.startswith("model.") for name in present - {CONFIG}):
        return True  # a network, or an export of one
    if ".lock" in present and any(name.endswith(".html") or name == "fold-0/" for name in present):
        return True  # of `resmlp reproduce`, or of a cross-validation
    if "args.yaml" in present and present & {"weights/", "results.csv"}:
        return True  # of ultralytics
    if present & {"CACHEDIR.TAG", "pyvenv.cfg", ".hydra/"} or any(n.startswith("events.out.tfevents") for n in present):
        return True
    return len(present) > 1 and all(name.endswith(PREDICTIONS) for name in present if name[0] != ".")


def is_run(names: Collection[str]) -> bool:
    """Whether a folder with these `names` in it is a run folder; a recipe.json alone may be of a cook."""
    return RECIPE in names and not {".lock", METRICS, CONFIG, f"{CHECKPOINTS}/"}.isdisjoint(names)


def passed_over_texts(skipped: Iterable[Skipped], shown: int = 3) -> Iterator[str]:
    """What was passed over: a text with a few names for each kind."""
    names: dict[str, list[str]] = {}
    for item in skipped:
        if item.kind == "special-file":
            names.setdefault("pipes, sockets or devices", []).append(item.path)
        elif item.kind in ("passed-over", "hidden") and item.path.endswith("/"):
            names.setdefault("folders that are no data", []).append(item.path)
        elif item.kind in IN_ARCHIVES:
            names.setdefault(IN_ARCHIVES[item.kind], []).append(item.path)
    for what, paths in names.items():
        more = f" and {len(paths) - shown} more" if len(paths) > shown else ""
        yield f"{what}: {', '.join(sorted(paths)[:shown])}{more}"
