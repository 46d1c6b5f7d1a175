"""`resmlp serve`."""

import importlib.util
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from resmlp.cli.base import Device, Verb, print_json
from resmlp.config.help import default_if_any
from resmlp.config.precision import Execution, PrecisionChoice
from resmlp.serving.limits import Limits
from resmlp.utils.errors import UserError, install_hint, printable

if TYPE_CHECKING:
    from resmlp.serving.state import State

NEEDED = ("starlette", "uvicorn", "httptools", "python_multipart", "prometheus_client")
Backend = Literal["torch", "folded", "compile", "onnx", "openvino", "auto"]


@dataclass(frozen=True, kw_only=True)
class Serve(Verb):
    """a web page and an API: classes, segmentations, features and translations of networks over HTTP"""

    models: Annotated[Positional[tuple[str, ...]], arg(metavar="MODEL...", help_behavior_hint=default_if_any)] = ()
    """run folders, weight files, names of `resmlp list weights`, hf-hub:ORG/NAME, timm:NAME, or exports, of any kind;
    NAME=MODEL calls one NAME; without any, the packaged network of the ten classes of CIFAR-10"""
    host: str = "127.0.0.1"
    """where to listen; for other machines than this one a token is needed"""
    port: int = 8000
    """0 takes a free one"""
    token: str | None = None
    """what clients must send as `Authorization: Bearer TOKEN`; default the environment's RESMLP_TOKEN"""
    cors: str | None = None
    """an origin, such as https://example.org, whose pages may call the API; default none"""
    device: Device = "auto"
    backend: Backend | None = None
    """what runs classifiers on a CPU: torch, folded, compile, onnx, openvino, or auto, the fastest of the installed
    ones, measured at the first requests; default torch. An exported network fixes its backend"""
    precision: PrecisionChoice = "auto"
    """of the products: fp32, bf16, int8; auto is that of an exported network, and fp32, but with --backend auto the
    fastest that keeps the answers of fp32, measured before the server is ready"""
    limits: Limits = Limits()

    def run(self) -> dict[str, Any]:
        """Serve until a signal."""
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise UserError(f"serve needs {missing[0]}, which is not installed", install_hint("serve"))
        from resmlp.hub.packaged import CLASSIFIER, packaged_default
        from resmlp.serving.server import serve
        from resmlp.serving.state import Settings

        models = self.models or (f"{CLASSIFIER}={packaged_default(CLASSIFIER, 'resmlp serve MODEL')}",)
        token = os.environ.get("RESMLP_TOKEN") if self.token is None else self.token
        settings = Settings(self.host, self.port, token, self.cors, self.limits)
        few = None if self.backend == "auto" else 1  # nothing is measured
        serve(models, settings, Execution(self.device, self.backend, self.precision, few), self._announce)
        return {}

    def _announce(self, url: str, state: "State") -> None:
        """Say where the server is, once it is ready."""
        names = list(state.networks.by_name)
        if self.json:
            print_json({"url": url, "models": names})
        else:
            print(printable(f"{url} serves {', '.join(names)}; Ctrl-C stops it"), flush=True)
