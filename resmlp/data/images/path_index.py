"""Find an image of a tree by what a table calls it: its path, its name, both also without an extension."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property

from resmlp.imaging.walk import path_in_set


class PathIndex:
    """The paths of a tree's images."""

    def __init__(self, root: str, paths: Sequence[str]):
        self._root, self._paths = root.rstrip("/"), paths
        self._exact = {path: i for i, path in enumerate(paths)}

    def find(self, name: str) -> list[int]:
        """The places of the images that `name` may mean: none, the only one, or several between which it is unclear.

        The whole path decides, then the path without its extension; a name without folders is also looked for in all
        folders. `\\` divides folders where no name has it, and a path may begin with the root.
        """
        name = path_in_set(name)
        plain = name.replace("\\", "/").removeprefix(f"{self._root}/").removeprefix("./")
        for path in dict.fromkeys((name, plain)):
            if path in self._exact:
                return [self._exact[path]]
        if found := self._stems.get(plain):
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


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _stem(path: str) -> str:
    """The path without its extension."""
    stem, dot, extension = path.rpartition(".")
    return stem if dot and "/" not in extension else path
