"""Which network a run trains, as settings: a name, the weights it starts from, and the parts that differ."""

from dataclasses import dataclass, fields, replace
from typing import Annotated, Any

from tyro.conf import arg

from resmlp.config.overrides import overridden, overrides_of
from resmlp.config.pretrained import HUB, is_tagged, published
from resmlp.config.vision import ARCHITECTURES, Architecture, canonical, changed
from resmlp.utils.checks import BELOW_ONE, check_range, demand
from resmlp.utils.errors import UserError

FROM_CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Model(overrides_of(Architecture)):  # type: ignore[misc]
    """Which network; every part left at None is as the named model has it."""

    name: Annotated[str, arg(aliases=["--model"])] = "resmlp_s12"
    """a name of `resmlp list models` or timm's name for it; a name of `resmlp list weights` or hf-hub:ORG/NAME, to
    start from those weights; "checkpoint": the network of the checkpoint"""
    checkpoint: str | None = None
    """start from these weights: a run folder, a weight file, a name of `resmlp list weights`, or hf-hub:ORG/NAME;
    another number of classes gets a new head"""
    drop_path: float = 0.0
    """stochastic depth: the probability that a sublayer is dropped for an image, the same at every depth"""

    def __post_init__(self) -> None:
        check_range("--model.", self, drop_path=(0, BELOW_ONE))
        if self.names_weights:
            twice = f"--model {self.name} and --model.checkpoint {self.checkpoint} name two sets of weights"
            demand(self.checkpoint in (None, self.start), twice, "give one of them")
        elif self.name != FROM_CHECKPOINT:
            foreign = f"--model {self.name}: resmlp trains its own networks only"
            demand(not self.name.startswith("timm:"), foreign, "see `resmlp list models`")
            changed(ARCHITECTURES[canonical(self.name)], **self.changes())

    @property
    def names_weights(self) -> bool:
        """Whether `name` is that of published weights, and not of a network."""
        return is_tagged(self.name) or self.name.startswith(HUB)

    @property
    def start(self) -> str | None:
        """The weights that training starts from, as a MODEL; None for random ones."""
        if is_tagged(self.name):
            return published(self.name).name
        return self.name if self.name.startswith(HUB) else self.checkpoint

    @property
    def known(self) -> str | None:
        """The name of the network in `ARCHITECTURES`; None where only the checkpoint says which it is."""
        if is_tagged(self.name):
            return published(self.name).model
        open_until_read = self.name == FROM_CHECKPOINT or self.name.startswith(HUB)
        return None if open_until_read else canonical(self.name)

    def network(self) -> tuple[str, Architecture]:
        """The name of the network, and its architecture with the changed parts.

        Raises `UserError` where only the checkpoint says which it is: `Model.completed` has asked it.
        """
        name = self.known
        if name is None:
            raise UserError("no weights to start from", "give --model.checkpoint, for example a run folder")
        return name, changed(ARCHITECTURES[name], **self.changes())

    def changes(self) -> dict[str, Any]:
        """The parts that differ from the named network's."""
        return overridden(self, Architecture)

    def completed(self, name: str, architecture: Architecture, start: str | None) -> "Model":
        """The same settings once the checkpoint has been read: `name` and its parts stand here, and `start` is where.

        The result needs neither the checkpoint nor the hub to say which network it is.
        """
        name = canonical(name)
        base, network = ARCHITECTURES[name], changed(architecture, **self.changes())
        parts = {f.name: getattr(network, f.name) for f in fields(Architecture)}
        differ = {key: value if value != getattr(base, key) else None for key, value in parts.items()}
        return self.updated(name=name, checkpoint=start, **(differ | self.changes()))

    def updated(self, **parts: Any) -> "Model":
        """The same settings with other values of the named fields."""
        return replace(self, **parts)
