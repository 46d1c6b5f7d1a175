"""The networks of resmlp in timm: `import resmlp.timm`, then `timm.create_model("resmlp_s12", num_classes=10)`.

A network is a trunk with the interface of timm: it has the keys, initialization and logits of `resmlp.create_model`,
and the methods that the scripts of timm call. B images, N tokens (h x w, row by row), D channels.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, Optional, Union

import torch
from timm.layers import to_2tuple
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from resmlp.config.model_json import TrunkConfig
from resmlp.config.preprocessing import Preprocessing
from resmlp.config.pretrained import MIXER_GOOGLE, PUBLISHED
from resmlp.config.vision import ARCHITECTURES, Architecture, architecture
from resmlp.hub.config_json import TIMM_FIELDS
from resmlp.models.trunk import Trunk
from resmlp.models.weight_formats import State, to_resmlp
from resmlp.models.weights import load_into, read_weights
from resmlp.nn import ClassMlp, FirstToken
from resmlp.recipes.small import CIFAR10, DIGITS
from resmlp.training.optimizers import roles
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

POOLS = {"mean": "avg", "classmlp": "token", "classtoken": "token"}
"""pooling -> its name in timm"""


class GridMean(nn.Module):
    """The mean of the tokens of the grid, without a class token before them."""

    def __init__(self, tokens: int):
        super().__init__()
        self.tokens = tokens

    def forward(self, x: Tensor) -> Tensor:
        """B N D or B 1+N D -> B D"""
        return x[:, -self.tokens :].mean(dim=1)


class TimmTrunk(Trunk):
    """A trunk with the interface of timm.

    `global_pool` is "avg"; "token" for networks with a class token; "" for the tokens themselves; None for the pooling
    of the architecture. `drop_rate` is dropout before the head, `drop_path_rate` stochastic depth. `changes` replace
    parts of the architecture, by the names of resmlp or timm. Raises `UserError`, and `TypeError` for an unknown name.
    """

    def __init__(
        self,
        name: str,
        num_classes: int = 1000,
        img_size: int | Sequence[int] = 224,
        in_chans: int = 3,
        global_pool: str | None = None,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **changes: Any,
    ):
        demand(in_chans > 0, f"in_chans={in_chans}", "an image has at least one channel")
        arch = architecture(name, **architecture_fields(name, changes), in_chans=in_chans)
        config = TrunkConfig(name, arch, tuple(to_2tuple(img_size)), num_classes, drop_path_rate)
        with torch.device(device) if device is not None else nullcontext():
            super().__init__(config)
        self.in_chans = in_chans
        self.grid = config.grid
        self.num_layers = arch.depth
        self.embed_dim = self.num_features = self.head_hidden_size = arch.dim
        self.feature_info = [
            {"module": f"blocks.{i}", "num_chs": arch.dim, "reduction": arch.patch_size} for i in range(arch.depth)
        ]
        self.head_drop = nn.Dropout(drop_rate)
        self.global_pool = POOLS[arch.pool]
        if global_pool is not None:
            self._set_pool(global_pool)
        self.to(dtype=dtype)

    def _set_pool(self, word: str) -> None:
        """`word` is a name of timm; "token" requires a class token at the end of the network."""
        pools: dict[str, nn.Module] = {"": nn.Identity(), "avg": GridMean(self.grid[0] * self.grid[1])}
        if self.config.architecture.pool == "classtoken" or any(isinstance(block, ClassMlp) for block in self.blocks):
            pools["token"] = FirstToken()
        demand(word in pools, f"{self.config.name} cannot pool by global_pool={word!r}", f"choose of {list(pools)}")
        self.global_pool, self.pool = word, pools[word]

    def forward_layers(self, images: Tensor, kept: list[int], stop: bool = False) -> tuple[Tensor, list[Tensor]]:
        """As `Trunk.forward_layers`, for TorchScript as well: a script checks no image size and runs all layers."""
        if not torch.jit.is_scripting():
            return super().forward_layers(images, kept, stop)
        x = self.embed(images)
        outputs: list[Tensor] = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in kept:
                outputs.append(x)
        return x, outputs

    def forward_head(self, tokens: Tensor, pre_logits: bool = False) -> Tensor:
        """B N D -> B K, or B D with `pre_logits`; B N K and B N D without pooling"""
        x = self.head_drop(self.pool(tokens))
        return x if pre_logits else self.head(x)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: Optional[Union[int, list[int]]] = None,  # noqa: UP007, UP045  TorchScript reads no `int | list[int]`
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Union[list[Tensor], tuple[Tensor, list[Tensor]]]:  # noqa: UP007
        """B 3 H W -> the tokens B N D of `forward_features`, and the grid after each layer of `indices`.

        A grid is B D h w, or B h*w D for "NLC", without a class token. `indices` is a number of last layers, or a list
        of layers; None: all. With `norm`, the last norm is applied to each grid. With `stop_early`, the last layer of
        `indices` is the last one to run, and the first result is its output.
        """
        assert output_fmt in ("NCHW", "NLC"), "output_fmt is NCHW or NLC"
        taken, _ = feature_take_indices(self.num_layers, indices)
        x, outputs = self.forward_layers(x, taken, stop_early or intermediates_only)
        height, width = self.grid
        grids: list[Tensor] = []
        for output in outputs:
            grid = (self.norm(output) if norm else output)[:, -height * width :]
            if output_fmt == "NCHW":
                grid = grid.transpose(1, 2).reshape(grid.shape[0], -1, height, width)
            grids.append(grid)
        if intermediates_only:
            return grids
        return self.norm(x), grids

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove the layers after the last of `indices`; returns these indices.

        `prune_head` removes Class-MLP, the pooling and the classifier, `prune_norm` the last norm.
        """
        taken, last = feature_take_indices(self.num_layers, indices)
        tail = self.blocks[self.num_layers :]  # Class-MLP, if present
        self.blocks = self.blocks[: last + 1] if prune_head else self.blocks[: last + 1] + tail
        self.num_layers = last + 1
        if prune_norm:
            self.norm = nn.Identity()
        if prune_head:
            self.reset_classifier(0, "")
        return taken

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Make a new head for `num_classes`, none for 0; with None, the pooling does not change."""
        super().reset_classifier(num_classes)
        self.num_classes = num_classes
        if global_pool is not None:
            self._set_pool(global_pool)

    @torch.jit.ignore
    def get_classifier(self) -> nn.Module:
        """The head."""
        return self.head

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each layer in the backward pass instead of keeping its activations."""
        self.checkpoint_activations = enable

    @torch.jit.ignore
    def no_weight_decay(self) -> set[str]:
        """Names of parameters without weight decay, by role: see `resmlp.training.optimizers.roles`."""
        names = {parameter: name for name, parameter in self.named_parameters()}
        return {names[parameter] for parameter, role in roles(self) if role != "weight"}

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns for layer-wise decay: the embedding, each layer (the last norm in the last one), the head."""
        return {"stem": r"^embed", "blocks": [(r"^blocks\.(\d+)", None), (r"^norm", (99999,))]}

    @torch.jit.ignore
    def load_pretrained(self, checkpoint_path: str, prefix: str = "") -> None:
        """Load weights in any dialect, also .npz files of Google. Raises `UserError` unless all tensors fit."""
        load_into(self, read_weights(Path(checkpoint_path)))


def architecture_fields(name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """`changes` as fields of an `Architecture`. Raises `TypeError` for an unknown one, as networks of timm do."""
    changed = {TIMM_FIELDS.get(word, word): value for word, value in changes.items()}
    known = {field.name for field in fields(Architecture)}
    unknown = ", ".join(sorted(set(changed) - known))
    if unknown or len(changed) < len(changes):
        raise TypeError(f"{name} got {unknown or 'a part by two names'}; its parts are {', '.join(sorted(known))}")
    return changed


def pretrained_filter(state: State, model: nn.Module) -> State:
    """The `pretrained_filter_fn` of timm: a state of any dialect -> resmlp's, with a head if the network has one."""
    own = to_resmlp(state)
    if own is None:
        raise UserError("the weights are in no known dialect of ResMLP or MLP-Mixer", "see `resmlp list weights`")
    return {key: tensor for key, tensor in own.items() if model.num_classes or not key.startswith("head.")}


