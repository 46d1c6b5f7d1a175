"""Settings of the network of a run: its name, its initial weights, and the parts that differ."""

from dataclasses import dataclass, fields, replace
from typing import Annotated, Any

from tyro.conf import arg

from resmlp.config.overrides import overridden, overrides_of
from resmlp.config.preprocessing import COUNTS
from resmlp.config.pretrained import HUB, is_tagged, published
from resmlp.config.vision import ALIASES, ARCHITECTURES, Architecture, canonical, changed
from resmlp.utils.checks import BELOW_ONE, check_range, demand
from resmlp.utils.errors import UserError

FROM_CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Model(overrides_of(Architecture)):  # type: ignore[misc]
    """The network; a part that is None is that of the named model."""

    name: Annotated[str, arg(aliases=["--model"])] = "resmlp_s12"
    """a model of `resmlp list models`, or its name in timm; or weights to start from: a run folder, a file of weights,
    a name of `resmlp list weights`, or hf-hub:ORG/NAME; "checkpoint": the network of --model.checkpoint"""
    checkpoint: str | None = None
    """initial weights: a run folder, a file of weights, a name of `resmlp list weights`, or hf-hub:ORG/NAME; the head
    is new if the classes differ"""
    drop_path: float = 0.0
    """stochastic depth: probability that a sublayer is skipped for an image, equal at every depth"""

    def __post_init__(self) -> None:
        check_range("--model.", self, drop_path=(0, BELOW_ONE))
        channels = f"--model.in-chans {self.in_chans}"
        demand(self.in_chans in (None, *COUNTS), channels, "3 for images with colors, 1 for gray")
        foreign = f"--model {self.name}: only resmlp networks can be trained"
        demand(not self.name.startswith("timm:"), foreign, "see `resmlp list models`")
        if self.names_weights:
            both = f"--model {self.name} and --model.checkpoint {self.checkpoint} are two sets of weights"
            demand(self.checkpoint in (None, self.start), both, "give one of them")
        elif self.name != FROM_CHECKPOINT:
            changed(ARCHITECTURES[canonical(self.name)], **self.changes())

    @property
    def names_weights(self) -> bool:
        """Whether `name` is that of weights and not of a network.

        An unknown name may be a run folder or a file: only `resmlp.tasks.complete` looks at the disk.
        """
        if is_tagged(self.name) or self.name.startswith(HUB):
            return True
        return self.checkpoint is None and self.name not in {FROM_CHECKPOINT, *ARCHITECTURES, *ALIASES}

    @property
    def start(self) -> str | None:
        """The initial weights, as a MODEL; None for random ones."""
        if is_tagged(self.name):
            return published(self.name).name
        return self.name if self.names_weights else self.checkpoint

    @property
    def known(self) -> str | None:
        """The name of the network in `ARCHITECTURES`; None if it is only known from the checkpoint."""
        if is_tagged(self.name):
            return published(self.name).model
        in_checkpoint = self.name == FROM_CHECKPOINT or self.names_weights
        return None if in_checkpoint else canonical(self.name)

    def network(self) -> tuple[str, Architecture]:
        """The name of the network, and its architecture with the changed parts.

        Raises `UserError` if the network is only known from the checkpoint; `Model.completed` takes it from there.
        """
        name = self.known
        if name is None:
            what = f"the network of {self.start} is not read yet" if self.start else "no weights to start from"
            raise UserError(what, "give --model or --model.checkpoint, for example a run folder")
        return name, changed(ARCHITECTURES[name], **self.changes())

    def changes(self) -> dict[str, Any]:
        """The parts that differ from those of the named network."""
        return overridden(self, Architecture)

    def completed(self, name: str, architecture: Architecture, start: str | None) -> "Model":
        """The settings with the network of a checkpoint: its `name`, its `architecture`, and its path `start`.

        The result determines the network without the checkpoint and without the hub.
        """
        name = canonical(name)
        base, network = ARCHITECTURES[name], changed(architecture, **self.changes())
        parts = {f.name: getattr(network, f.name) for f in fields(Architecture)}
        differ = {key: value if value != getattr(base, key) else None for key, value in parts.items()}
        return self.updated(name=name, checkpoint=start, **(differ | self.changes()))

    def updated(self, **parts: Any) -> "Model":
        """The same settings with other values of the named fields."""
        return replace(self, **parts)
