"""`resmlp push` against a hub of our own: what is uploaded loads again, and what fails publishes nothing."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import timm
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "hub"))  # for `uploads`
from uploads import UploadHub

import resmlp.timm  # noqa: F401  registers our names
from resmlp.data import normalize
from resmlp.exporters.publish import push, write_for_hub
from resmlp.inference import load
from resmlp.utils.errors import UserError

FILES = ["README.md", "config.json", "figures/confusion.png", "figures/curves.png", "model.safetensors"]


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The hub that huggingface_hub in this process talks to, with a token that may write and a cache of its own."""
    from huggingface_hub import close_session, constants

    with UploadHub() as hub:
        for name, value in {
            "ENDPOINT": hub.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(tmp_path / "hf"),
            "HF_TOKEN_PATH": str(tmp_path / "no-token"),
        }.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "hf_good")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        close_session()
        yield hub
    close_session()


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """What is uploaded of it."""
    path = tmp_path_factory.mktemp("push") / "model"
    write_for_hub(str(trained), path, "me/colors", "mit")
    return path


@torch.no_grad()
def test_what_is_pushed_loads_with_the_same_logits(hub, trained, resmlp, tmp_path):
    trained = shutil.copytree(trained, tmp_path / "run")  # other tests draw figures into the shared one
    shutil.rmtree(trained / "figures")
    assert resmlp("eval", trained, "--device", "cpu").code == 0  # draws the confusion matrix
    (trained / "figures" / "curves.png").write_bytes(b"curves")
    done = resmlp("push", trained, "me/colors", "--license", "mit", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"repo": "me/colors", "url": f"{hub.url}/me/colors", "files": FILES}
    assert sorted(hub.repos["me/colors"][-1][1]) == FILES
    assert len(hub.repos["me/colors"]) == 1, "one commit"
    assert "note:" not in done.err
    mine, theirs = load(trained, "cpu"), load("hf-hub:me/colors", "cpu")
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(mine.logits(images), theirs.logits(images))
    assert theirs.classes == mine.classes
    assert theirs.preprocessing == mine.preprocessing
    inputs = normalize(images, mine.preprocessing.mean, mine.preprocessing.std)
    of_timm = timm.create_model("hf-hub:me/colors", pretrained=True, cache_dir=str(tmp_path / "hf")).eval()
    torch.testing.assert_close(of_timm(inputs), mine.logits(images), atol=1e-5, rtol=1e-5)


def test_again_is_another_commit_in_the_same_repository(hub, trained, resmlp):
    assert resmlp("push", trained, "me/colors", "--license", "mit").code == 0
    assert resmlp("push", trained, "me/colors", "--license", "apache-2.0").code == 0
    readmes = [files["README.md"].decode() for _, files in hub.repos["me/colors"]]
    assert ["license: mit" in readme for readme in readmes] == [True, False]


def test_without_a_license_it_says_so(hub, trained, resmlp):
    done = resmlp("push", trained, "me/colors")
    assert done.code == 0
    assert "note: the model card states no license" in done.err
    assert done.out.startswith(f"{hub.url}/me/colors: README.md, ")
    assert "license:" not in hub.repos["me/colors"][-1][1]["README.md"].decode()


def test_private(hub, trained, resmlp):
    assert resmlp("push", trained, "me/secret", "--private", "--license", "mit").code == 0
    assert hub.private == {"me/secret"}
    assert resmlp("push", trained, "me/open", "--license", "mit").code == 0
    assert hub.private == {"me/secret"}