def _cfg(preprocessing: Preprocessing, num_classes: int = 1000, **source: Any) -> dict[str, Any]:
    return {
        "interpolation": preprocessing.interpolation,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "input_size": (3, *preprocessing.size),
        "crop_pct": preprocessing.crop_ratio,
        "num_classes": num_classes,
        "fixed_input_size": True,
        "first_conv": "embed.patches.proj",
        "classifier": "head",
        "license": "apache-2.0",
        **source,
    }


def _untrained(name: str) -> dict[str, Any]:
    for recipe in (DIGITS, CIFAR10):
        if recipe.model.name == name:
            return _cfg(recipe.data.preprocessing(), num_classes=10)
    return _cfg(MIXER_GOOGLE if name.startswith("mixer_") else Preprocessing((224, 224)))


def _cfgs() -> dict[str, Any]:
    published = {
        name: _cfg(w.preprocessing, w.num_classes, hf_hub_id=w.repo, origin_url=w.source, license=w.license)
        for name, w in PUBLISHED.items()
    }
    trained = {weights.model for weights in PUBLISHED.values()}
    return {name: _untrained(name) for name in ARCHITECTURES if name not in trained} | published


default_cfgs = generate_default_cfgs(_cfgs())
"""the configurations of names and of published weights, where timm looks for them"""


def _entrypoint(name: str) -> Callable[..., nn.Module]:
    def create(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        return build_model_with_cfg(
            partial(TimmTrunk, name),
            name,
            pretrained,
            feature_cfg={"out_indices": kwargs.pop("out_indices", 3), "feature_cls": "getter"},
            pretrained_filter_fn=pretrained_filter,
            **kwargs,
        )

    create.__name__ = create.__qualname__ = name  # timm registers a function by its name
    create.__doc__ = f"`{name}` of `resmlp.config.vision`, for timm."
    return register_model(create)


globals().update({name: _entrypoint(name) for name in ARCHITECTURES})
