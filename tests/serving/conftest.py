"""Small networks of every kind, a server of them in this process, and plain HTTP."""

import http.client
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

pytest.importorskip("starlette", reason="the extra serve is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")
sys.path.insert(0, str(Path(__file__).parent))  # for `browser`

from resmlp.config import Preprocessing
from resmlp.config.model_json import SegmenterConfig, SegmenterModelConfig, TrunkConfig
from resmlp.config.precision import Execution
from resmlp.config.vision import architecture
from resmlp.models import Segmenter, create_model, save_model
from resmlp.models.segmenter_files import save_segmenter
from resmlp.serving.networks import name_sources
from resmlp.serving.server import Server, listen
from resmlp.serving.state import Settings, State

SIZE = (16, 24)
SMALL = {"dim": 12, "depth": 2, "patch_size": 4, "img_size": SIZE}
NASTY = "<img src=x onerror=alert(1)>"
CLASSES = (NASTY, "bee", "cat")
FEW = Execution("cpu", None, "auto", 1)


@pytest.fixture(scope="session")
def folders(tmp_path_factory, translator_run) -> dict[str, Path]:
    """The run folder of a network of each kind."""
    root, look = tmp_path_factory.mktemp("served"), Preprocessing(SIZE)
    torch.manual_seed(0)
    for name, mixer in (("plain", "linear"), ("mixer", "mlp")):
        network = create_model("resmlp_s12", num_classes=3, mixer=mixer, **SMALL)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
        save_model(root / name, network, CLASSES, look)
    trunk = TrunkConfig("resmlp_s12", architecture("resmlp_s12", dim=12, depth=4, patch_size=4), SIZE, 0)
    config = SegmenterConfig(SIZE, 3, trunk, width=8, auxiliary=0)
    save_segmenter(root / "areas", Segmenter(config).eval(), SegmenterModelConfig(config, look, CLASSES))
    return {"plain": root / "plain", "mixer": root / "mixer", "areas": root / "areas", "words": translator_run}


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The one line of a refusal."""
        assert set(self.json) == {"error"}
        assert self.json["error"].isprintable()
        return self.json["error"]


class Running(NamedTuple):
    """A server of this process."""

    port: int
    state: State
    server: Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request; `content_type=...` is the header Content-Type."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def post(self, path: str, body: bytes, kind: str = "image/png", **headers: str) -> Answer:
        return self.ask("POST", path, body, content_type=kind, **headers)

    def post_json(self, path: str, **values: Any) -> Answer:
        return self.post(path, json.dumps(values).encode(), "application/json")


@contextmanager
def running(models: Mapping[str, Path], load: bool = True, **settings: Any) -> Iterator[Running]:
    """A server that has loaded these networks."""
    state = State(Settings(**settings))
    listener = listen("127.0.0.1", 0)
    server = Server(state, listener)
    port = listener.getsockname()[1]
    thread = threading.Thread(target=server.run_here)
    thread.start()
    try:
        if load:
            state.load(name_sources([f"{name}={folder}" for name, folder in models.items()]), FEW)
        yield Running(port, state, server)
    finally:
        server.stop()
        thread.join(30)


@pytest.fixture(scope="session")
def server(folders) -> Iterator[Running]:
    """A server of all kinds, with the limits as they are by default."""
    with running(folders) as found:
        yield found


@pytest.fixture
def start(folders) -> Iterator[Callable[..., Running]]:
    """`start("plain", limits=...)`: a server of some networks, with settings of its own."""
    opened = []

    def run(*names: str, load: bool = True, **settings: Any) -> Running:
        opened.append(running({name: folders[name] for name in names}, load, **settings))
        return opened[-1].__enter__()

    yield run
    for each in opened:
        each.__exit__(None, None, None)


@pytest.fixture(scope="session")
def png() -> bytes:
    """An image of 40 x 30."""
    import io

    import numpy as np
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(file, "png")
    return file.getvalue()
