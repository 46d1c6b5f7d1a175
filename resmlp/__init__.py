"""ResMLP and its family, end to end: networks of nothing but matrix products.

`create_model`, `list_models`, `load` and `train` are the whole of the Python interface most people need; each loads
what it stands on when it is first asked for, so that `import resmlp` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "check_data": "resmlp.data.checking.check",
    "check_text": "resmlp.data.checking.text",
    "compress": "resmlp.compression.compress",
    "cross_validate": "resmlp.training.folds",
    "create_model": "resmlp.models",
    "list_models": "resmlp.models",
    "export": "resmlp.exporters.export",
    "embed": "resmlp.evaluation.embed",
    "evaluate": "resmlp.evaluation.evaluate",
    "inspect": "resmlp.analysis.layers.inspection",
    "load": "resmlp.inference",
    "mistakes": "resmlp.evaluation.mistakes",
    "profile": "resmlp.analysis.profiling.profile",
    "push": "resmlp.exporters.publish",
    "reproduce": "resmlp.reproduction.reproduce",
    "train": "resmlp.training.train",
}

__all__ = [
    "__version__",
    "check_data",
    "check_text",
    "compress",
    "create_model",
    "cross_validate",
    "export",
    "list_models",
    "embed",
    "evaluate",
    "inspect",
    "load",
    "mistakes",
    "profile",
    "push",
    "reproduce",
    "train",
]

if TYPE_CHECKING:
    from resmlp.analysis.layers.inspection import inspect
    from resmlp.analysis.profiling.profile import profile
    from resmlp.compression.compress import compress
    from resmlp.data.checking.check import check_data
    from resmlp.data.checking.text import check_text
    from resmlp.evaluation.embed import embed
    from resmlp.evaluation.evaluate import evaluate
    from resmlp.evaluation.mistakes import mistakes
    from resmlp.exporters.export import export
    from resmlp.exporters.publish import push
    from resmlp.inference import load
    from resmlp.models import create_model, list_models
    from resmlp.reproduction.reproduce import reproduce
    from resmlp.training.folds import cross_validate
    from resmlp.training.train import train


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'resmlp' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
