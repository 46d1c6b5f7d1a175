"""`resmlp push` to a test hub: an upload loads again, and a failed upload publishes nothing."""

import json
import shutil
from pathlib import Path

import pytest
import timm
import torch
from numeric import assert_rounded

import resmlp.timm  # noqa: F401  registers the names of resmlp
from resmlp import push
from resmlp.data import normalize
from resmlp.exporters.publish import upload, write_for_hub
from resmlp.inference import load
from resmlp.utils.errors import UserError

FILES = ["README.md", "config.json", "figures/confusion.png", "figures/curves.png"]
FILES += ["figures/reliability.png", "model.safetensors"]


@pytest.fixture
def hub(upload_hub):
    return upload_hub


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """The files of an upload of the trained network."""
    path = tmp_path_factory.mktemp("push") / "model"
    write_for_hub(str(trained), path, "me/colors", "mit")
    return path


@torch.no_grad()
def test_a_pushed_network_gives_the_same_logits(hub, trained, resmlp, tmp_path):
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
    original, pushed = load(trained, "cpu"), load("hf-hub:me/colors", "cpu")
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(original.logits(images), pushed.logits(images))
    assert pushed.classes == original.classes
    assert pushed.preprocessing == original.preprocessing
    inputs = normalize(images, original.preprocessing.mean, original.preprocessing.std)
    of_timm = timm.create_model("hf-hub:me/colors", pretrained=True, cache_dir=str(tmp_path / "hf")).eval()
    assert_rounded(original.logits(images), of_timm, inputs)


def test_the_python_function_gives_what_the_command_prints(hub, trained, resmlp, capsys):
    flags = ("me/colors", "--license", "mit")
    printed = json.loads(resmlp("push", trained, *flags, "--json").out)
    text = resmlp("push", trained, *flags).out
    result = push(trained, "me/colors", license="mit")
    assert result.to_dict() == printed
    assert f"{result}\n" == text
    assert capsys.readouterr().out == ""


def test_a_second_push_is_a_commit_in_the_same_repository(hub, trained, resmlp):
    assert resmlp("push", trained, "me/colors", "--license", "mit").code == 0
    assert resmlp("push", trained, "me/colors", "--license", "apache-2.0").code == 0
    readmes = [files["README.md"].decode() for _, files in hub.repos["me/colors"]]
    assert ["license: mit" in readme for readme in readmes] == [True, False]


def test_a_missing_license_gives_a_note(hub, trained, resmlp):
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


def test_private_is_refused_for_a_public_repository(hub, trained, resmlp):
    hub.add("me/open", {"README.md": b""})
    ended = resmlp("push", trained, "me/open", "--private")
    assert ended.code == 2
    assert "me/open exists already and is public" in ended.error
    assert len(hub.repos["me/open"]) == 1


@pytest.mark.parametrize(
    ("fault", "message"),
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
def test_a_failed_upload_publishes_nothing(fault, message, hub, folder):
    hub.upload_fault = fault
    with pytest.raises(UserError) as ended:
        upload(folder, "me/colors")
    assert str(ended.value).startswith("cannot push to me/colors: ")
    assert message in str(ended.value)
    assert hub.repos == {}
    assert ("a repository created for it remains, empty" in ended.value.hint) == (hub.empty == {"me/colors"})
    hub.upload_fault = ("", 0)
    assert upload(folder, "me/colors") == f"{hub.url}/me/colors", "the same again"


def test_an_existing_repository_is_not_called_empty(hub, folder):
    hub.add("me/colors", {"README.md": b""})
    hub.upload_fault = ("commit", 500)
    with pytest.raises(UserError) as ended:
        upload(folder, "me/colors")
    assert "remains" not in ended.value.hint
    assert len(hub.repos["me/colors"]) == 1


def test_a_response_that_is_not_json(hub, folder, monkeypatch):
    """A portal answers with a page."""
    monkeypatch.setattr("huggingface_hub.ModelCard.validate", lambda card: None)
    hub.upload_fault = ("validate", 500)
    with pytest.raises(UserError, match="the response is not that of a hub.*try again later"):
        upload(folder, "me/colors")


@pytest.mark.parametrize("name", ["HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT", "HF_ENDPOINT"])
def test_an_invalid_setting_is_named(name, hub, trained, resmlp, monkeypatch):
    monkeypatch.setenv(name, "abc")
    ended = resmlp("push", trained, "me/colors")
    assert ended.code == 2
    assert f"{name} is 'abc'" in ended.error
    assert hub.requests == []


@pytest.mark.parametrize(("token", "status"), [("hf_stranger", "(401)"), ("hf_reader", "(403)")])
def test_tokens_without_write_access(token, status, hub, trained, resmlp, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", token)
    ended = resmlp("push", trained, "me/colors")
    assert ended.code == 2
    assert status in ended.error
    assert token not in ended.err
    assert "note:" not in ended.err, "no card was written"


def test_without_a_token(hub, trained, resmlp, monkeypatch):
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


def test_an_unknown_license(hub, trained, resmlp):
    ended = resmlp("push", trained, "me/colors", "--license", "my-own")
    assert ended.code == 2
    assert '"license" must be one of [apache-2.0, mit]' in ended.error
    assert "does the hub know the --license?" in ended.error
    assert hub.repos == {}
    assert hub.empty == set(), "no repository was created"


@pytest.mark.parametrize(
    "repo", ["colors", "me/", "/me", "me/a/b", "me/a b", "../x", "me/..", "me/x.git", "me/" + "x" * 97]
)
def test_invalid_repository_names(repo, hub, trained, resmlp, tmp_path):
    ended = resmlp("push", trained, repo, "--out", tmp_path / "out")
    assert ended.code == 2
    assert "is not a repository name" in ended.error
    assert not (tmp_path / "out").exists()
    assert hub.requests == []


def test_out_uploads_nothing(hub, trained, resmlp, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    done = resmlp("push", trained, "me/colors", "--out", "out", "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert (result["repo"], result["url"]) == ("me/colors", None)
    assert sorted(str(p.relative_to("out")) for p in Path("out").rglob("*") if p.is_file()) == result["files"]
    assert hub.requests == []
    assert "out exists already" in resmlp("push", trained, "me/colors", "--out", "out").error


@pytest.mark.parametrize(
    ("model", "message"),
    [("resmlp_s12", "are random"), ("timm:resmlp_12_224", "is not a resmlp network"), ("nowhere/run", "no model at")],
)
def test_models_that_cannot_be_pushed(model, message, hub, resmlp):
    ended = resmlp("push", model, "me/colors")
    assert ended.code == 2
    assert message in ended.error
    assert hub.requests == []
