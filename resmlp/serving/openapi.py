"""The description of the API (OpenAPI 3.1), made from the dataclasses of options and answers."""

import dataclasses
import types
import typing
from functools import cache
from typing import Any, NamedTuple

from resmlp.serving import answers
from resmlp.serving.bodies import FORM, JSON, RAW, TEXT
from resmlp.serving.options import EmbedOptions, LookOptions, PredictOptions, SegmentOptions, TranslateOptions

PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}
REFUSALS = {
    "401": "no token, and the server asks for one",
    "403": "a wrong token, or a page of another origin",
    "404": "no such model, layer or patch, or the model does not do this",
    "413": "more bytes, pixels or images than the limits of the server",
    "415": "a body of another type",
    "422": "an input or an option that is not valid",
    "429": "too much is waiting: try again after Retry-After seconds",
    "503": "the models are not loaded yet, or the server is stopping",
    "504": "no answer within the server's limit of seconds",
}
FILES = {"type": "string", "format": "binary"}


class Endpoint(NamedTuple):
    """One address of the API."""

    method: str
    summary: str
    options: type | None
    answer: type
    inputs: str = ""
    """images or text"""


ENDPOINTS = {
    "/v1/predict": Endpoint(
        "post", "The most probable classes of images", PredictOptions, answers.Predictions, "images"
    ),
    "/v1/segment": Endpoint(
        "post", "The class of each pixel of images", SegmentOptions, answers.Segmentations, "images"
    ),
    "/v1/translate": Endpoint("post", "The translations of sentences", TranslateOptions, answers.Translations, "text"),
    "/v1/embed": Endpoint("post", "The features of images", EmbedOptions, answers.Embeddings, "images"),
    "/v1/look": Endpoint("get", "The row of A of a patch, in a layer", LookOptions, answers.Row),
    "/v1/models": Endpoint("get", "The networks of the server", None, answers.Models),
}


@cache
def description() -> dict[str, Any]:
    """The whole document."""
    schemas: dict[str, Any] = {}
    failure = {JSON: {"schema": schema(answers.Failure, schemas)}}
    paths = {}
    for path, endpoint in ENDPOINTS.items():
        content = {JSON: {"schema": schema(endpoint.answer, schemas)}}
        if endpoint.answer is answers.Segmentations:
            content["image/png"] = {"schema": FILES}
        responses: dict[str, Any] = {"200": {"description": "the answer", "content": content}}
        responses |= {status: {"description": why, "content": failure} for status, why in REFUSALS.items()}
        operation: dict[str, Any] = {"summary": endpoint.summary, "operationId": path.rpartition("/")[2]}
        if endpoint.options:
            operation["parameters"] = list(parameters(endpoint.options))
        if endpoint.inputs:
            operation["requestBody"] = {"required": True, "content": bodies(endpoint)}
        paths[path] = {endpoint.method: {**operation, "responses": responses}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "resmlp", "version": "1", "summary": "Networks of matrix products over HTTP"},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"token": []}],
    }


def schema(hint: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type; those of dataclasses are added to `schemas` and referred to."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        name = typing.cast(type, hint).__name__
        if name not in schemas:
            schemas[name] = {}
            hints = typing.get_type_hints(hint)
            schemas[name] |= {
                "type": "object",
                "description": hint.__doc__,
                "properties": {field.name: schema(hints[field.name], schemas) for field in dataclasses.fields(hint)},
                "required": [field.name for field in dataclasses.fields(hint)],
            }
        return {"$ref": f"#/components/schemas/{name}"}
    if origin is types.UnionType:
        return {"anyOf": [schema(part, schemas) for part in args if part is not type(None)] + [{"type": "null"}]}
    if origin is typing.Literal:
        return {"enum": list(args)}
    if origin is tuple and args[-1] is Ellipsis:
        return {"type": "array", "items": schema(args[0], schemas)}
    if origin is tuple:
        return {"type": "array", "prefixItems": [schema(part, schemas) for part in args], "items": False}
    return {"type": PLAIN[hint]}


def parameters(options: type) -> typing.Iterator[dict[str, Any]]:
    """The options as parameters of the address."""
    hints = typing.get_type_hints(options)
    for field in dataclasses.fields(options):
        needed = field.default is dataclasses.MISSING
        described = schema(hints[field.name], {})
        if "anyOf" in described:  # null is leaving it out
            (described,) = described["anyOf"][:-1]
        elif not needed:
            described["default"] = field.default
        yield {"name": field.name, "in": "query", "required": needed, "schema": described}


def bodies(endpoint: Endpoint) -> dict[str, Any]:
    """The bodies that an endpoint reads; the options may be in JSON and in forms as well."""
    assert endpoint.options is not None
    hints = typing.get_type_hints(endpoint.options)
    options = {name: schema(hint, {}) for name, hint in hints.items()}
    if endpoint.inputs == "text":
        strings = {"text": {"type": "string"}, "texts": {"type": "array", "items": {"type": "string"}}}
        lines = {"schema": {"type": "string", "description": "a sentence a line"}}
        return {JSON: {"schema": {"type": "object", "properties": strings | options}}, TEXT: lines}
    text = {"type": "string", "contentEncoding": "base64"}
    several = {"image": text, "images": {"type": "array", "items": text}}
    form = {"image": {"type": "array", "items": FILES, "description": "files; the name of the field is free"}}
    return {
        JSON: {"schema": {"type": "object", "properties": several | options}},
        FORM: {"schema": {"type": "object", "properties": form | options}},
        "image/*": {"schema": FILES},
        RAW: {"schema": FILES},
    }
