"""What the names of a tree's folders and files tell: which classes there are, and what is amiss with them."""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from resmlp.data.checking.findings import KINDS, Finding
from resmlp.data.checking.headers import starts_as_image
from resmlp.data.images.trees import ARCHIVES, TRAIN, VAL, Parts, Stray, Tree, in_order
from resmlp.imaging.image_file import File

IMBALANCED = 10  # images of the largest class over those of the smallest
SYSTEM = ("Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir")
UNREAD = (".gif", ".heic", ".heif", ".avif", ".jfif", ".jpe", ".jp2", ".jxl", ".svg", ".psd", ".dng", ".cr2", ".nef")
"""endings of images that no tree is searched for"""


@dataclass
class Layout:
    """Which image of a tree belongs to which part and class."""

    parts: dict[str, str]
    """"train" and "val", or "all": the folder, with '/' behind it"""
    places: list[tuple[str, str]] = field(default_factory=list)
    """(part, class); the class is "" where an image lies in no class folder"""
    place: array = field(default_factory=lambda: array("i"))
    """for each image its place, or -1 for one that is in no part"""
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    """images of each class of each part"""
    inner: dict[str, set[str]] = field(default_factory=dict)
    """folders directly in a class folder that hold images"""
    loose: list[str] = field(default_factory=list)
    unused: Counter[str] = field(default_factory=Counter)
    """images of each folder that is in no part"""
    flat: Counter[str] = field(default_factory=Counter)
    """images directly in such a folder"""


def lay_out(tree: Parts) -> Layout:
    """Sort the images of a tree by part and class, as `class_folders` does but refusing nothing."""
    start = len(tree.whole.where) + 1
    parts = {name: f"{part.where[start:]}/" for name, part in (("train", tree.train), ("val", tree.val)) if part}
    layout = Layout(parts or {"all": ""})
    layout.counts = {part: Counter() for part in layout.parts}
    numbers: dict[tuple[str, str], int] = {}
    for path, _ in tree.whole.images:
        part, front = next(((part, f) for part, f in layout.parts.items() if path.startswith(f)), ("", ""))
        name, _, inner = path[len(front) :].partition("/")
        if not part and inner:
            layout.unused[name] += 1
            layout.flat[name] += "/" not in inner
            layout.place.append(-1)
            continue
        if not inner:
            layout.loose.append(path)
        elif "/" in inner:
            layout.inner.setdefault(front + name, set()).add(inner.partition("/")[0])
        place = (part, name if inner else "")
        if part and inner:
            layout.counts[part][name] += 1
        layout.place.append(numbers.setdefault(place, len(numbers)) if part else -1)
    layout.places = list(numbers)
    return layout


def layout_findings(layout: Layout, tree: Tree, strays: list[Stray]) -> Iterator[Finding]:
    """What the names of folders and of other files tell."""
    yield from _stray_findings(tree, strays)
    flat = [name for name in layout.counts.get("all", ()) if name.lower() in (*TRAIN, *VAL)]
    if not any(layout.counts.values()):
        yield Finding.of("no-classes", ["."])
        return
    if flat and len(flat) == len(layout.counts["all"]):
        yield Finding.of("no-classes", [f"{name}/" for name in flat])
        return
    if layout.loose:
        yield Finding.of("loose", layout.loose)
    if layout.unused:
        bare = {name: ", in no class folder" if layout.flat[name] == n else "" for name, n in layout.unused.items()}
        yield Finding.of("unused", {f"{name}/": f"{n:,} images{bare[name]}" for name, n in layout.unused.items()})
    if "val" in layout.parts and "train" not in layout.parts:
        yield Finding.of("no-train", [layout.parts["val"]])
    yield from _class_findings(layout, _bare(layout, tree.others, strays))


def _stray_findings(tree: Tree, strays: list[Stray]) -> Iterator[Finding]:
    kinds: dict[str, list[str]] = {}
    for stray in strays:
        if not stray.error:
            kinds.setdefault(stray.kind, []).append(stray.path)
    folder = tree.where if isinstance(tree.images[0][1], File) else None
    for path in tree.others:
        if not path.endswith("/"):
            kinds.setdefault(_other(folder, path), []).append(path)
    if unlisted := {stray.path: stray.error.what for stray in strays if stray.error}:
        yield Finding.of("unlisted", unlisted)
    for kind, names in kinds.items():
        yield Finding.of(kind, names)


