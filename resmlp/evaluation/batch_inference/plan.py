"""What a command writes: which images by which model, in which blocks. Two commands of one plan write the same file."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from resmlp.utils.checks import demand

if TYPE_CHECKING:
    from resmlp.hub.resolve import Source
    from resmlp.inference import Classifier

CHUNK = 2**24
"""bytes of a file that are read at a time"""


class Share(NamedTuple):
    """This process among those that share the blocks."""

    rank: int
    world: int


def own_share() -> Share:
    """From the environment variables RANK and WORLD_SIZE, which torchrun sets; without them this process has all."""
    given = (os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1"))
    known = all(value.isdecimal() for value in given) and int(given[0]) < int(given[1])
    demand(known, f"RANK is {given[0]} and WORLD_SIZE {given[1]}", "RANK is a number from 0 on, below WORLD_SIZE")
    return Share(int(given[0]), int(given[1]))


def use_own_gpu(device: str) -> None:
    """Make the GPU of this process the current one, where torchrun has started one process for each."""
    local = os.environ.get("LOCAL_RANK", "")
    if local.isdecimal() and device in ("auto", "cuda"):
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_device(int(local) % torch.cuda.device_count())


@dataclass(frozen=True)
class Plan:
    """The work of a command, whatever the number of processes."""

    images: int
    """how many"""
    checksum: str
    """of their paths, labels, sizes and times"""
    model: str
    """`model_digest`"""
    options: dict[str, Any]
    """what else changes the results: flags by their names, and the names of the columns"""
    block: int

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return -(-self.images // self.block)

    def rows(self, number: int) -> range:
        """The images of a block."""
        return range(number * self.block, min((number + 1) * self.block, self.images))

    def differences(self, other: Any) -> list[str]:
        """What differs in `other`, a plan that was read as JSON, in the words of a message."""
        own, other = asdict(self), other if isinstance(other, dict) else {}
        before = other.get("options")
        before = before if isinstance(before, dict) else {}
        names = [name for name in {**self.options, **before} if self.options.get(name) != before.get(name)]
        images = any(own[key] != other.get(key) for key in ("images", "checksum"))
        found = ["other images"] * images + ["another model"] * (self.model != other.get("model"))
        found += [f"another {name}" for name in names]
        return found or ["another version"] * (own != other)


@dataclass(frozen=True)
class BlockBatches(Sequence[Sequence[int]]):
    """The images of each batch of some blocks, in order; no batch has images of two blocks."""

    plan: Plan
    numbers: range | list[int]
    """ascending: only the last block may have fewer images"""
    batch_size: int

    @overload
    def __getitem__(self, number: int) -> range: ...

    @overload
    def __getitem__(self, number: slice) -> list[range]: ...

    def __getitem__(self, number: int | slice) -> range | list[range]:
        if isinstance(number, slice):
            return [self[i] for i in range(len(self))[number]]
        block, batch = divmod(number, -(-self.plan.block // self.batch_size))
        rows = self.plan.rows(self.numbers[block])[batch * self.batch_size : (batch + 1) * self.batch_size]
        if not rows:  # after the last block
            raise IndexError(number)
        return rows

    def __len__(self) -> int:
        return sum(-(-len(self.plan.rows(number)) // self.batch_size) for number in self.numbers)


def model_digest(source: "Source", predictor: "Classifier") -> str:
    """Identifies what the results depend on: the weights, the preprocessing, and the names of the classes."""
    about = (source.kind, predictor.preprocessing, predictor.classes, predictor.words, predictor.threshold)
    total = blake2b(repr(about).encode(), digest_size=16)
    saved = getattr(predictor, "saved", None)
    state = {} if saved is None else saved.model.state_dict()
    if state:
        _add_state(total, state)
    elif source.path is not None:  # an export: another program has the weights
        files = sorted(path for path in source.path.iterdir() if path.is_file()) if source.folder else [source.path]
        for file in files:
            total.update(file.name.encode())
            _add_file(total, file)
    return total.hexdigest()


def _add_state(total: Any, state: dict[str, Any]) -> None:
    import torch

    for name in sorted(state):
        total.update(name.encode())
        total.update(state[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def _add_file(total: Any, path: Path) -> None:
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            total.update(data)
