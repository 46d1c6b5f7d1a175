"""Which network a run trains, as settings: a name, the weights it starts from, and the parts that differ."""

from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import arg

from resmlp.config.pretrained import is_tagged, published
from resmlp.config.vision import (
    ARCHITECTURES,
    Activation,
    Architecture,
    Init,
    Mixer,
    Norm,
    Pool,
    Scale,
    Wiring,
    canonical,
    changed,
)
from resmlp.hub.resolve import HUB, config_of, exists
from resmlp.utils.checks import BELOW_ONE, check_range, demand
from resmlp.utils.errors import UserError

FROM_CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class Model:
    """Which network; every field left at None is as the named model has it."""

    name: Annotated[str, arg(aliases=["--model"])] = "resmlp_s12"
    """a name of `resmlp list models`, ours or timm's; of `resmlp list weights`, or hf-hub:ORG/NAME, to start from those
    weights; "checkpoint": the network of the checkpoint"""
    checkpoint: str | None = None
    """start from these weights: a run folder, a file of any dialect, a name of `resmlp list weights`, or
    hf-hub:ORG/NAME; another class count swaps the head"""
    drop_path: float = 0.0
    """stochastic depth: probability of dropping a sublayer for an image, the same at every depth"""
    patch_size: int | None = None
    dim: int | None = None
    depth: int | None = None
    mixer: Mixer | None = None
    """token mixing"""
    mlp_ratio: float | None = None
    """hidden width of the channel MLP over dim"""
    token_hidden: int | None = None
    """hidden width of the mlp mixer"""
    heads: int | None = None
    """heads of the attention mixer"""
    norm: Norm | None = None
    activation: Activation | None = None
    scale: Scale | None = None
    """what ends each sublayer; affine has a beta"""
    layer_scale: float | None = None
    """initial LayerScale value"""
    residual: Wiring | None = None
    """pre-norm or post-norm"""
    pool: Pool | None = None
    pos_embed: bool | None = None
    init: Init | None = None
    """paper: std 0.02; fan-in: std by width, for small networks; local: and linear mixers start as 3x3 convolutions"""

    def __post_init__(self):
        check_range("--model.", self, drop_path=(0, BELOW_ONE))
        if is_tagged(self.name):
            self._start_from(published(self.name).name, published(self.name).model)
        elif self.name.startswith(HUB):
            self._start_from(self.name, FROM_CHECKPOINT)
        elif self.name != FROM_CHECKPOINT:
            foreign = f"--model {self.name}: we train networks of our own"
            demand(not self.name.startswith("timm:"), foreign, "see `resmlp list models`")
            object.__setattr__(self, "name", canonical(self.name))
            self.network()

    def _start_from(self, weights: str, name: str) -> None:
        """Take `--model` for the weights that it names."""
        twice = f"--model {self.name} names weights, and --model.checkpoint {self.checkpoint} others"
        demand(self.checkpoint in (None, weights), twice, "give one of them")
        object.__setattr__(self, "checkpoint", weights)
        object.__setattr__(self, "name", name)

    def network(self) -> tuple[str, Architecture]:
        """The network's name, and its architecture with this model's changes."""
        if self.name != FROM_CHECKPOINT:
            return self.name, changed(ARCHITECTURES[self.name], **self.changes())
        demand(self.checkpoint is not None, "no weights to start from", "give --model.checkpoint, a run folder say")
        card = config_of(str(self.checkpoint))
        if card is None:
            there = exists(str(self.checkpoint))
            demand(there, f"no weights at {self.checkpoint}", "check the path; or `resmlp list weights` has some")
            what = f"{self.checkpoint} has no model.json that says which network it is"
            raise UserError(what, "give its name with --model")
        return card.model.name, changed(card.model.architecture, **self.changes())

    def changes(self) -> dict[str, Any]:
        """The parts that differ from the named model's."""
        own = ("name", "checkpoint", "drop_path")
        return {key: value for key, value in vars(self).items() if key not in own and value is not None}
