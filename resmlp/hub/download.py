"""Files of the Hugging Face hub: downloaded once, compared with the checksum of the hub at each use.

Cache and settings are those of huggingface_hub, shared with timm and transformers: HF_HOME, HF_HUB_CACHE,
HF_HUB_OFFLINE, HF_ENDPOINT, HF_TOKEN. huggingface_hub itself compares only sizes.
"""

import hashlib
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resmlp.hub.client import check_settings, client_settings, explain, is_offline, is_transient, translated
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

_REPO = re.compile(r"(?:[\w.-]+/)?[\w.-]+", re.ASCII)
_PATH = re.compile(r"\w[\w.+-]*(?:/\w[\w.+-]*)*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_CHECKSUM = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""the sha1 of a git blob, or the sha256 of a file in large-file storage"""

_PAUSE = 2.0
"""seconds before a second request"""
_RESTARTS = 3
"""times that a transfer may restart from the beginning, with a server that cannot continue one"""


def fetch(repo: str, file: str, what: str = "") -> Path:
    """Local path of `file` in the repository `repo` of the hub, downloaded unless it is in the cache.

    repo: "timm/resmlp_12_224.fb_in1k", or with a branch, tag or commit, "ORG/NAME@REVISION".
    file: its name in the repository, "model.safetensors".
    what: a description for messages, such as "the weights resmlp_s12.fb_in1k"; a local copy of the file is recognized
    by the name that is its last word.

    The newest version is asked for. A cached file is not downloaded again; it is used alone if the hub cannot be
    reached or HF_HUB_OFFLINE is set. Its sha256 or git sha1 is compared with that of the hub at each call; only a cache
    without symbolic links does not know it offline, and is trusted.

    Raises `UserError` with the cause and a way to do without the hub.
    """
    hub_file = _hub_file(repo, file, what)
    check_settings()
    with client_settings():
        with translated(hub_file.failure):
            path, checksum = _locate(hub_file)
        _verify(path, checksum, hub_file)
    return path


@dataclass(frozen=True)
class _HubFile:
    """A file of the hub with checked names."""

    repo: str
    revision: str
    file: str
    what: str

    def __str__(self) -> str:
        name = f"{self.repo}/{self.file}" + (f" at {self.revision}" if self.revision != "main" else "")
        return f"{self.what} ({name})" if self.what else name

    @property
    def names(self) -> dict[str, Any]:
        """The arguments of functions of huggingface_hub."""
        return {"repo_id": self.repo, "filename": self.file, "revision": self.revision}

    def error(self, what: str, hint: str) -> UserError:
        """`what` is wrong; the remedy is `hint`, or a local copy of the file."""
        from huggingface_hub import constants, hf_hub_url

        if self.what:
            name = self.what.split()[-1] + Path(self.file).suffix
            copy = f"download {hf_hub_url(**self.names)}, save it as {name} and give that file"
        else:  # weights and config.json are needed together
            url = hf_hub_url(**self.names | {"filename": "model.safetensors"})
            copy = f"download {url} and config.json into one folder and give that folder"
        return UserError(what, f"{hint}; or {copy}; the cache is {constants.HF_HUB_CACHE}, set HF_HOME to move it")

    def missing(self, cause: str, hint: str) -> UserError:
        """The file cannot be fetched."""
        return self.error(f"cannot fetch {self} from the hub: {cause}", hint)

    def failure(self, error: Exception) -> UserError:
        """The file cannot be fetched because of an exception of huggingface_hub."""
        from huggingface_hub.errors import RemoteEntryNotFoundError, RevisionNotFoundError

        cause, hint = explain(error)
        if isinstance(error, (RemoteEntryNotFoundError, RevisionNotFoundError)):  # no copy exists either
            return UserError(f"cannot fetch {self} from the hub: {cause}", hint)
        return self.missing(cause, hint)


def _hub_file(repo: str, file: str, what: str) -> _HubFile:
    """The file with checked names. Raises `UserError` for an invalid name, or one that would leave the cache."""
    name, at, revision = repo.partition("@") if isinstance(repo, str) else (repo, "", "")
    revision = revision if at else "main"
    demand(_is_repo(name), f"{name!r} is not a repository name", "ORG/NAME, or ORG/NAME@REVISION")
    demand(_is_path(revision), f"{revision!r} is not a revision of {name}", "a branch, tag or commit")
    demand(_is_path(file), f"{file!r} is not a file of {name}", "a plain name")
    return _HubFile(name, revision, file, what)


def _is_repo(name: Any) -> bool:
    """Whether the hub allows the name: ORG/NAME or NAME, at most 96 characters each, without "--"."""
    if not isinstance(name, str) or not _REPO.fullmatch(name) or name.endswith(".git"):
        return False
    parts = name.split("/")
    return all(len(part) <= 96 and part == part.strip(".-") for part in parts) and not re.search(r"--|\.\.", name)


def _is_path(name: Any) -> bool:
    """Whether the name is a relative path without "..", so that it stays in the cache."""
    return isinstance(name, str) and len(name) <= 200 and bool(_PATH.fullmatch(name))


def _locate(hub_file: _HubFile) -> tuple[Path, str | None]:
    """The cached file, downloaded if necessary, and its checksum if the hub could be reached."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import RemoteEntryNotFoundError, RevisionNotFoundError

    entry = try_to_load_from_cache(**hub_file.names)
    cached = Path(entry) if isinstance(entry, str) else None
    if cached and _COMMIT.fullmatch(hub_file.revision):
        return cached, None
    try:
        commit, checksum = _metadata(hub_file, retry=cached is None)
    except (RemoteEntryNotFoundError, RevisionNotFoundError):
        raise  # the hub was reached and no longer has the file
    except Exception:
        if cached is None:
            raise
        return cached, None
    if cached and commit in cached.parts:
        return cached, checksum
    return Path(hf_hub_download(**hub_file.names, tqdm_class=_progress_bar(hub_file.file))), checksum


def _metadata(hub_file: _HubFile, retry: bool) -> tuple[str, str]:
    """The commit of the revision, and the checksum of the file in it, from the hub."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(**hub_file.names)
    try:
        metadata = get_hf_file_metadata(url)
    except Exception as error:
        if not retry or not is_transient(error):
            raise
        time.sleep(_PAUSE)
        metadata = get_hf_file_metadata(url)
    # both become file names in the cache: a checksum of "../x" would leave it
    commit, checksum = metadata.commit_hash or "", metadata.etag or ""
    if not _COMMIT.fullmatch(commit) or not _CHECKSUM.fullmatch(checksum):
        raise hub_file.missing("the server is not a hub: it sends no checksum", "check HF_ENDPOINT and the proxy")
    return commit, checksum


def _progress_bar(name: str) -> type:
    """The progress bar of huggingface_hub (on a terminal only), which also ends a transfer that restarts forever."""
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        restarts = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options | {"desc": name})  # type: ignore[no-untyped-call]  # not the address

        def update(self, n: float | None = 1) -> bool | None:
            self.restarts += (n or 0) < 0  # a restart subtracts the bytes so far
            if self.restarts > _RESTARTS:
                raise ConnectionError("the connection breaks again and again")
            return super().update(n)

    return Bar


