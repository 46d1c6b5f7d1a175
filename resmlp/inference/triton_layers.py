"""A folded network whose sublayers are our Triton kernels (`resmlp.nn.kernels`) where these take them. Needs triton."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from resmlp.models.folding import FoldedSublayer, FoldedTrunk
from resmlp.nn import LinearMixer, Mlp, kernels


class TokenMix(nn.Module):
    """A folded linear mixer with its skip connection, as one kernel."""

    def __init__(self, part: FoldedSublayer):
        super().__init__()
        assert isinstance(part.fn, LinearMixer)
        self.register_buffer("weight", kernels.padded(part.fn.weight))
        self.register_buffer("gain", part.gain)
        self.register_buffer("bias", part.bias if part.bias is None else part.bias.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        return torch.ops.resmlp.token_mix(x, self.weight, self.gain, self.bias)


class ChannelMlp(nn.Module):
    """A folded channel MLP with its skip connection, as one kernel."""

    def __init__(self, part: FoldedSublayer):
        super().__init__()
        assert isinstance(part.fn, Mlp)
        for name, layer in (("1", part.fn.fc1), ("2", part.fn.fc2)):
            self.register_buffer(f"weight{name}", layer.weight.detach().contiguous())
            self.register_buffer(f"bias{name}", layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        return torch.ops.resmlp.channel_mlp(x, self.weight1, self.bias1, self.weight2, self.bias2)


class ChannelMlp8(ChannelMlp):
    """The same in e4m3, whose rows have scales: of the weights here, of what flows through in the kernel."""

    def __init__(self, part: FoldedSublayer):
        super().__init__(part)
        for name in ("1", "2"):
            weight, scale = kernels.eight_bits(self.get_buffer(f"weight{name}"))
            setattr(self, f"weight{name}", weight)
            self.register_buffer(f"scale{name}", scale)

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        first, second = (self.weight1, self.scale1, self.bias1), (self.weight2, self.scale2, self.bias2)
        return torch.ops.resmlp.channel_mlp8(x, *first, *second)


def with_kernels(folded: FoldedTrunk, mlp: type[ChannelMlp] = ChannelMlp) -> FoldedTrunk:
    """A copy of a network in 16 bits, of which those sublayers are our kernels that these take; the rest is torch's.

    `ChannelMlp8` as `mlp`: the channel MLPs in 8 bits. Needs triton.
    """
    copy = deepcopy(folded)
    for name, part in list(copy.named_modules()):
        made = _kernel(part, mlp)
        if made is not None:
            copy.set_submodule(name, made)
    return copy.eval().requires_grad_(False)


def _kernel(part: nn.Module, mlp: type[ChannelMlp]) -> nn.Module | None:
    """The kernel of a sublayer, or None where it has none."""
    if type(part) is not FoldedSublayer or part.skip is not None or not isinstance(part.norm, nn.Identity):
        return None
    fn, plain = part.fn, part.gain is None and part.bias is None
    if type(fn) is LinearMixer and fn.bias is None:
        return TokenMix(part)
    if type(fn) is Mlp and plain and isinstance(fn.act, nn.GELU) and fn.act.approximate == "none":
        return mlp(part) if kernels.fits_mlp(fn.fc1.in_features, fn.fc1.out_features) else None
    return None