def test_private_is_not_pushed_to_what_is_public(hub, trained, resmlp):
    hub.add("me/open", {"README.md": b""})
    ended = resmlp("push", trained, "me/open", "--private")
    assert ended.code == 2
    assert "me/open is there already, and public" in ended.error
    assert len(hub.repos["me/open"]) == 1


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (("validate", 403), "not allowed (403)"),
        (("validate", 429), "the server answered 429 (try again later"),
        (("validate", 500), "the server answered 500 (try again later"),
        (("create", 429), "the server answered 429 (try again later"),
        (("create", 401), "does not know this token (401)"),
        (("create", 403), "not allowed (403)"),
        (("create", 500), "the server answered 500"),
        (("create", "drop"), "check the network"),
        (("preupload", 403), "not allowed (403)"),
        (("put", 403), "not allowed (403)"),
        (("commit", 401), "does not know this token (401)"),
        (("commit", 500), "the server answered 500"),
        (("commit", "drop"), "check the network"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_a_failed_upload_is_said_in_a_line_and_publishes_nothing(fault, says, hub, folder):
    hub.upload_fault = fault
    with pytest.raises(UserError) as ended:
        push(folder, "me/colors")
    assert str(ended.value).startswith("cannot push to me/colors: ")
    assert says in str(ended.value)
    assert hub.repos == {}
    assert ("the empty repository that was made for it stays" in ended.value.hint) == (hub.empty == {"me/colors"})
    hub.upload_fault = ("", 0)
    assert push(folder, "me/colors") == f"{hub.url}/me/colors", "the same again"


def test_what_was_there_before_is_not_called_empty(hub, folder):
    hub.add("me/colors", {"README.md": b""})
    hub.upload_fault = ("commit", 500)
    with pytest.raises(UserError) as ended:
        push(folder, "me/colors")
    assert "stays" not in ended.value.hint
    assert len(hub.repos["me/colors"]) == 1


def test_an_answer_that_is_no_hubs(hub, folder, monkeypatch):
    """The client reads the answers as JSON; a portal's are none."""
    monkeypatch.setattr("huggingface_hub.ModelCard.validate", lambda card: None)
    hub.upload_fault = ("validate", 500)
    with pytest.raises(UserError, match="none of a hub's.*try again later"):
        push(folder, "me/colors")


@pytest.mark.parametrize("name", ["HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT", "HF_ENDPOINT"])
def test_a_setting_that_is_none_is_named(name, hub, trained, resmlp, monkeypatch):
    monkeypatch.setenv(name, "abc")
    ended = resmlp("push", trained, "me/colors")
    assert ended.code == 2
    assert f"{name} is 'abc'" in ended.error
    assert hub.requests == []


@pytest.mark.parametrize(("token", "says"), [("hf_stranger", "(401)"), ("hf_reader", "(403)")])
def test_tokens_that_may_not_write(token, says, hub, trained, resmlp, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", token)
    ended = resmlp("push", trained, "me/colors")
    assert ended.code == 2
    assert says in ended.error
    assert token not in ended.err
    assert "note:" not in ended.err, "there is no card"


def test_without_a_token_nothing_is_done(hub, trained, resmlp, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    ended = resmlp("push", trained, "me/colors")
    assert ended.code == 2
    assert "not logged in" in ended.error
    assert "hf auth login" in ended.error
    assert hub.requests == []


def test_without_a_network(hub, trained, resmlp, monkeypatch):
    hub.leave()
    ended = resmlp("push", trained, "me/colors")
    assert ended.code == 2
    assert "check the network" in ended.error


def test_offline(hub, trained, resmlp, monkeypatch):
    from huggingface_hub import close_session, constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()
    ended = resmlp("push", trained, "me/colors")
    assert ended.code == 2
    assert "cannot push to me/colors: HF_HUB_OFFLINE is set (unset it" in ended.error
    assert hub.requests == []


def test_a_license_that_the_hub_refuses(hub, trained, resmlp):
    ended = resmlp("push", trained, "me/colors", "--license", "my-own")
    assert ended.code == 2
    assert '"license" must be one of [apache-2.0, mit]' in ended.error
    assert "is --license one that the hub knows?" in ended.error
    assert hub.repos == {}
    assert hub.empty == set(), "nothing was made"


@pytest.mark.parametrize(
    "repo", ["colors", "me/", "/me", "me/a/b", "me/a b", "../x", "me/..", "me/x.git", "me/" + "x" * 97]
)
def test_bad_names_are_refused_before_anything(repo, hub, trained, resmlp, tmp_path):
    ended = resmlp("push", trained, repo, "--out", tmp_path / "out")
    assert ended.code == 2
    assert "no repository of the hub" in ended.error
    assert not (tmp_path / "out").exists()
    assert hub.requests == []


def test_out_writes_and_uploads_nothing(hub, trained, resmlp, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    done = resmlp("push", trained, "me/colors", "--out", "out", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["repo"], found["url"]) == ("me/colors", None)
    assert sorted(str(p.relative_to("out")) for p in Path("out").rglob("*") if p.is_file()) == found["files"]
    assert hub.requests == []
    assert "is there already" in resmlp("push", trained, "me/colors", "--out", "out").error


@pytest.mark.parametrize(
    ("model", "says"),
    [("resmlp_s12", "are random"), ("timm:resmlp_12_224", "no network of ours"), ("nowhere/run", "no model at")],
)
def test_models_that_cannot_be_pushed(model, says, hub, resmlp):
    ended = resmlp("push", model, "me/colors")
    assert ended.code == 2
    assert says in ended.error
    assert hub.requests == []