def _verify(path: Path, checksum: str | None, hub_file: _HubFile) -> None:
    """Compare the file with the checksum. Raises `UserError` where they differ, and removes the file from the cache."""
    # a link in the cache names its blob by the checksum; follow one link only, as the blob may be a link as well
    known = path.readlink().name if path.is_symlink() else checksum or ""
    if not _CHECKSUM.fullmatch(known):
        return
    try:
        actual = _checksum(path, sha256=len(known) == 64)
    except OSError as error:
        raise hub_file.missing(f"cannot read {path}: {error.strerror}", "check the disk") from error
    if actual != known:
        kind = "sha256" if len(known) == 64 else "git sha1"
        retry = "unset HF_HUB_OFFLINE and " * is_offline() + "run the same command again to download it"
        hint = retry if _remove(path, known, hub_file) else f"remove {path.resolve()}, {retry}"
        raise hub_file.error(f"{hub_file} is damaged: its {kind} is {actual[:12]}, that of the hub {known[:12]}", hint)


def _checksum(path: Path, sha256: bool) -> str:
    """The sha256 of a file, or its sha1 as a git blob."""
    with path.open("rb") as stream:
        if sha256:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        header = f"blob {path.stat().st_size}\0".encode()
        return hashlib.file_digest(stream, lambda: hashlib.sha1(header, usedforsecurity=False)).hexdigest()


def _remove(path: Path, checksum: str, hub_file: _HubFile) -> bool:
    """Remove a file from the cache: the link, the blob, and the target of the blob. False if the disk refuses."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE).resolve()
    blob = cache / f"models--{hub_file.repo.replace('/', '--')}" / "blobs" / checksum
    try:
        if blob.resolve().is_relative_to(cache):  # a store shared by repositories
            blob.resolve().unlink(missing_ok=True)
        blob.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
