"""Look at a tree of images before anyone trains on it, and say all that is amiss with it."""

import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from resmlp.data.checking.findings import SEVERITIES, TINY, Finding, judge
from resmlp.data.checking.headers import Look, digest, look
from resmlp.data.checking.layout import Layout, lay_out, layout_findings
from resmlp.data.images.trees import Parts, Stray, class_folders, in_order, open_tree
from resmlp.data.loading.loader import start_worker
from resmlp.imaging.image_file import File, ImageSource
from resmlp.utils.errors import UserError, printable

CHUNK = 64  # images that a worker takes at once
DECODED = 4  # the same where they are decoded: Ctrl-C waits for them

Progress = Callable[[str, int, int], Any]
"""told of (what is done, how many are done, of how many)"""


@dataclass
class Report:
    """What there is, and what is amiss with it, the worst first."""

    path: str
    decoded: bool
    """every pixel was read, not the headers alone"""
    images: int = 0
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    """how many images a class has in each part: "train" and "val", or "all" """
    sizes: dict[str, dict[str, float]] = field(default_factory=dict)
    """min, median and max of width and height, in pixels; nothing where no image can be read"""
    modes: dict[str, int] = field(default_factory=dict)
    """how many images are of each of Pillow's modes"""
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON; every name is in it."""
        return {**vars(self), "findings": [finding.as_dict() for finding in self.findings]}

    def errors(self) -> list[Finding]:
        """Those that make training fail, or labels wrong."""
        return [finding for finding in self.findings if finding.severity == "error"]


def check(
    path: str,
    decode: bool = False,
    workers: int = 1,
    img_size: Sequence[int] = (TINY,),
    progress: Progress = lambda what, done, total: None,
) -> Report:
    """Look at all that training would read under `path`, a folder or archives as `open_tree` takes them.

    Reads the headers, with `decode` every pixel, in that many `workers` processes (one is this process itself).
    Images smaller than `img_size`, one number or height and width, count as tiny. Raises `UserError` where there is
    nothing to look at; whatever else is amiss is a finding.
    """
    since = time.perf_counter()
    tree, strays = _open(path)
    layout, whole = lay_out(tree), tree.whole
    del tree  # train and val are copies
    findings = list(layout_findings(layout, whole, strays))
    images = whole.images
    used = np.flatnonzero(np.asarray(layout.place) >= 0)
    traits, found = _Traits(len(images)), _Found()
    step = partial(progress, "every pixel" if decode else "headers")
    looking = partial(look, decode=decode)
    for index, seen in _each(looking, images, used, workers, step, DECODED if decode else CHUNK):
        traits.add(index, seen)
        name, image = images[index]
        found.add(name, judge(seen, name, (img_size[0], img_size[-1])))
        if isinstance(image, File) and not image.name.isprintable():
            found.add(name, [("unprintable", "")])
    findings += found.findings()
    findings += _copies(layout, images, traits.alike(), workers, partial(progress, "duplicates"))
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    seconds = round(time.perf_counter() - since, 3)
    where, modes = printable(whole.where), dict(traits.modes.most_common())
    return Report(where, decode, len(used), _by_class(layout), traits.sizes(), modes, findings, seconds)


def _open(path: str) -> tuple[Parts, list[Stray]]:
    """The tree, and what was passed over in it."""
    strays: list[Stray] = []
    tree = open_tree(path, strays.append, "PATH")
    for stray in strays:
        if stray.error and not tree.whole.images:
            raise stray.error
    if not tree.whole.images:
        class_folders(tree.whole)  # says what there is instead
    if wrap := tree.whole.where[len(str(Path(path).expanduser())) + 1 :]:
        inside = [stray.path.removeprefix(f"{wrap}/") for stray in strays]
        outside = [f"../{stray.path}" if path == stray.path else path for stray, path in zip(strays, inside)]
        strays = [stray._replace(path=path) for stray, path in zip(strays, outside)]
    return tree, strays


def _by_class(layout: Layout) -> dict[str, dict[str, int]]:
    names = in_order(set().union(*layout.counts.values()))
    return {name: {part: counts[name] for part, counts in layout.counts.items()} for name in names}


class _Traits:
    """A few numbers of each image, in little memory: there may be millions."""

    def __init__(self, images: int):
        self.bytes = np.zeros(images, np.int64)
        self.tail = np.zeros(images, np.uint32)
        self.sides = np.zeros((2, images), np.int32)
        self.modes: Counter[str] = Counter()

    def add(self, index: int, seen: Look) -> None:
        """Note what is needed of an image that can be read."""
        if not seen.unreadable:
            self.bytes[index], self.tail[index] = seen.bytes, seen.tail
            self.sides[:, index] = seen.width, seen.height
            self.modes[seen.mode] += 1

    def sizes(self) -> dict[str, dict[str, float]]:
        """Smallest, median and largest width and height."""
        seen = self.sides[:, self.bytes > 0]
        if not seen.size:
            return {}
        return {
            name: {"min": int(own.min()), "median": float(np.median(own)), "max": int(own.max())}
            for name, own in zip(("width", "height"), seen)
        }

    def alike(self) -> np.ndarray:
        """Which images share their number of bytes, and the last of these, with another: int64 N."""
        order = np.lexsort((self.tail, self.bytes))
        same = (np.diff(self.bytes[order]) == 0) & (np.diff(self.tail[order]) == 0)
        pairs = np.append(same, False) | np.insert(same, 0, False)
        return np.sort(order[pairs & (self.bytes[order] > 0)])


class _Found:
    """The names of the images of each kind of finding, with details."""

    def __init__(self) -> None:
        self.named: dict[str, dict[str, str]] = {}

    def add(self, name: str, kinds: Iterable[tuple[str, str]]) -> None:
        """Note what an image is."""
        for kind, why in kinds:
            self.named.setdefault(kind, {})[name] = why

    def findings(self) -> list[Finding]:
        """One for each kind."""
        return [Finding.of(kind, names if any(names.values()) else list(names)) for kind, names in self.named.items()]


def _copies(
    layout: Layout,
    images: list[tuple[str, ImageSource]],
    alike: np.ndarray,
    workers: int,
    step: Callable[[int, int], Any],
) -> Iterator[Finding]:
    """Files of the same bytes: in several classes, in train and val, in one class."""
    same: dict[bytes, list[int]] = {}
    for index, key in _each(digest, images, alike, workers, step):
        if key:
            same.setdefault(key, []).append(index)
    named: dict[str, list[str]] = {"label-conflict": [], "leak": [], "duplicate": []}
    for copies in same.values():
        places = [layout.places[layout.place[index]] for index in copies]
        names = " = ".join(sorted(images[index][0] for index in copies))
        if len({name for _, name in places if name}) > 1:
            named["label-conflict"].append(names)
        if len({part for part, _ in places}) > 1:
            named["leak"].append(names)
        if len(set(places)) < len(places):
            named["duplicate"].append(names)
    yield from (Finding.of(kind, names) for kind, names in named.items() if names)


@dataclass
class _Chunks(Dataset):
    """What `work` makes of each image of a chunk."""

    work: Callable[[ImageSource], Any]
    images: list[tuple[str, ImageSource]]

    def __getitem__(self, chunk: np.ndarray) -> list[Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's, about sizes and broken EXIF: there are findings for these
            return [self.work(self.images[index][1]) for index in chunk]


def _each(
    work: Callable[[ImageSource], Any],
    images: list[tuple[str, ImageSource]],
    indices: np.ndarray,
    workers: int,
    step: Callable[[int, int], Any],
    chunk: int = CHUNK,
) -> Iterator[tuple[int, Any]]:
    """Each of these indices with `work(image)`, in order, by so many processes where they are worth it."""
    chunks = [indices[i : i + chunk] for i in range(0, len(indices), chunk)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # more workers than cores are worth it on a slow disk
        loader: DataLoader = DataLoader(
            _Chunks(work, images),
            sampler=chunks,
            batch_size=None,
            num_workers=min(workers, len(chunks)) if workers > 1 and len(chunks) > 1 else 0,
            worker_init_fn=start_worker,
            collate_fn=list,
            generator=torch.Generator(),  # else it would draw a number from the global one
        )
        # Ctrl-C waits until the workers have started: torch cannot clear away an iterator that is half made
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            batches = iter(loader)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
    done = 0
    try:
        for results in batches:
            yield from zip(map(int, indices[done:]), results)
            done += len(results)
            step(done, len(indices))
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        what = f"a process that reads images was killed after {done:,} of {len(indices):,}"
        raise UserError(what, "is there enough memory? try --workers 1") from error
