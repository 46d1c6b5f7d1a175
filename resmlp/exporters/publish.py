"""A trained network on the Hugging Face hub, for resmlp, timm and transformers."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors.torch import save

from resmlp.config.model_json import ModelConfig
from resmlp.config.pretrained import Published
from resmlp.exporters.export import trunk_of
from resmlp.exporters.modelcard import model_card
from resmlp.exporters.provenance import Provenance, PublishedProvenance, RunProvenance
from resmlp.hub.client import check_settings, client_settings, explain, is_transient, status_of, translated
from resmlp.hub.config_json import timm_name, to_hub
from resmlp.hub.resolve import Source, resolve
from resmlp.models import open_model
from resmlp.models.weight_formats import to_timm
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, notice
from resmlp.utils.files import write_folder, write_json, write_text
from resmlp.utils.run_folder import FIGURES, WEIGHTS

LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{1,63}")


@dataclass(frozen=True)
class PushResult:
    """What `push` wrote or uploaded."""

    repo: str
    url: str | None
    """page of the repository; None if nothing was uploaded"""
    files: tuple[str, ...]
    out: Path | None = None
    """the local folder, if one was asked for"""

    def to_dict(self) -> dict[str, Any]:
        """The object that `resmlp push --json` prints."""
        return {"repo": self.repo, "url": self.url, "files": list(self.files)}

    def __str__(self) -> str:
        return f"{self.url or self.out}: {', '.join(self.files)}"


def push(
    model: str | Path | Source,
    repo: str,
    *,
    private: bool = False,
    license: str | None = None,
    out: str | Path | None = None,
) -> PushResult:
    """Publish MODEL, a trained classifier, with a model card in the repository `repo` ("ORG/NAME") of the hub.

    `license` is an identifier of the hub, such as "apache-2.0"; published weights keep theirs. With `out` the files
    are written into that new folder and nothing is uploaded. Raises `UserError`.
    """
    check_names(repo, license)
    source = resolve(model)
    source.expect(ModelConfig)
    if out is None:
        check_token()
    weights = published_weights(source)
    license = license or (weights.license if weights else None)
    with TemporaryDirectory(prefix="resmlp-push-") as temporary:
        folder = Path(temporary) / "model" if out is None else Path(out)
        files = write_for_hub(source, folder, repo, license)
        url = upload(folder, repo, private) if out is None else None
    if license is None:
        notice("the model card states no license, so nobody may use the weights: give --license, such as apache-2.0")
    return PushResult(repo, url, tuple(files), None if out is None else Path(out))


def write_for_hub(model: str | Path | Source, folder: Path, repo: str, license: str | None = None) -> list[str]:
    """Write the files of a repository into a new `folder`, all or none; returns their names.

    `model.safetensors` (with the keys of timm if timm has the network), `config.json`, `README.md` (the model card of
    `repo`), and the figures of a run. Raises `UserError` for an untrained model, for a model that is not a resmlp
    network, and for an existing folder.
    """
    check_names(repo, license)
    demand(not folder.exists(), f"{folder} exists already", "choose another --out, or remove it")
    source = resolve(model)
    saved = open_model(source)
    trunk = trunk_of(saved, source.name)
    demand(source.trained, f"the weights of {source} are random", "give a run folder, or a file of weights")
    network = trunk.config
    config = to_hub(ModelConfig(network, saved.preprocessing, saved.classes, saved.threshold))
    if saved.words:
        config["label_descriptions"] = dict(zip(saved.classes, saved.words))
    provenance = provenance_of(source)
    card = model_card(repo, config, network, saved.words or saved.classes, provenance, license)
    state = {key: tensor.contiguous() for key, tensor in trunk.state_dict().items()}
    state = to_timm(state) if timm_name(network.architecture) else state

    def fill(place: Path) -> None:
        (place / WEIGHTS).write_bytes(save(state, metadata={"format": "pt"}))  # transformers requires it
        write_json(place / "config.json", config)
        write_text(place / "README.md", card)
        for figure in provenance.figures:
            (place / FIGURES).mkdir(exist_ok=True)
            (place / FIGURES / figure.name).write_bytes(figure.read_bytes())

    write_folder(folder, fill)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def published_weights(source: Source) -> Published | None:
    """The published weights that a MODEL names; None for a local copy and any other MODEL."""
    return source.published if source.path is None else None


def provenance_of(source: Source) -> Provenance:
    """The origin of the weights of a MODEL."""
    if weights := published_weights(source):
        return PublishedProvenance(weights)
    return RunProvenance.read(source.folder) if source.folder else RunProvenance()


def upload(folder: Path, repo: str, private: bool = False) -> str:
    """Upload `folder` to `repo` as one commit, so that all of it is published or nothing; returns the address.

    The hub checks the model card first. Then a missing repository is created; it stays, empty, if the upload fails.
    Raises `UserError`.
    """
    from huggingface_hub import HfApi, ModelCard

    check_names(repo)
    check_token()
    api = HfApi(library_name="resmlp")
    with client_settings(), _progress_bars():
        with translated(lambda error: _failure(repo, error)):
            ModelCard((folder / "README.md").read_text(encoding="utf-8")).validate()
            new = not api.repo_exists(repo)
            api.create_repo(repo, private=private or None, exist_ok=True)
        remains = "; a repository created for it remains, empty" if new else ""
        with translated(lambda error: _failure(repo, error, remains)):
            public = private and not api.repo_info(repo).private
            hint = "make it private on its page, or leave out --private"
            demand(not public, f"{repo} exists already and is public", hint)
            api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Pushed by resmlp")
    return f"{api.endpoint}/{repo}"


def check_names(repo: str, license: str | None = None) -> None:
    """Raise `UserError` for an invalid repository name, license or setting of huggingface_hub."""
    check_settings()
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
        valid = repo.count("/") == 1
    except HFValidationError:
        valid = False
    demand(valid, f"{repo!r} is not a repository name", "ORG/NAME, of letters, digits, - _ and .")
    valid = license is None or bool(LICENSE.fullmatch(license))
    demand(valid, f"{license!r} is not a license identifier", "such as apache-2.0, mit or cc-by-4.0")


def check_token() -> None:
    """Raise `UserError` if no token for the hub is set."""
    check_settings()
    from huggingface_hub import get_token

    hint = "run `hf auth login`, or set HF_TOKEN to a token with write access"
    demand(bool(get_token()), "not logged in to the hub", hint)


@contextmanager
def _progress_bars() -> Iterator[None]:
    """Show progress bars on a terminal only, and close each: huggingface_hub leaves the bar of a failed upload open."""
    from huggingface_hub.utils import disable_progress_bars, tqdm

    with nullcontext() if sys.stderr.isatty() else disable_progress_bars():
        try:
            yield
        finally:
            for bar in [bar for bar in getattr(tqdm, "_instances", ()) if type(bar) is tqdm]:
                bar.close()


def _failure(repo: str, error: BaseException, remains: str = "") -> UserError:
    """The error of a failed upload: its cause, the remedy, and what remains on the hub."""
    cause, hint = _explain_upload(error)
    return UserError(f"cannot push to {repo}: {cause}", f"{hint}; nothing was published{remains}")


def _explain_upload(error: BaseException) -> tuple[str, str]:
    """The cause of a failed upload in a few words, and the remedy."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    # "Error while uploading 'x'" hides its cause; a ValueError says more than the response that caused it.
    while status_of(error) is None and error.__cause__ is not None and not isinstance(error, ValueError):
        error = error.__cause__
    status, text = status_of(error), " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set", "unset it"
    if isinstance(error, JSONDecodeError):
        return "the response is not that of a hub", "try again later, and check HF_ENDPOINT if it is set"
    if isinstance(error, ValueError):
        return f"the hub refuses the model card: {text[:300]}", "correct it; does the hub know the --license?"
    if status == 401:
        return "the hub does not know this token (401)", "run `hf auth login`, or set HF_TOKEN to one with write access"
    if status == 403:
        return "not allowed (403)", "check the ORG, and the write access of the token"
    if status is None or is_transient(error):
        return explain(error)
    return text[:200], "check the message of the hub"
