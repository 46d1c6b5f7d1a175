"""The routes of a server: the API, its description, health, metrics, and the page."""

import asyncio
import base64
import sys
import traceback
from collections.abc import Awaitable, Callable
from functools import cache
from importlib.resources import files

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from resmlp.serving import answers, metrics
from resmlp.serving.bodies import read_images, read_sentences
from resmlp.serving.examples import EXAMPLES, example
from resmlp.serving.guard import LEFT, Guard
from resmlp.serving.limits import Refusal
from resmlp.serving.openapi import description
from resmlp.serving.options import LookOptions, read_options
from resmlp.serving.replies import refused, reply
from resmlp.serving.state import State
from resmlp.serving.work import ClientLeft, answered

PAGE = files("resmlp.serving") / "page"
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
Handler = Callable[[State, Request], Awaitable[Response]]


async def predict(state: State, request: Request) -> Response:
    """POST /v1/predict"""
    return reply(await answered(state, request, "predict", read_images))


async def embed(state: State, request: Request) -> Response:
    """POST /v1/embed"""
    return reply(await answered(state, request, "embed", read_images))


async def segment(state: State, request: Request) -> Response:
    """POST /v1/segment; of one image as a PNG where that is what the client accepts."""
    found: answers.Segmentations = await answered(state, request, "segment", read_images)
    first = found.segmentations[0]
    if request.headers.get("accept") == "image/png" and first.png is not None and len(found.segmentations) == 1:
        return Response(base64.b64decode(first.png), media_type="image/png")
    return reply(found)


async def translate(state: State, request: Request) -> Response:
    """POST /v1/translate"""
    return reply(await answered(state, request, "translate", read_sentences))


async def look(state: State, request: Request) -> Response:
    """GET /v1/look"""
    options = read_options(LookOptions, request.query_params, {})
    network = state.networks.choose("look", options.model)

    def row() -> answers.Row:
        found = network.at(options.size).look
        assert found is not None
        return found.row(options)

    return reply(await asyncio.get_running_loop().run_in_executor(state.threads, row))


async def models(state: State, request: Request) -> Response:
    """GET /v1/models"""
    return reply(answers.Models(tuple(network.info for network in state.networks.by_name.values())))


async def live(state: State, request: Request) -> Response:
    """GET /health/live: the process answers."""
    return Response(b"live\n", media_type="text/plain")


async def ready(state: State, request: Request) -> Response:
    """GET /health/ready: 200 while requests are answered, 503 before the models are loaded and while it stops."""
    if state.stopping:
        raise Refusal(503, "stopping")
    if not state.ready:
        raise Refusal(503, "the models are not loaded yet", 1)
    return Response(b"ready\n", media_type="text/plain")


async def counts(state: State, request: Request) -> Response:
    """GET /metrics"""
    return Response(state.metrics.text(), headers={"Content-Type": metrics.CONTENT_TYPE})


async def openapi(state: State, request: Request) -> Response:
    """GET /openapi.json"""
    return reply(description())


async def examples(state: State, request: Request) -> Response:
    """GET /examples/NAME"""
    name = request.path_params["name"]
    if name not in EXAMPLES:
        raise Refusal(404, "no such example")
    content = await asyncio.get_running_loop().run_in_executor(state.threads, example, name)
    return Response(content, media_type="image/png", headers={"Cache-Control": "max-age=3600"})


def page_file(name: str) -> Handler:
    """A file of the page."""

    async def handler(state: State, request: Request) -> Response:
        return Response(read_page(name), media_type=TYPES[name.rpartition(".")[2]])

    return handler


@cache
def read_page(name: str) -> bytes:
    """Its bytes, as they are in the package."""
    return (PAGE / name).read_bytes()


ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/v1/predict", predict),
    ("POST", "/v1/segment", segment),
    ("POST", "/v1/translate", translate),
    ("POST", "/v1/embed", embed),
    ("GET", "/v1/look", look),
    ("GET", "/v1/models", models),
    ("GET", "/health/live", live),
    ("GET", "/health/ready", ready),
    ("GET", "/metrics", counts),
    ("GET", "/openapi.json", openapi),
    ("GET", "/examples/{name}", examples),
    ("GET", "/", page_file("index.html")),
    ("GET", "/docs", page_file("docs.html")),
)


def make_app(state: State) -> Starlette:
    """The application of a server."""
    page = [entry.name for entry in PAGE.iterdir() if entry.name.rpartition(".")[2] in TYPES]
    routes = [*ROUTES, *(("GET", f"/page/{name}", page_file(name)) for name in sorted(page))]
    cors = state.settings.cors
    middleware = [Middleware(Guard, state=state)]
    if cors:
        headers = ["Authorization", "Content-Type"]
        middleware.append(
            Middleware(CORSMiddleware, allow_origins=[cors], allow_methods=["GET", "POST"], allow_headers=headers)
        )
    return Starlette(
        routes=[Route(path, _endpoint(state, path, handler), methods=[method]) for method, path, handler in routes],
        middleware=middleware,
        exception_handlers={HTTPException: _http_error},
    )


def _endpoint(state: State, path: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """The handler with the answers for what goes wrong: one line, without anything of the server's insides."""

    async def endpoint(request: Request) -> Response:
        request.scope["resmlp.route"] = path
        try:
            return await handler(state, request)
        except Refusal as refusal:
            return refused(refusal)
        except (ClientLeft, ClientDisconnect):
            return Response(status_code=LEFT)
        except Exception as error:
            traceback.print_exception(error, file=sys.stderr)
            return refused(Refusal(500, "the server failed; its log says why"))

    return endpoint


async def _http_error(request: Request, error: Exception) -> Response:
    """An unknown address (404), or a known one with another method (405)."""
    assert isinstance(error, HTTPException)
    response = refused(Refusal(error.status_code, f"{request.method} {request.url.path}: {error.detail}"))
    response.headers.update(error.headers or {})
    return response
