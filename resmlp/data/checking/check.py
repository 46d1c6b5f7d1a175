"""Check a tree of images before training, and report all its issues."""

import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from resmlp.config.checking import CheckedData
from resmlp.config.label_table import LabelTable
from resmlp.config.preprocessing import ValueRange
from resmlp.data.checking.headers import Header, file_digest, read_header
from resmlp.data.checking.issues import SEVERITIES, TINY, Issue, image_issues
from resmlp.data.checking.layout import Layout, find_layout, layout_issues, split_layout
from resmlp.data.checking.mapping import CHUNK, DECODED_CHUNK, map_images
from resmlp.data.checking.near import Near, near_issues
from resmlp.data.checking.report import DataReport
from resmlp.data.checking.shards import check_shards
from resmlp.data.checking.table_layout import table_issues, table_layout
from resmlp.data.images.table_sets import read_table_set
from resmlp.data.images.tree_files import Tree, sort_classes
from resmlp.data.images.trees import SplitTree, class_folders, open_tree
from resmlp.data.images.value_range import measure_images, spaced, value_range_warning
from resmlp.data.masks.trees import is_mask_tree
from resmlp.data.shards.rows import Entries
from resmlp.imaging.image_file import File, ImageSource, with_decoding
from resmlp.imaging.parquet_file import ParquetImage
from resmlp.imaging.passed_over import IN_ARCHIVES, Skipped
from resmlp.utils.checks import demand
from resmlp.utils.errors import printable
from resmlp.utils.hardware import cores

AS_STORED = CheckedData()
Progress = Callable[[str, int, int], Any]
"""called with (name of the step, images done, images of the step)"""


def check_data(
    root: str | Path,
    *,
    decode: bool = False,
    workers: int | None = 1,
    img_size: Sequence[int] = (TINY,),
    near: Near = "auto",
    progress: Progress = lambda step, done, total: None,
    data: CheckedData = AS_STORED,
) -> DataReport:
    """Check all images that training would read under `root`: a folder or archives, as `--data.root` takes them.

    Their labels are class folders, or those of the table in `data`, whose rows are checked as well. Reads the headers,
    and with `decode` every pixel; of a packed data set also all bytes, for their checksums. Values of more than 8 bits
    are scaled from `data.value_range`. `workers` is the number of processes: 1 is this process, None is one per CPU
    core. Images smaller than `img_size` (one number, or height and width) are reported as tiny. `near` searches copies
    in another size or encoding: "auto" in up to 100,000 images, "on" in any number, or "off". Raises `UserError` if
    there are no images or an argument is out of range; everything else is an issue in the report.
    """
    given = str(root)
    _check_arguments(given, workers, img_size, data)
    start = time.perf_counter()
    layout, whole, issues = _folders(given) if data.labels is None else _table(given, data)
    images = _decoded(whole.images, data)
    processes = cores() if workers is None else workers
    damaged, readable = check_shards(whole.images, processes, partial(progress, "shards"))
    issues += damaged
    group = np.asarray(layout.group)
    used = readable[group[readable] >= 0]
    statistics, collector = Statistics(len(images)), _IssueCollector()
    step = partial(progress, "every pixel" if decode else "headers")
    read = partial(read_header, decode=decode)
    for index, header in map_images(read, Header, images, used, processes, step, DECODED_CHUNK if decode else CHUNK):
        statistics.add(index, header)
        name, image = images[index]
        path = "" if isinstance(image, ParquetImage) else name
        collector.add(name, image_issues(header, path, (img_size[0], img_size[-1])))
        if isinstance(image, File) and not image.name.isprintable():
            collector.add(name, [("unprintable", "")])
    issues += collector.issues()
    deep = collector.names.get("16-bit", {})
    issues += _value_range_issues([images[i] for i in used.tolist()], deep, data.value_range)
    candidates = statistics.possible_duplicates()
    issues += _duplicates(layout, images, candidates, processes, partial(progress, "duplicates"))
    issues += near_issues(layout, images, statistics, near, processes, partial(progress, "near duplicates"))
    issues.sort(key=lambda issue: SEVERITIES.index(issue.severity))
    return DataReport(
        path=printable(whole.root),
        decoded=decode,
        images=int((group >= 0).sum()),
        classes=_counts_by_class(layout),
        splits={split: layout.images[split] for split in layout.prefixes},
        sizes=statistics.sizes(),
        modes=dict(statistics.modes.most_common()),
        issues=issues,
        seconds=round(time.perf_counter() - start, 3),
    )


def _folders(path: str) -> tuple[Layout, Tree, list[Issue]]:
    """The classes by their folders, the images, and the issues of the folders."""
    tree, skipped = _open(path)
    images = tree.whole.images
    if isinstance(images, Entries) and images.packed.masks:
        return split_layout(images.packed), tree.whole, []
    layout, whole = find_layout(tree), tree.whole
    return layout, whole, list(layout_issues(layout, whole, skipped))


def _table(path: str, data: LabelTable) -> tuple[Layout, Tree, list[Issue]]:
    """The same by a table of labels."""
    found = read_table_set(path, str(data.labels), data.columns, "PATH")
    layout = table_layout(found)
    return layout, found.tree, table_issues(found, layout)


def _check_arguments(path: str, workers: int | None, img_size: Sequence[int], data: LabelTable) -> None:
    demand(workers is None or workers >= 1, f"--workers {workers}", "1 or more")
    size = " ".join(map(str, img_size))
    valid = len(img_size) in (1, 2) and min(img_size) > 0
    demand(valid, f"--img-size {size}", "give one positive number, or height and width")
    hint = f"resmlp train scenes --data.source masks --data.root {path} checks them before training"
    demand(data.labels is not None or not is_mask_tree(path), f"{path} contains images with segmentation masks", hint)


