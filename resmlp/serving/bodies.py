"""The body of a request: read up to a limit, and taken apart by its type."""

import base64
import binascii
import json
import logging
import sys
from collections.abc import AsyncGenerator, Sequence
from typing import Any, NamedTuple

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from resmlp.serving.images import Upload
from resmlp.serving.limits import Held, Refusal
from resmlp.utils.errors import printable

RAW = "application/octet-stream"
FORM = "multipart/form-data"
JSON = "application/json"
TEXT = "text/plain"
MOST_FIELDS = 16  # of a form, beside its files

# a form that cannot be read is answered with 422: without a handler, Python prints the warnings of its reader as well
logging.getLogger("python_multipart").addHandler(logging.NullHandler())


class Body(NamedTuple):
    """What a request asks for."""

    inputs: Sequence[Any]
    """an `Upload` for each image, or (number, text) for each sentence"""
    words: dict[str, str]
    """options from the address and the form"""
    values: dict[str, Any]
    """options from JSON"""


class _InMemory(MultiPartParser):
    """Writes no file to disk: the body is limited already."""

    spool_max_size = sys.maxsize


async def read_bytes(request: Request, held: Held) -> bytes:
    """The whole body. Raises `Refusal` 413 as soon as it is known to be larger than the limit, 415 if compressed."""
    most = held.room.limits.bytes
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refusal(415, "the body is compressed: send it as it is")
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > most:
        raise Refusal(413, f"the body has {int(announced):,} bytes: at most {most:,}")
    chunks, size = list[bytes](), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise Refusal(413, f"the body has more than {most:,} bytes")
        held.add(size=len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


async def read_images(request: Request, held: Held) -> Body:
    """The images of a raw body, a form or JSON. Raises `Refusal`."""
    kind = _kind(request)
    words = dict(request.query_params)
    if kind.startswith("image/") or kind == RAW:
        return Body([Upload("the image", await read_bytes(request, held))], words, {})
    if kind == FORM:
        return await _read_form(request, await read_bytes(request, held), words)
    if kind == JSON:
        values = _json(await read_bytes(request, held))
        texts = _strings(values, "image", "images")
        return Body([Upload(f"image {i + 1}", _decoded(text, i + 1)) for i, text in enumerate(texts)], words, values)
    raise Refusal(415, f"the type {kind or 'of the body'} is not read: send image/*, {FORM} or {JSON}")


async def read_sentences(request: Request, held: Held) -> Body:
    """The sentences of JSON, or of lines of plain text. Raises `Refusal`."""
    kind, words = _kind(request), dict(request.query_params)
    if kind == JSON:
        values = _json(await read_bytes(request, held))
        texts = _strings(values, "text", "texts")
        return Body(list(enumerate(texts, 1)), words, values)
    if kind == TEXT:
        text = _utf8(await read_bytes(request, held))
        return Body(list(enumerate(text.removesuffix("\n").split("\n"), 1)), words, {})
    raise Refusal(415, f"the type {kind or 'of the body'} is not read: send {JSON} or {TEXT}")


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _read_form(request: Request, body: bytes, words: dict[str, str]) -> Body:
    """The files of a form, whatever their fields are called, and its other fields as options."""

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await _InMemory(request.headers, stream(), max_files=sys.maxsize, max_fields=MOST_FIELDS).parse()
    except MultiPartException as error:
        raise Refusal(422, f"the form cannot be read: {error.message}") from None
    uploads = list[Upload]()
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            uploads.append(Upload(_file_name(value.filename, len(uploads) + 1), await value.read()))
            await value.close()
        else:
            words[name] = value
    return Body(uploads, words, {})


def _file_name(name: str | None, number: int) -> str:
    """The name of an uploaded file without folders, which may be those of the client's disk."""
    return printable((name or "").replace("\\", "/").rpartition("/")[2])[:200] or f"image {number}"


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(422, "the body is not valid JSON") from None
    if not isinstance(value, dict):
        raise Refusal(422, "the body is not a JSON object")
    return value


def _strings(values: dict[str, Any], one: str, many: str) -> list[str]:
    """The strings under the key `one`, or the list of them under `many`, taken out of the values."""
    if (one in values) == (many in values):
        raise Refusal(422, f'the JSON should have "{one}" or "{many}"')
    found = [values.pop(one)] if one in values else values.pop(many)
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise Refusal(422, f'"{many}" should be a list of strings, "{one}" a string')
    for number, text in enumerate(found, 1):
        try:
            text.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write as \ud800
            raise Refusal(422, f"string {number} of {many} is not valid Unicode") from None
    return found


def _decoded(text: str, number: int) -> bytes:
    """The bytes of base64, also after the front of a data: address."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(422, f"image {number} is not valid base64") from None


def _utf8(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal(422, "the text is not UTF-8") from None
