"""Before and after every request: who may ask, the headers of answers, and the counts."""

import hmac
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from resmlp.serving.limits import Refusal
from resmlp.serving.replies import refused
from resmlp.serving.state import State

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
LEFT = 499  # the usual status in logs of a request whose client left
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, state: State):
        self.app, self.state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As of ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.monotonic(), LEFT

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name for name, _ in message["headers"]}
                added = ((name.lower().encode(), value.encode()) for name, value in HEADERS.items())
                message["headers"] = [*message["headers"], *(pair for pair in added if pair[0] not in present)]
            await send(message)

        answer: ASGIApp = self.app
        try:
            check(Headers(scope=scope), scope["path"], scope["method"], self.state)
        except Refusal as refusal:
            answer = refused(refusal)
        try:
            await answer(scope, receive, with_headers)
        finally:
            endpoint = scope.get("resmlp.route", "other")  # few names, whatever is asked for
            self.state.metrics.requests.labels(endpoint, status).inc()
            self.state.metrics.seconds.labels(endpoint).observe(time.monotonic() - started)


def check(headers: Headers, path: str, method: str, state: State) -> None:
    """Raise `Refusal` for a request that may not be answered: 401 without a token, 403 with another one.

    Without a token the server is for this machine alone, and a page of another origin may neither call it by an address
    of its own that leads here (DNS rebinding), nor send it work.
    """
    settings = state.settings
    host, origin = headers.get("host", ""), headers.get("origin")
    if settings.token is None and name_of(f"//{host}") not in LOOPBACK:
        raise Refusal(403, "without --token the server answers at localhost only")
    if origin is not None and origin != settings.cors and origin.partition("://")[2] != host:
        raise Refusal(403, "pages of other origins may not call this server: see --cors")
    if settings.token is None or not path.startswith(("/v1/", "/metrics")) or method == "OPTIONS":
        return
    kind, _, given = headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer":
        raise Refusal(401, "this server asks for a token: Authorization: Bearer TOKEN")
    if not hmac.compare_digest(given.strip().encode(), settings.token.encode()):
        raise Refusal(403, "the token is wrong")


def name_of(address: str) -> str:
    """The host of an address without its port; "" where it has none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
