"""huggingface_hub with the settings of resmlp, and its errors as one-line messages."""

import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError


def check_settings() -> None:
    """Raise `UserError` for an environment variable with which the import of huggingface_hub fails."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    demand(_is_address(endpoint), f"HF_ENDPOINT is {endpoint!r}", "an address such as https://huggingface.co")
    for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
        value = os.environ.get(name, "10")
        demand(_is_seconds(value), f"{name} is {value!r}", "whole seconds, such as 10")


def _is_seconds(value: str) -> bool:
    """Whether huggingface_hub accepts the value as a timeout; 0 means its default."""
    try:
        return 0 <= int(value) <= 10**6
    except ValueError:
        return False


def _is_address(url: str) -> bool:
    """Whether the URL names a web server."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


@contextmanager
def client_settings() -> Iterator[None]:
    """Change settings of huggingface_hub for a while, and hide its warnings.

    - Downloads use plain HTTP, whose failures are known, and not Xet.
    - A read times out after 4 s; huggingface_hub tries a silent server six times, a second apart: half a minute.
    - Telemetry is off: its preparation sends another request to the hub.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from huggingface_hub import constants
        from huggingface_hub.utils import logging

        settings: dict[str, Any] = {"HF_HUB_DISABLE_XET": True, "HF_HUB_DISABLE_TELEMETRY": True}
        if "HF_HUB_DOWNLOAD_TIMEOUT" not in os.environ:
            settings["HF_HUB_DOWNLOAD_TIMEOUT"] = 4
        before = {name: getattr(constants, name) for name in settings}
        level = logging.get_verbosity()
        try:
            vars(constants).update(settings)
            if not {"HF_HUB_VERBOSITY", "HF_DEBUG"} & set(os.environ):
                logging.set_verbosity(logging.CRITICAL)
            yield
        finally:
            vars(constants).update(before)
            logging.set_verbosity(level)


@contextmanager
def translated(message: Callable[[Exception], UserError]) -> Iterator[None]:
    """Raise `message(error)` for any exception but `UserError`: a server can provoke exceptions of any type."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise message(error) from error


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids requests to the hub."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def status_of(error: BaseException) -> int | None:
    """The HTTP status of an error response; None without a response."""
    return getattr(getattr(error, "response", None), "status_code", None)


def is_transient(error: BaseException) -> bool:
    """Whether a second request may succeed: no response, too many requests, or an error of the server."""
    from huggingface_hub.errors import HTTPError

    status = status_of(error)
    return isinstance(error, HTTPError) and (status is None or status in (408, 429) or status >= 500)


def explain(error: BaseException) -> tuple[str, str]:
    """The cause of a failed request in a few words, and the remedy."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__:
        error = error.__cause__
    known: list[tuple[type[BaseException], str, str]] = [
        (errors.OfflineModeIsEnabled, "HF_HUB_OFFLINE is set and the file is not in the cache", "unset it"),
        (errors.GatedRepoError, "the repository is gated", "accept its terms on its page and set HF_TOKEN"),
        (errors.RepositoryNotFoundError, "no such repository, or a private one", "check the name, or set HF_TOKEN"),
        (errors.RevisionNotFoundError, "no such revision", "check the part after the @"),
        (errors.RemoteEntryNotFoundError, "no such file in the repository", "check the name"),
    ]
    for kind, cause, hint in known:
        if isinstance(error, kind):
            return cause, hint
    status = status_of(error)
    if status in (401, 403):
        return f"not allowed ({status})", "set HF_TOKEN to a token with read access"
    if status == 404:
        return "not found (404)", "check the name, and HF_ENDPOINT if it is set"
    if status is not None:
        return f"the server answered {status}", "try again later"
    if isinstance(error, OSError) and error.errno is not None:
        where = error.filename or constants.HF_HUB_CACHE
        return f"cannot use {where}: {error.strerror}", "make room, or set HF_HOME to a writable folder"
    if isinstance(error, UnicodeError):
        return "HF_TOKEN has characters that no token has", "check it"
    if "Consistency check failed" in str(error):
        return "the file came shorter or longer than announced", "try again, and check the proxy"
    text = re.sub(r"^\[Errno -?\d+\] ", "", " ".join(str(error).split()))
    return text[:200] or type(error).__name__, "check the network"
