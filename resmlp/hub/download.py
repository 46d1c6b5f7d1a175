"""Files of the Hugging Face hub: downloaded once, compared with the hub's checksum each time.

The cache is huggingface_hub's own, shared with timm and the rest, and so are its settings: HF_HOME, HF_HUB_CACHE,
HF_HUB_OFFLINE, HF_ENDPOINT, HF_TOKEN. huggingface_hub itself compares only sizes.
"""

import hashlib
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resmlp.hub.client import check_settings, explained, is_offline, is_passing, manners, reason
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

_REPO = re.compile(r"(?:[\w.-]+/)?[\w.-]+", re.ASCII)
_PATH = re.compile(r"\w[\w.+-]*(?:/\w[\w.+-]*)*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_CHECKSUM = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""a git blob's sha1, or the sha256 of a file in large-file storage"""

_PAUSE = 2.0
"""seconds before the hub is asked once more"""
_RESTARTS = 3
"""times that a transfer may begin anew with a server that cannot continue one"""


def fetch(repo: str, file: str, what: str = "") -> Path:
    """The local path of `file` of the hub's `repo`, downloaded where it is not in the cache, and whole.

    repo: "timm/resmlp_12_224.fb_in1k", or with a branch, tag or commit, "ORG/NAME@REVISION".
    file: its name there, "model.safetensors".
    what: what it is to the user, for the messages, such as "the weights resmlp_s12.fb_in1k"; its last word is a name
    by which the file alone is known for what it is.

    The hub is asked for the newest version; a file that is in the cache already is not transferred again, and serves
    alone where the hub cannot be reached or HF_HUB_OFFLINE is set. Its sha256 (or its git sha1) is compared with the
    hub's at each call. Only a cache without symbolic links, offline, does not know it, and is trusted.

    Raises `UserError` that says what was wanted, why it is not here, and how to do without the hub.
    """
    wanted = _wanted(repo, file, what)
    check_settings()
    with manners():
        with explained(wanted.failure):
            path, checksum = _locate(wanted)
        _verify(path, checksum, wanted)
    return path


@dataclass(frozen=True)
class _Wanted:
    """A file of the hub, its names checked."""

    repo: str
    revision: str
    file: str
    what: str

    def __str__(self) -> str:
        name = f"{self.repo}/{self.file}" + (f" at {self.revision}" if self.revision != "main" else "")
        return f"{self.what} ({name})" if self.what else name

    @property
    def place(self) -> dict[str, Any]:
        """What huggingface_hub's functions call it."""
        return {"repo_id": self.repo, "filename": self.file, "revision": self.revision}

    def error(self, what: str, hint: str) -> UserError:
        """`what` is wrong; the way out is `hint`, or to do without the hub."""
        from huggingface_hub import constants, hf_hub_url

        if self.what:
            name = self.what.split()[-1] + Path(self.file).suffix
            elsewhere = f"download {hf_hub_url(**self.place)} elsewhere, save it as {name} and give that file"
        else:  # neither of the two says all without the other
            url = hf_hub_url(**self.place | {"filename": "model.safetensors"})
            elsewhere = f"download {url}, and config.json beside it, elsewhere into one folder and give that folder"
        cache = f"the cache is {constants.HF_HUB_CACHE}, HF_HOME moves it"
        return UserError(what, f"{hint}; or {elsewhere} in place of the name, as MODEL or --model.checkpoint; {cache}")

    def missing(self, why: str, hint: str) -> UserError:
        """It cannot be had."""
        return self.error(f"cannot fetch {self} from the hub: {why}", hint)

    def failure(self, error: Exception) -> UserError:
        """It cannot be had because of what huggingface_hub raised."""
        from huggingface_hub.errors import RemoteEntryNotFoundError, RevisionNotFoundError

        why, hint = reason(error)
        if isinstance(error, (RemoteEntryNotFoundError, RevisionNotFoundError)):  # nor is it to be had elsewhere
            return UserError(f"cannot fetch {self} from the hub: {why}", hint)
        return self.missing(why, hint)


def _wanted(repo: str, file: str, what: str) -> _Wanted:
    """The three, or `UserError` for a name that no hub has, or that would lead out of the cache."""
    name, at, revision = repo.partition("@") if isinstance(repo, str) else (repo, "", "")
    revision = revision if at else "main"
    demand(_is_repo(name), f"{name!r} is no repository of the hub", "ORG/NAME, or ORG/NAME@REVISION")
    demand(_is_path(revision), f"{revision!r} is no revision of {name}", "a branch, tag or commit")
    demand(_is_path(file), f"{file!r} is no file of {name}", "a plain name")
    return _Wanted(name, revision, file, what)


def _is_repo(name: Any) -> bool:
    """Whether the hub allows it: ORG/NAME or NAME, at most 96 characters each, and no "--"."""
    if not isinstance(name, str) or not _REPO.fullmatch(name) or name.endswith(".git"):
        return False
    parts = name.split("/")
    return all(len(part) <= 96 and part == part.strip(".-") for part in parts) and not re.search(r"--|\.\.", name)


def _is_path(name: Any) -> bool:
    """Whether it is a relative name that cannot climb."""
    return isinstance(name, str) and len(name) <= 200 and bool(_PATH.fullmatch(name))


def _locate(wanted: _Wanted) -> tuple[Path, str | None]:
    """The file in the cache, brought there where need be, and its checksum if the hub could be asked."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import RemoteEntryNotFoundError, RevisionNotFoundError

    found = try_to_load_from_cache(**wanted.place)
    cached = Path(found) if isinstance(found, str) else None
    if cached and _COMMIT.fullmatch(wanted.revision):
        return cached, None
    try:
        commit, checksum = _announced(wanted, patient=cached is None)
    except (RemoteEntryNotFoundError, RevisionNotFoundError):
        raise  # the hub knows, and has it no longer
    except Exception:
        if cached is None:
            raise
        return cached, None
    if cached and commit in cached.parts:
        return cached, checksum
    return Path(hf_hub_download(**wanted.place, tqdm_class=_bar(wanted.file))), checksum


def _announced(wanted: _Wanted, patient: bool) -> tuple[str, str]:
    """The commit that the revision stands for, and the checksum of the file in it, of the hub; `patient` asks twice."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(**wanted.place)
    try:
        about = get_hf_file_metadata(url)
    except Exception as error:
        if not patient or not is_passing(error):
            raise
        time.sleep(_PAUSE)
        about = get_hf_file_metadata(url)
    # Both become names in the cache: a checksum of "../x" would leave it.
    commit, checksum = about.commit_hash or "", about.etag or ""
    if not _COMMIT.fullmatch(commit) or not _CHECKSUM.fullmatch(checksum):
        raise wanted.missing("what answers is not a hub: it tells no checksum", "check HF_ENDPOINT and the proxy")
    return commit, checksum


def _bar(name: str) -> type:
    """huggingface_hub's progress bar (on a terminal only), which also ends a transfer that begins anew for ever."""
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        restarts = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options | {"desc": name})  # type: ignore[no-untyped-call]  # not the address

        def update(self, n: float | None = 1) -> bool | None:
            self.restarts += (n or 0) < 0  # what came before is taken back when the server starts from 0
            if self.restarts > _RESTARTS:
                raise ConnectionError("the connection breaks again and again")
            return super().update(n)

    return Bar


