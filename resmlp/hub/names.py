"""Which MODEL strings are files of this machine, and which are names of networks elsewhere."""

from resmlp.config.pretrained import HUB
from resmlp.utils.files import exists

PACKAGED, TIMM = "packaged:", "timm:"
"""what a MODEL in the package, or one of timm's, begins with"""


def has_prefix(model: str) -> bool:
    """Whether a MODEL says by its beginning where the network is."""
    return model.startswith((PACKAGED, TIMM, HUB))


def on_disk(model: str) -> bool:
    """Whether a MODEL is a file or folder that exists; a name with a prefix never is, even where a file has it."""
    return not has_prefix(model) and exists(model)
