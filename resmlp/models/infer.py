"""Which network a state dict is of, read off its keys and shapes: a file of weights alone says nothing else."""

import math
from dataclasses import replace

from resmlp.architectures import ARCHITECTURES, Architecture, Scale
from resmlp.cards import Card, TrunkConfig
from resmlp.checks import demand
from resmlp.errors import UserError
from resmlp.models.dialects import State
from resmlp.preprocessing import Preprocessing
from resmlp.published import MIXER_GOOGLE


def infer(state: State, source: str) -> Card:
    """The card of a ResMLP or MLP-Mixer state in our names, on a square grid; preprocessing is as its authors' is.

    Raises `UserError` where the weights are of another family, or the tokens form no square.
    """
    hint = "give its network by name: create_model(NAME, checkpoint=FILE), or --model NAME --model.checkpoint FILE"
    wanted = {"embed.patches.proj.weight": 4, "blocks.0.channels.fn.fc1.weight": 2}
    for key, ndim in wanted.items():
        demand(key in state and state[key].ndim == ndim, f"cannot tell which network {source} is of: no {key}", hint)
    linear, mlp = "blocks.0.tokens.fn.weight", "blocks.0.tokens.fn.fc1.weight"
    mixing = state.get(linear, state.get(mlp))
    if mixing is None or mixing.ndim != 2 or {"embed.position.embedding", "embed.cls.token"} & state.keys():
        raise UserError(f"cannot tell which network {source} is of: it is no plain ResMLP or MLP-Mixer", hint)
    dim, _, patch, _ = state["embed.patches.proj.weight"].shape
    side = math.isqrt(mixing.shape[1])
    demand(side**2 == mixing.shape[1], f"{source}: {mixing.shape[1]} tokens form no square grid", hint)
    found = Architecture(
        patch_size=patch,
        dim=dim,
        depth=len({key.split(".")[1] for key in state if key.startswith("blocks.")}),
        mixer="linear" if linear in state else "mlp",
        token_hidden=None if linear in state else mixing.shape[0],
        mlp_ratio=state["blocks.0.channels.fn.fc1.weight"].shape[0] / dim,
        norm="affine" if "norm.alpha" in state else "layernorm",
        scale=_scale(state),
    )
    named = {replace(arch, layer_scale=None): name for name, arch in reversed(ARCHITECTURES.items())}
    size = (side * patch, side * patch)
    mixer = found.mixer == "mlp" and found.norm == "layernorm"
    classes = len(state["head.weight"]) if "head.weight" in state else 0
    network = TrunkConfig(named.get(found, "mixer_s16" if mixer else "resmlp_s12"), found, size, classes)
    return Card(network, replace(MIXER_GOOGLE if mixer else Preprocessing(size), size=size))


def _scale(state: State) -> Scale:
    if "blocks.0.tokens.scale.gamma" in state:
        return "layerscale"
    return "affine" if "blocks.0.tokens.scale.alpha" in state else "none"
