"""The classes and splits of a tree of images by its folder names, and the issues of these names."""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from resmlp.data.checking.issues import KINDS, Issue
from resmlp.data.images.left_out import SYSTEM_FILES
from resmlp.data.images.parquet import missing_labels
from resmlp.data.images.split_names import split_role
from resmlp.data.images.tree_files import Tree, sort_classes
from resmlp.data.images.trees import SplitTree
from resmlp.data.shards.index import Index
from resmlp.imaging.archives import ARCHIVES
from resmlp.imaging.file_types import UNFINISHED, UNSUPPORTED
from resmlp.imaging.image_file import File
from resmlp.imaging.parquet_file import ParquetImage
from resmlp.imaging.passed_over import Skipped

MAX_IMBALANCE = 10  # images of the largest class / images of the smallest class


@dataclass
class Layout:
    """The split and the class of each image of a tree."""

    prefixes: dict[str, str]
    """from each split, "train" and "val" or "all", to its folder with '/' at the end"""
    groups: list[tuple[str, str]] = field(default_factory=list)
    """(split, class); the class is "" for images outside class folders"""
    group: "array[int]" = field(default_factory=lambda: array("i"))
    """for each image the index of its group, or -1 for an image in no split"""
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    """the number of images of each class of each split"""
    images: Counter[str] = field(default_factory=Counter)
    """the number of images of each split that have a label or a row; one with several labels counts once"""
    inner: dict[str, set[str]] = field(default_factory=dict)
    """for each class folder the folders directly inside that contain images"""
    no_class: list[str] = field(default_factory=list)
    """paths of the images outside class folders"""
    unused: Counter[str] = field(default_factory=Counter)
    """the number of images of each top-level folder that is in no split"""
    unused_flat: Counter[str] = field(default_factory=Counter)
    """the number of images directly in such a folder"""

    def image_classes(self) -> list[str | None]:
        """The class of each image; None for an image outside class folders or in no split."""
        return [self.groups[group][1] or None if group >= 0 else None for group in self.group]


def find_layout(tree: SplitTree) -> Layout:
    """Sort the images of a tree by split and class, as `class_folders` does, but without raising errors."""
    splits = (("train", tree.train), ("val", tree.val))
    prefixes = {name: tree.prefix(split) for name, split in splits if split}
    layout = Layout(prefixes or {"all": ""})
    layout.counts = {split: Counter() for split in layout.prefixes}
    indices: dict[tuple[str, str], int] = {}
    for path, _ in tree.whole.images:
        split, prefix = next((item for item in layout.prefixes.items() if path.startswith(item[1])), ("", ""))
        name, _, rest = path[len(prefix) :].partition("/")
        if not split and rest:
            layout.unused[name] += 1
            layout.unused_flat[name] += "/" not in rest
            layout.group.append(-1)
            continue
        if not rest:
            layout.no_class.append(path)
        elif "/" in rest:
            layout.inner.setdefault(prefix + name, set()).add(rest.partition("/")[0])
        group = (split, name if rest else "")
        if split and rest:
            layout.counts[split][name] += 1
            layout.images[split] += 1
        layout.group.append(indices.setdefault(group, len(indices)) if split else -1)
    layout.groups = list(indices)
    return layout


def split_layout(index: Index) -> Layout:
    """The splits of a packed data set of images with masks, which have no classes."""
    splits = {name or "all": split for name, split in index.splits.items()}
    layout = Layout({name: split.folder for name, split in splits.items()}, [(name, "") for name in splits])
    for number, (name, split) in enumerate(splits.items()):
        layout.images[name] = split.rows
        layout.group.extend([number] * split.rows)
    return layout


def layout_issues(layout: Layout, tree: Tree, skipped: list[Skipped]) -> Iterator[Issue]:
    """The issues of the names of folders and of other files."""
    yield from _other_file_issues(tree, skipped)
    flat_splits = [name for name in layout.counts.get("all", ()) if split_role(name)]
    if not any(layout.counts.values()):
        yield _no_classes(tree, ["."])
        return
    if flat_splits and len(flat_splits) == len(layout.counts["all"]):
        yield _no_classes(tree, [f"{name}/" for name in flat_splits])
        return
    if layout.no_class:
        yield Issue.of("no-class-folder", layout.no_class)
    if layout.unused:
        flat = {name for name, count in layout.unused.items() if layout.unused_flat[name] == count}
        ends = {name: ", outside class folders" if name in flat else "" for name in layout.unused}
        unused = {f"{name}/": f"{count:,} images{ends[name]}" for name, count in layout.unused.items()}
        yield Issue.of("unused-folder", unused)
    if "val" in layout.prefixes and "train" not in layout.prefixes:
        yield Issue.of("no-train", [layout.prefixes["val"]])
    yield from class_issues(layout, _empty_class_folders(layout, tree.other_files, skipped))


def _no_classes(tree: Tree, folders: list[str]) -> Issue:
    """Images without classes in these folders, or in the rows of Parquet files."""
    image = tree.images[0][1]
    if not isinstance(image, ParquetImage):
        return Issue.of("no-classes", folders)
    return Issue.of("no-label-column", [image.archive], fix=missing_labels(image).hint)