def _decoded(images: Sequence[tuple[str, ImageSource]], data: CheckedData) -> Sequence[tuple[str, ImageSource]]:
    if data.value_range is None:
        return images
    return [(path, with_decoding(image, data.decoding)) for path, image in images]


def _open(path: str) -> tuple[SplitTree, list[Skipped]]:
    """The tree, and everything that was skipped in it."""
    skipped: list[Skipped] = []
    tree = open_tree(path, skipped.append, "PATH")
    if not tree.whole.images:
        for item in skipped:
            if item.error:
                raise item.error
        class_folders(tree.whole)  # raises an error that lists what the tree contains
    if wrapper := tree.whole.root[len(str(Path(path).expanduser())) + 1 :]:
        relative = [item.path.removeprefix(f"{wrapper}/") for item in skipped]
        paths = [f"../{item.path}" if path == item.path else path for item, path in zip(skipped, relative)]
        skipped = [item if item.kind in IN_ARCHIVES else item._replace(path=path) for item, path in zip(skipped, paths)]
    return tree, skipped


def _counts_by_class(layout: Layout) -> dict[str, dict[str, int]]:
    names = sort_classes(set().union(*layout.counts.values()))
    return {name: {split: counts[name] for split, counts in layout.counts.items()} for name in names}


class Statistics:
    """A few numbers of each image, in little memory: there may be millions of images."""

    def __init__(self, images: int):
        self.bytes = np.zeros(images, np.int64)
        self.tail = np.zeros(images, np.uint32)
        self.sides = np.zeros((2, images), np.int32)
        self.modes: Counter[str] = Counter()

    def add(self, index: int, header: Header) -> None:
        """Add an image, if it can be read."""
        if not header.error:
            self.bytes[index], self.tail[index] = header.bytes, header.tail
            self.sides[:, index] = header.width, header.height
            self.modes[header.mode] += 1

    def sizes(self) -> dict[str, dict[str, float]]:
        """Smallest, median and largest width and height."""
        readable = self.sides[:, self.bytes > 0]
        if not readable.size:
            return {}
        return {
            name: {"min": int(side.min()), "median": float(np.median(side)), "max": int(side.max())}
            for name, side in zip(("width", "height"), readable)
        }

    def is_same_file(self, i: int, j: int) -> bool:
        """Whether two images have the same number of bytes and the same last bytes."""
        return bool(self.bytes[i] == self.bytes[j] and self.tail[i] == self.tail[j])

    def possible_duplicates(self) -> np.ndarray:
        """Indices of the images with the same number of bytes and the same last bytes as another one: int64 N."""
        order = np.lexsort((self.tail, self.bytes))
        same = (np.diff(self.bytes[order]) == 0) & (np.diff(self.tail[order]) == 0)
        pairs = np.append(same, False) | np.insert(same, 0, False)
        return np.sort(order[pairs & (self.bytes[order] > 0)])


class _IssueCollector:
    """The names of the images with each kind of issue, and their details."""

    def __init__(self) -> None:
        self.names: dict[str, dict[str, str]] = {}

    def add(self, name: str, issues: Iterable[tuple[str, str]]) -> None:
        """Add the (kind, detail) of each issue of an image."""
        for kind, detail in issues:
            self.names.setdefault(kind, {})[name] = detail

    def issues(self) -> list[Issue]:
        """One issue for each kind."""
        return [Issue.of(kind, names if any(names.values()) else list(names)) for kind, names in self.names.items()]


def _value_range_issues(
    images: list[tuple[str, ImageSource]], deep: Container[str], value_range: ValueRange | None
) -> Iterator[Issue]:
    """Images with over 8 bits that use a small part of their range, or have values outside the given one.

    They are among some of all images and some of `deep`.
    """
    names = {image.name: name for name, image in images}
    chosen = spaced([image for _, image in images]) + spaced([image for name, image in images if name in deep])
    measured = {name: samples for name, samples in measure_images(chosen).items() if samples.full or value_range}
    what, hint = value_range_warning(measured, value_range)
    if what:
        details = {names[name]: f"{samples.low:g} to {samples.high:g}" for name, samples in measured.items()}
        yield Issue.of("value-range", details, fix=f"{what}: {hint}")


def _duplicates(
    layout: Layout,
    images: Sequence[tuple[str, ImageSource]],
    candidates: np.ndarray,
    processes: int,
    step: Callable[[int, int], Any],
) -> Iterator[Issue]:
    """Files with the same bytes: in several classes, in train and val, or in one class."""
    by_digest: dict[bytes, list[int]] = {}
    for index, digest in map_images(file_digest, lambda reason: b"", images, candidates, processes, step):
        if digest:
            by_digest.setdefault(digest, []).append(index)
    names: dict[str, list[str]] = {"label-conflict": [], "leak": [], "duplicate": []}
    for copies in by_digest.values():
        groups = [layout.groups[layout.group[index]] for index in copies]
        joined = " = ".join(sorted(images[index][0] for index in copies))
        if len({name for _, name in groups if name}) > 1:
            names["label-conflict"].append(joined)
        if len({split for split, _ in groups}) > 1:
            names["leak"].append(joined)
        if len(set(groups)) < len(groups):
            names["duplicate"].append(joined)
    yield from (Issue.of(kind, names) for kind, names in names.items() if names)