def _verify(path: Path, checksum: str | None, wanted: _Wanted) -> None:
    """Compare the file with the checksum; one that differs leaves the cache, and `UserError` is raised."""
    # The cache's pointer names its blob by the checksum; only one step, as the blob may be a link of another name.
    known = path.readlink().name if path.is_symlink() else checksum or ""
    if not _CHECKSUM.fullmatch(known):
        return
    try:
        actual = _checksum(path, sha256=len(known) == 64)
    except OSError as error:
        raise wanted.missing(f"cannot read {path}: {error.strerror}", "check the disk") from error
    if actual != known:
        kind = "sha256" if len(known) == 64 else "git sha1"
        again = "unset HF_HUB_OFFLINE and " * is_offline() + "run the same again to download it anew"
        hint = again if _forget(path, known, wanted) else f"remove {path.resolve()}, {again}"
        raise wanted.error(f"{wanted} came damaged: its {kind} is {actual[:12]}, of the hub's it is {known[:12]}", hint)


def _checksum(path: Path, sha256: bool) -> str:
    """The sha256 of a file, or the sha1 that git gives it as a blob."""
    with path.open("rb") as stream:
        if sha256:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        header = f"blob {path.stat().st_size}\0".encode()
        return hashlib.file_digest(stream, lambda: hashlib.sha1(header, usedforsecurity=False)).hexdigest()


def _forget(path: Path, checksum: str, wanted: _Wanted) -> bool:
    """Remove a file from the cache: the pointer, the blob, and what that links to; False where the disk refuses."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE).resolve()
    blob = cache / f"models--{wanted.repo.replace('/', '--')}" / "blobs" / checksum
    try:
        if blob.resolve().is_relative_to(cache):  # a store that repositories share
            blob.resolve().unlink(missing_ok=True)
        blob.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
