"""Parameters and multiply-adds, counted as in Tables 1 and 3."""

from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from resmlp.nn import TokenMixer


def count_parameters(model: nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def input_channels(model: nn.Module) -> int:
    """The channels of the images that a network takes, by its first kernel; 3 for one without kernels."""
    return next((parameter.shape[1] for parameter in model.parameters() if parameter.ndim == 4), 3)


def count_macs(model: nn.Module, *inputs: Tensor) -> int:
    """Multiply-adds of one forward pass, which the paper calls FLOPs: those of matrix products and convolutions.

    A token mixer may add its own (`TokenMixer.extra_macs`). The model runs in evaluation mode, on the device of the
    model and `inputs`; on "meta" nothing is computed.
    """
    training = model.training
    model.eval()
    extra: list[int] = []
    mixers = [part for part in model.modules() if isinstance(part, TokenMixer)]
    hooks = [part.register_forward_pre_hook(lambda own, args: extra.append(own.extra_macs(*args))) for part in mixers]
    try:
        with FlopCounterMode(display=False) as counter:  # its module tracker cannot follow views made without gradient
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)
    return counter.get_total_flops() // 2 + sum(extra)
