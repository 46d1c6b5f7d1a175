"""A small packed data set, and an HTTP server of its folder that can fail."""

import io
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resmlp.config import Data
from resmlp.data.packing import plan
from resmlp.data.packing.pack import pack

IN_SHARD = 4
"""images"""


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def pack_small(folder: Path, seed: int = 0) -> Path:
    """16 training images in four shards, 8 validation images in two. Returns the folder of the shards."""
    tree, out = folder / f"tree{seed}", folder / f"packed{seed}"
    for i in range(24):
        path = tree / ("train" if i < 16 else "val") / f"class{i % 2}" / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(100 * seed + i))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BLOCKS", 2**20 // IN_SHARD - 2**10)
        pack(Data(root=str(tree)), out, shard_size=1, workers=1)
    return out


class Server:
    """Serves a folder, with `ranges` also parts of files; `faults` maps a file's name to what its requests meet."""

    def __init__(self, folder: Path, ranges: bool = False):
        self.folder, self.faults, self.requests = folder, dict[str, str | int](), Counter[str]()
        self.address, self.ranges = "", ranges
        self.sent = Counter[str]()
        """bytes of the parts of each file"""

    @contextmanager
    def running(self) -> Iterator["Server"]:
        """The server in threads of this process."""
        with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as httpd:
            httpd.daemon_threads, httpd.block_on_close = True, False
            httpd.owner = self  # type: ignore[attr-defined]
            self.address = f"http://127.0.0.1:{httpd.server_port}/set"
            thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                httpd.shutdown()
                thread.join()


class _Handler(SimpleHTTPRequestHandler):
    def translate_path(self, path: str) -> str:
        return str(self.server.owner.folder / path.rpartition("/")[2])  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        owner: Server = self.server.owner  # type: ignore[attr-defined]
        name = self.path.rpartition("/")[2]
        owner.requests[name] += 1
        fault = owner.faults.get(name)
        if isinstance(fault, int):
            self.send_error(fault)
        elif fault == "fails twice" and owner.requests[name] <= 2:
            self.send_error(503)
        elif fault in ("cut", "stalls", "breaks"):
            self._send_half(str(fault), (owner.folder / name).read_bytes())
        elif fault == "other bytes":
            self._send(bytes((owner.folder / name).stat().st_size))
        elif fault == "a page":
            self._send(b"<html>" * 100)
        elif "Range" in self.headers and owner.ranges:
            content = (owner.folder / name).read_bytes()
            first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            part = content[first : last + 1]
            owner.sent[name] += len(part)
            if fault == "half of the part":
                part = part[: len(part) // 2]
            if part:
                self._send(part, 206, f"bytes {first}-{first + len(part) - 1}/{len(content)}")
            else:
                self.send_error(416)
        else:
            super().do_GET()

    def _send(self, data: bytes, status: int = 200, content_range: str = "") -> None:
        self.send_response(status)
        if content_range:
            self.send_header("Content-Range", content_range)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _send_half(self, fault: str, data: bytes) -> None:
        half = data[: len(data) // 2]
        self.send_response(200)
        self.send_header("Content-Length", str(len(half if fault == "cut" else data)))
        self.end_headers()
        self.wfile.write(half)
        self.wfile.flush()
        if fault == "stalls":
            time.sleep(3)

    def log_message(self, *args: object) -> None:
        """Nothing is printed."""
