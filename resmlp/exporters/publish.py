"""A trained network for the Hugging Face hub, where resmlp, timm and transformers can load it."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from json import JSONDecodeError
from pathlib import Path

from safetensors.torch import save

from resmlp.config.model_config import ModelConfig, TrunkConfig
from resmlp.config.pretrained import published
from resmlp.exporters.modelcard import model_card
from resmlp.exporters.provenance import Credit, Run
from resmlp.hub.client import check_settings, explained, is_passing, manners, reason, status_of
from resmlp.hub.config_json import timm_name, to_hub
from resmlp.hub.resolve import is_published
from resmlp.models import Saved, Trunk, open_model
from resmlp.models.convert import to_timm
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError
from resmlp.utils.files import write_folder, write_json, write_text
from resmlp.utils.run_folder import WEIGHTS

LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{1,63}")


def write_for_hub(model: str, folder: Path, repo: str, license: str | None = None) -> list[str]:
    """Write `model`, any MODEL of the command line, into a new `folder`, whole or not at all; the names of its files.

    `model.safetensors` (timm's keys where timm has the network, else ours), `config.json`, `README.md` (the model card
    of `repo`), and the figures of a run. `license` is an identifier of the hub's, such as "apache-2.0". Raises
    `UserError` for a model that is not trained or not ours, or a folder that is there already.
    """
    check_names(repo, license)
    demand(not folder.exists(), f"{folder} is there already", "choose another --out, or remove it")
    saved, network = _trained(model)
    config = to_hub(ModelConfig(network, saved.preprocessing, saved.classes))
    if saved.words:
        config["label_descriptions"] = dict(zip(saved.classes, saved.words))
    past = Credit(published(model)) if is_published(model) else Run.read(Path(model)) if Path(model).is_dir() else Run()
    card = model_card(repo, config, network, saved.words or saved.classes, past, license)
    state = {key: tensor.contiguous() for key, tensor in saved.model.state_dict().items()}
    state = to_timm(state) if timm_name(network.architecture) else state

    def fill(aside: Path) -> None:
        (aside / WEIGHTS).write_bytes(save(state, metadata={"format": "pt"}))  # transformers reads none without it
        write_json(aside / "config.json", config)
        write_text(aside / "README.md", card)
        for figure in past.figures:
            (aside / "figures").mkdir(exist_ok=True)
            (aside / "figures" / figure.name).write_bytes(figure.read_bytes())

    write_folder(folder, fill)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def push(folder: Path, repo: str, private: bool = False) -> str:
    """Upload `folder` to `repo` ("ORG/NAME") as one commit, so that it is published whole or not; returns its address.

    The hub checks the model card first. Then the repository is made where there is none, and it stays, empty, when the
    upload fails. Raises `UserError`.
    """
    from huggingface_hub import HfApi, ModelCard

    check_names(repo)
    check_token()
    api = HfApi(library_name="resmlp")
    with manners(), _bars():
        with explained(lambda error: _failure(repo, error)):
            ModelCard((folder / "README.md").read_text(encoding="utf-8")).validate()
            new = not api.repo_exists(repo)
            api.create_repo(repo, private=private or None, exist_ok=True)
        left = "; if not, the empty repository that was made for it stays" if new else ""
        with explained(lambda error: _failure(repo, error, left)):
            public = private and not api.repo_info(repo).private
            hint = "make it private on its page, or leave out --private"
            demand(not public, f"{repo} is there already, and public", hint)
            api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Pushed by resmlp")
    return f"{api.endpoint}/{repo}"


def check_names(repo: str, license: str | None = None) -> None:
    """Raise `UserError` for what cannot be a repository, or a license, of the hub, or a setting of its client."""
    check_settings()
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
        fine = repo.count("/") == 1
    except HFValidationError:
        fine = False
    demand(fine, f"{repo!r} is no repository of the hub", "ORG/NAME, of letters, digits, - _ and .")
    known = license is None or LICENSE.fullmatch(license)
    demand(bool(known), f"{license!r} is no license of the hub", "an identifier such as apache-2.0, mit or cc-by-4.0")


def check_token() -> None:
    """Raise `UserError` where nobody is logged in to the hub."""
    check_settings()
    from huggingface_hub import get_token

    demand(
        bool(get_token()), "not logged in to the hub", "run `hf auth login`, or set HF_TOKEN to a token that may write"
    )


def _trained(model: str) -> tuple[Saved, TrunkConfig]:
    saved, hint = open_model(model), "give a run folder, or a file of weights"
    if not isinstance(saved.model, Trunk):
        raise UserError(f"{model} is no network of ours", hint)
    demand(saved.trained, f"the weights of {model} are random", hint)
    return saved, saved.model.config


@contextmanager
def _bars() -> Iterator[None]:
    """Progress bars on a terminal alone, and each ended here: huggingface_hub leaves that of a failed upload open."""
    from huggingface_hub.utils import disable_progress_bars, tqdm

    with nullcontext() if sys.stderr.isatty() else disable_progress_bars():
        try:
            yield
        finally:
            for bar in [bar for bar in getattr(tqdm, "_instances", ()) if type(bar) is tqdm]:
                bar.close()


def _failure(repo: str, error: BaseException, left: str = "") -> UserError:
    """Why an upload failed, in a few words, and the way out, and what it leaves on the hub."""
    why, hint = _reason(error)
    return UserError(f"cannot push to {repo}: {why}", f"{hint}; it is published whole or not at all{left}")


def _reason(error: BaseException) -> tuple[str, str]:
    """Why an upload failed, in a few words, and the way out."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    # "Error while uploading 'x'" is raised from what it was; a ValueError says more than the answer it is raised from.
    while status_of(error) is None and error.__cause__ is not None and not isinstance(error, ValueError):
        error = error.__cause__
    status, words = status_of(error), " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set", "unset it"
    if isinstance(error, JSONDecodeError):
        return "the server's answer is none of a hub's", "try again later, and check HF_ENDPOINT if it is set"
    if isinstance(error, ValueError):
        return f"the hub refuses the model card: {words[:300]}", "put that right: is --license one that the hub knows?"
    if status == 401:
        return "the hub does not know this token (401)", "run `hf auth login`, or set HF_TOKEN to one that may write"
    if status == 403:
        return "not allowed (403)", "check the ORG, and that the token may write there"
    if status is None or is_passing(error):
        return reason(error)
    return words[:200], "check what the hub says"