def _other_file_issues(tree: Tree, skipped: list[Skipped]) -> Iterator[Issue]:
    by_kind: dict[str, list[str]] = {}
    for item in skipped:
        if not item.error:
            by_kind.setdefault(item.kind, []).append(item.path)
    folder = tree.root if isinstance(tree.images[0][1], File) else None
    for path in tree.other_files:
        if not path.endswith("/"):
            by_kind.setdefault(_kind_of_file(folder, path), []).append(path)
    if errors := {item.path: item.error.what for item in skipped if item.error}:
        yield Issue.of("cannot-list", errors)
    for kind, paths in by_kind.items():
        yield Issue.of(kind, paths)


def _kind_of_file(folder: str | None, path: str) -> str:
    """The kind of issue of a file with an unsupported extension; in an archive, without `folder`, by its name only."""
    if path.rpartition("/")[2] in SYSTEM_FILES:
        return "hidden"
    if path.lower().endswith((*ARCHIVES, ".7z", ".rar")):
        return "unopened-archive" if folder else "archive-in-archive"
    if path.lower().endswith((*UNSUPPORTED, *UNFINISHED)):
        return "unsupported-extension"
    file = Path(folder or "", path)
    if folder and file.is_symlink() and not file.exists():
        return "broken-link"
    return "not-image"


def _empty_class_folders(layout: Layout, other_files: list[str], skipped: list[Skipped]) -> set[str]:
    """The class folders of each split that contain no image."""
    hidden = (item.path for item in skipped if item.kind == "hidden")
    empty = set()
    for path in [*other_files, *hidden]:
        for split, prefix in layout.prefixes.items():
            name, slash, _ = path[len(prefix) :].partition("/")
            if path.startswith(prefix) and slash and not name.startswith(".") and name not in layout.counts[split]:
                empty.add(f"{prefix}{name}/")
    return empty


def class_issues(layout: Layout, empty: set[str]) -> Iterator[Issue]:
    """The issues of the names and the sizes of classes; `empty`: class folders without images."""
    all_counts, trained = layout.counts, next(iter(layout.counts))
    counts, prefix = all_counts[trained], layout.prefixes[trained]
    if empty:
        yield Issue.of("empty-class", empty)
    if len(counts) == 1 and trained != "val":
        name = prefix + next(iter(counts))
        contains_classes = len(layout.inner.get(name, ())) > 1
        fix = "move the folders in it up, next to it" if contains_classes and prefix else ""
        yield Issue.of("extra-folder" if contains_classes else "single-class", [f"{name}/"], fix=fix)
        if contains_classes:
            return
    yield from _nested(layout.inner)
    if len(all_counts) == 2 and set(all_counts["train"]) != set(all_counts["val"]):
        yield _class_difference(set(all_counts["train"]), set(all_counts["val"]), layout.prefixes)
    names = set().union(*all_counts.values())
    spellings = Counter(name.strip().casefold() for name in names)
    if similar := [name for name in names if spellings[name.strip().casefold()] > 1 or name != name.strip()]:
        yield Issue.of("similar-names", map(repr, similar))
    if sort_classes(names) != sorted(names):
        yield Issue.of("numeric-names", names)
    if single := [prefix + name for name, count in counts.items() if count == 1 and trained != "val"]:
        yield Issue.of("cannot-split" if "val" not in all_counts else "one-image", single)
    if not counts:  # the rows of this split have no labels
        return
    largest, smallest = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
    if counts[largest] >= MAX_IMBALANCE * counts[smallest]:
        yield Issue.of("imbalance", {prefix + name: f"{counts[name]:,} images" for name in (largest, smallest)})


def _nested(inner: dict[str, set[str]]) -> Iterator[Issue]:
    if not inner:
        return
    folders = set().union(*inner.values())
    are_splits = all(map(split_role, folders))
    harmless = all(len(names) == 1 for names in inner.values()) and not are_splits
    classes = {f"{name}/": " ".join(f"{folder}/" for folder in sorted(names)[:5]) for name, names in inner.items()}
    fix = "move train/ and val/ above the class folders" if are_splits else ""
    yield Issue.of("nested", classes, "note" if harmless else None, fix)


def _class_difference(train: set[str], val: set[str], prefixes: dict[str, str]) -> Issue:
    """The classes that only one split has, and the shared classes with different labels in separate numberings."""
    missing = {name: f"not in {prefixes['val'] if name in train else prefixes['train']}" for name in train ^ val}
    labels = [{name: label for label, name in enumerate(sort_classes(names))} for names in (train, val)]
    shifted = [name for name in sort_classes(train & val) if labels[0][name] != labels[1][name]]
    fix = KINDS["classes-differ"].fix
    if shifted:
        first = shifted[0]
        fix += f": numbered separately, {len(shifted):,} shared classes would shift, the first {first} from label "
        fix += f"{labels[0][first]} to {labels[1][first]}"
    return Issue.of("classes-differ", missing, fix=fix)
