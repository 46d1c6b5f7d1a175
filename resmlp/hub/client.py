"""huggingface_hub, with the settings and the patience we want, and its errors in words for people."""

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
    """Raise `UserError` for a variable of the environment that huggingface_hub stumbles over when it is imported."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    demand(_is_address(endpoint), f"HF_ENDPOINT is {endpoint!r}", "an address such as https://huggingface.co")
    for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
        value = os.environ.get(name, "10")
        demand(_is_seconds(value), f"{name} is {value!r}", "whole seconds, such as 10")


def _is_seconds(value: str) -> bool:
    """Whether huggingface_hub takes it for a time to wait; 0 is its own default."""
    try:
        return 0 <= int(value) <= 10**6
    except ValueError:
        return False


def _is_address(url: str) -> bool:
    """Whether it names a web server."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


@contextmanager
def manners() -> Iterator[None]:
    """huggingface_hub without its warnings, and with the patience of a person who waits.

    - One way to download, plain HTTP, of which we know how it fails; not the second one, Xet.
    - A server that falls silent in the middle is tried six times, a second apart: 4 s each are half a minute.
    - No telemetry, whose preparation asks the hub another question.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from huggingface_hub import constants
        from huggingface_hub.utils import logging

        ours: dict[str, Any] = {"HF_HUB_DISABLE_XET": True, "HF_HUB_DISABLE_TELEMETRY": True}
        if "HF_HUB_DOWNLOAD_TIMEOUT" not in os.environ:
            ours["HF_HUB_DOWNLOAD_TIMEOUT"] = 4
        before = {name: getattr(constants, name) for name in ours}
        level = logging.get_verbosity()
        try:
            vars(constants).update(ours)
            if not {"HF_HUB_VERBOSITY", "HF_DEBUG"} & set(os.environ):
                logging.set_verbosity(logging.CRITICAL)
            yield
        finally:
            vars(constants).update(before)
            logging.set_verbosity(level)


@contextmanager
def explained(failure: Callable[[Exception], UserError]) -> Iterator[None]:
    """Raise `failure` of whatever else than a `UserError` is raised: what a server provokes is no fault of ours."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise failure(error) from error


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids to ask the hub."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def status_of(error: BaseException) -> int | None:
    """The HTTP status of an answer that is an error; None where none came."""
    return getattr(getattr(error, "response", None), "status_code", None)


def is_passing(error: BaseException) -> bool:
    """Whether asking again may help: no answer, too many questions, a failure of the server's."""
    from huggingface_hub.errors import HTTPError

    status = status_of(error)
    return isinstance(error, HTTPError) and (status is None or status in (408, 429) or status >= 500)


def reason(error: BaseException) -> tuple[str, str]:
    """Why the hub does not serve, in a few words, and the way out."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__:
        error = error.__cause__
    answers: list[tuple[type[BaseException], str, str]] = [
        (errors.OfflineModeIsEnabled, "HF_HUB_OFFLINE is set and the cache does not hold it", "unset it for once"),
        (errors.GatedRepoError, "the repository is gated", "accept its terms on its page and set HF_TOKEN"),
        (errors.RepositoryNotFoundError, "no such repository, or a private one", "check the name, or set HF_TOKEN"),
        (errors.RevisionNotFoundError, "no such revision", "check what follows the @"),
        (errors.RemoteEntryNotFoundError, "no such file in the repository", "check the name"),
    ]
    for kind, why, hint in answers:
        if isinstance(error, kind):
            return why, hint
    status = status_of(error)
    if status in (401, 403):
        return f"not allowed ({status})", "set HF_TOKEN to a token that may read it"
    if status == 404:
        return "not found (404)", "check the name, and HF_ENDPOINT if it is set"
    if status is not None:
        return f"the server answered {status}", "try again later"
    if isinstance(error, OSError) and error.errno is not None:
        where = error.filename or constants.HF_HUB_CACHE
        return f"cannot use {where}: {error.strerror}", "make room, or set HF_HOME to a folder that can be written"
    if isinstance(error, UnicodeError):
        return "HF_TOKEN holds what no token does", "check it"
    if "Consistency check failed" in str(error):
        return "it came shorter or longer than announced", "try again, and check the proxy"
    words = re.sub(r"^\[Errno -?\d+\] ", "", " ".join(str(error).split()))
    return words[:200] or type(error).__name__, "check the network"
