"""Whether the weights of a network fit into memory, before anything is allocated."""

import os

import torch

from resmlp.config.image_size import shown
from resmlp.config.model_json import TrunkConfig
from resmlp.models.trunk import Trunk
from resmlp.utils.checks import demand

SHARE = 0.8
"""of the machine's memory, which the weights of a network may take"""


def fitting(config: TrunkConfig) -> Trunk:
    """The network of `config` on the device "meta"; A of a linear mixer grows as the fourth power of the side.

    Raises `UserError` where its weights do not fit into memory, and for a size that does not divide into patches.
    """
    with torch.device("meta"):
        network = Trunk(config)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    what = f"at {shown(config.size)} the weights of {config.name} take {needed / 2**30:.1f} GiB"
    demand(needed < SHARE * there, f"{what}, and this machine has {there / 2**30:.1f}", "choose a smaller size")
    return network
