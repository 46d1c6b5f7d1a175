"""A client of `resmlp serve`, with the standard library alone."""

import base64
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from resmlp.config.image_size import shown
from resmlp.serving.answers import (
    Embedding,
    Embeddings,
    Model,
    Models,
    Prediction,
    Predictions,
    Row,
    Segmentation,
    Segmentations,
    Translation,
    Translations,
    read,
)

T = TypeVar("T")
Image = str | Path | bytes
"""the path of an image file, or its bytes"""
Size = str | tuple[int, int]
"""height x width, one of the model's `sizes`"""


class ServerError(Exception):
    """The server refused, or cannot be reached; the text is one line."""

    def __init__(self, line: str, status: int | None = None, retry_after: float | None = None):
        super().__init__(line)
        self.status = status
        """of HTTP; None where there is no answer"""
        self.retry_after = retry_after
        """seconds to wait, where the server says so (429, 503)"""


class Client:
    """The networks of a server: `Client("http://localhost:8000").predict(["cat.jpg"])[0].label`."""

    def __init__(self, url: str = "http://127.0.0.1:8000", token: str | None = None, timeout: float = 60.0):
        self.url, self.token, self.timeout = url.rstrip("/"), token, timeout

    def predict(
        self, images: Iterable[Image], model: str | None = None, top: int = 5, size: Size | None = None
    ) -> tuple[Prediction, ...]:
        """The `top` most probable classes of each image. Raises `ServerError`, as all methods do."""
        return self._images("predict", images, Predictions, model=model, top=top, size=size).predictions

    def embed(
        self, images: Iterable[Image], model: str | None = None, size: Size | None = None
    ) -> tuple[Embedding, ...]:
        """The features of each image."""
        return self._images("embed", images, Embeddings, model=model, size=size).embeddings

    def segment(
        self, images: Iterable[Image], model: str | None = None, format: str = "runs"
    ) -> tuple[Segmentation, ...]:
        """The class of each pixel of each image, as runs or as a PNG in base64."""
        return self._images("segment", images, Segmentations, model=model, format=format).segmentations

    def translate(
        self, texts: Iterable[str], model: str | None = None, beam: int | None = None
    ) -> tuple[Translation, ...]:
        """The translation of each sentence."""
        content = {"texts": list(texts), **_given(model=model, beam=beam)}
        return read(Translations, self._ask("/v1/translate", content)).translations

    def look(self, row: int, column: int, layer: int = 0, model: str | None = None, size: Size | None = None) -> Row:
        """The row of A of the patch at (row, column), in a layer."""
        options = _given(row=row, column=column, layer=layer, model=model, size=size)
        return read(Row, self._ask(f"/v1/look?{urlencode(options)}"))

    def models(self) -> tuple[Model, ...]:
        """The networks of the server."""
        return read(Models, self._ask("/v1/models")).models

    def ready(self) -> bool:
        """Whether the server answers requests: False while it loads, and where nothing listens."""
        try:
            self._open(Request(f"{self.url}/health/ready"))
        except ServerError:
            return False
        return True

    def _images(self, operation: str, images: Iterable[Image], answer: type[T], **options: Any) -> T:
        data = (image if isinstance(image, bytes) else Path(image).read_bytes() for image in images)
        content = {"images": [base64.b64encode(each).decode() for each in data], **_given(**options)}
        return read(answer, self._ask(f"/v1/{operation}", content))

    def _ask(self, path: str, content: Mapping[str, Any] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        body = None
        if content is not None:
            body, headers["Content-Type"] = json.dumps(content).encode(), "application/json"
        return json.loads(self._open(Request(self.url + path, body, headers)))

    def _open(self, request: Request) -> bytes:
        try:
            with urlopen(request, timeout=self.timeout) as response:
                content: bytes = response.read()
                return content
        except HTTPError as error:
            wait = error.headers.get("Retry-After")
            raise ServerError(_line(error), error.code, float(wait) if wait else None) from None
        except (URLError, OSError) as error:
            raise ServerError(f"no answer from {self.url}: {getattr(error, 'reason', error)}") from None


def _given(**options: Any) -> dict[str, Any]:
    """Those that are not left out; a size in one word."""
    given = {name: value for name, value in options.items() if value is not None}
    return given | {"size": shown(given["size"])} if "size" in given else given


def _line(error: HTTPError) -> str:
    """What the server says, or what the status means."""
    try:
        return str(json.loads(error.read())["error"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"