def _other(folder: str | None, path: str) -> str:
    """The kind of a file whose ending is not one we read; in an archive, without `folder`, by its name alone."""
    if any(part in SYSTEM for part in path.split("/")):
        return "hidden"
    if path.lower().endswith((*ARCHIVES, ".zip", ".7z", ".rar")):
        return "archives"
    if path.lower().endswith(UNREAD):
        return "ignored"
    file = Path(folder or "", path)
    if folder and file.is_symlink() and not file.exists():
        return "broken-link"
    return "ignored" if folder and starts_as_image(file) else "not-images"


def _bare(layout: Layout, others: list[str], strays: list[Stray]) -> set[str]:
    """Class folders that hold no image, of each part."""
    hidden = (stray.path for stray in strays if stray.kind == "hidden" and stray.path.partition("/")[0] not in SYSTEM)
    bare = set()
    for path in [*others, *hidden]:
        for part, front in layout.parts.items():
            name, slash, _ = path[len(front) :].partition("/")
            if path.startswith(front) and slash and not name.startswith(".") and name not in layout.counts[part]:
                bare.add(f"{front}{name}/")
    return bare


def _class_findings(layout: Layout, bare: set[str]) -> Iterator[Finding]:
    counts, learned = layout.counts, next(iter(layout.counts))
    own, front = counts[learned], layout.parts[learned]
    if bare:
        yield Finding.of("empty-class", bare)
    if len(own) == 1 and learned != "val":
        name = front + next(iter(own))
        wraps = len(layout.inner.get(name, ())) > 1
        fix = "move its folders up, beside it" if wraps and front else ""
        yield Finding.of("wrapped" if wraps else "single-class", [f"{name}/"], fix=fix)
        if wraps:
            return
    yield from _nested(layout.inner)
    if len(counts) == 2 and set(counts["train"]) != set(counts["val"]):
        yield _differing(set(counts["train"]), set(counts["val"]), layout.parts)
    names = set().union(*counts.values())
    alike = Counter(name.strip().casefold() for name in names)
    if similar := [name for name in names if alike[name.strip().casefold()] > 1 or name != name.strip()]:
        yield Finding.of("similar-names", map(repr, similar))
    if in_order(names) != sorted(names):
        yield Finding.of("numbered", names)
    if single := [front + name for name, count in own.items() if count == 1 and learned != "val"]:
        yield Finding.of("unsplit" if "val" not in counts else "one-image", single)
    most, least = max(own, key=lambda name: own[name]), min(own, key=lambda name: own[name])
    if own[most] >= IMBALANCED * own[least]:
        yield Finding.of("imbalance", {front + name: f"{own[name]:,} images" for name in (most, least)})


def _nested(inner: dict[str, set[str]]) -> Iterator[Finding]:
    if not inner:
        return
    folders = set().union(*inner.values())
    splits = {name.lower() for name in folders} <= {*TRAIN, *VAL}
    harmless = all(len(names) == 1 for names in inner.values()) and not splits
    named = {f"{name}/": " ".join(f"{folder}/" for folder in sorted(names)[:5]) for name, names in inner.items()}
    fix = "train/ and val/ belong above the classes" if splits else ""
    yield Finding.of("nested", named, "note" if harmless else None, fix)


def _differing(train: set[str], val: set[str], parts: dict[str, str]) -> Finding:
    """Which classes train and val do not share, and which labels that would shift, were it not refused."""
    named = {name: f"not in {parts['val'] if name in train else parts['train']}" for name in train ^ val}
    places = [{name: label for label, name in enumerate(in_order(names))} for names in (train, val)]
    shifted = [name for name in in_order(train & val) if places[0][name] != places[1][name]]
    fix = KINDS["classes-differ"].fix
    if shifted:
        first = shifted[0]
        fix += f": numbered apart, {len(shifted):,} shared classes would shift, the first {first} from label "
        fix += f"{places[0][first]} to {places[1][first]}"
    return Finding.of("classes-differ", named, fix=fix)
