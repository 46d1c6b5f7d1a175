"""Find an image of a tree by what a table calls it: its path, its name, both also without an extension."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from resmlp.imaging.walk import path_in_set


class PathIndex:
    """The paths of a tree's images."""

    def __init__(self, root: str, paths: Sequence[str]):
        self._paths = paths
        self._above = tuple(_endings(root))
        self._exact = {path: i for i, path in enumerate(paths)}

    def find(self, name: str) -> list[int]:
        """The places of the images that `name` may mean: none, the only one, or several between which it is unclear.

        The whole path decides, then the path without its extension; a name without folders is also looked for in all
        folders. `\\` divides folders where no name has it. A path may begin with the root, absolute or only its last
        folders, whether the root itself is given as an absolute path or not.
        """
        name = path_in_set(name)
        plain = name.replace("\\", "/").removeprefix("./")
        below = [plain.removeprefix(above) for above in self._above if plain.startswith(above)]
        for path in (name, plain, *below):
            if path in self._exact:
                return [self._exact[path]]
        for path in (plain, *below):
            if found := self._stems.get(path):
                return found
        if "/" in plain:
            return []
        return self._names.get(plain) or self._name_stems.get(plain) or []

    @cached_property
    def _stems(self) -> dict[str, list[int]]:
        return self._by(_stem)

    @cached_property
    def _names(self) -> dict[str, list[int]]:
        return self._by(_name)

    @cached_property
    def _name_stems(self) -> dict[str, list[int]]:
        return self._by(lambda path: _stem(_name(path)))

    def _by(self, key: Callable[[str], str]) -> dict[str, list[int]]:
        found = defaultdict[str, list[int]](list)
        for i, path in enumerate(self._paths):
            found[key(path)].append(i)
        return dict(found)


def _endings(root: str) -> Iterator[str]:
    """What a path below `root` may begin with: the root as it is given, and its absolute path and the ends of that."""
    yield path_in_set(f"{root.rstrip('/')}/")
    for whole in dict.fromkeys(map(str, (Path(root).absolute(), Path(root).resolve()))):
        parts = path_in_set(whole).split("/")
        yield from ("/".join(parts[i:]) + "/" for i in range(len(parts)) if any(parts[i:]))


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _stem(path: str) -> str:
    """The path without its extension."""
    stem, dot, extension = path.rpartition(".")
    return stem if dot and "/" not in extension else path
