"""Networks over HTTP: the server of `resmlp serve`, its page, and a client that needs the standard library alone."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_PUBLIC = {"Client": "client", "Limits": "limits", "ServerError": "client", "serve": "server"}

__all__ = ["Client", "Limits", "ServerError", "serve"]

if TYPE_CHECKING:
    from resmlp.serving.client import Client, ServerError
    from resmlp.serving.limits import Limits
    from resmlp.serving.server import serve


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'resmlp.serving' has no attribute {name!r}")
    return getattr(import_module(f"resmlp.serving.{_PUBLIC[name]}"), name)
