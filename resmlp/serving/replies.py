"""Answers as responses of HTTP."""

import json
from typing import Any

from starlette.responses import Response

from resmlp.serving.answers import Failure
from resmlp.serving.limits import Refusal
from resmlp.utils.serialization import to_dict


def reply(answer: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A dataclass of `resmlp.serving.answers` as JSON; fields that are null are kept."""
    content = json.dumps(to_dict(answer), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(content.encode("utf-8", "backslashreplace"), status, headers, "application/json")


def refused(refusal: Refusal) -> Response:
    """One line that says why, with the headers that belong to the status."""
    headers = {}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if refusal.status == 413:
        headers["Connection"] = "close"  # the rest of the body is not read
    return reply(Failure(refusal.line), refusal.status, headers)
