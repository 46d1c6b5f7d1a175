"""Files of a test hub: complete, or one line with the cause."""

import hashlib
import os
import random
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from hubserver import Answer, Hub, etag, git_sha1

from resmlp.hub.client import client_settings
from resmlp.hub.download import fetch as fetch_in_process
from resmlp.utils.errors import UserError

REPO, WEIGHTS, CARD = "org/net", "model.safetensors", "config.json"
FILES = {WEIGHTS: random.Random(0).randbytes(100_000), CARD: b'{"name": "net"}\n', "sub/other.json": b"[]"}
OFFLINE = {"HF_HUB_OFFLINE": "1"}


@pytest.fixture(autouse=True)
def first(hub) -> str:
    """The hash of the first commit on the hub."""
    return hub.add(REPO, FILES)


def blobs(home):
    """All files in the cache that huggingface_hub could use as a download."""
    return [path for path in home.rglob("*") if {"blobs", "snapshots"} & set(path.parts) and not path.is_dir()]


def test_checksums_are_those_of_git():
    assert (
        git_sha1(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"
    )  # printf 'hello\n' | git hash-object --stdin


def test_the_import_loads_nothing_heavy():
    code = "import sys, resmlp.hub.download; print(*{'torch', 'huggingface_hub', 'httpx2'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""


@pytest.mark.parametrize("name", FILES)
def test_downloads_once(hub, fetch, name):
    assert fetch(REPO, name).content == FILES[name]
    asked = hub.asked()
    assert [request.split()[0] for request in asked] == ["HEAD", "HEAD", "GET"]
    assert fetch(REPO, name).content == FILES[name]
    assert hub.asked() == [f"HEAD /{REPO}/resolve/main/{name}"]
    assert fetch(REPO, name, **OFFLINE).content == FILES[name]
    assert hub.asked() == []


def test_offline_without_cache(hub, fetch, home):
    error = fetch(REPO, WEIGHTS, "the weights net.tag", **OFFLINE).error
    assert hub.asked() == []
    assert "the weights net.tag (org/net/model.safetensors)" in error
    assert "HF_HUB_OFFLINE" in error
    url = f"{hub.url}/org/net/resolve/main/model.safetensors"
    assert f"download {url}, save it as net.tag.safetensors and give that file" in error
    assert f"{home}/hub, set HF_HOME" in error


@pytest.mark.parametrize("name", [WEIGHTS, CARD])
def test_without_the_hub_a_folder_of_both_files_is_suggested(hub, fetch, name):
    hub.fault = 500
    url = f"{hub.url}/org/net/resolve/main/model.safetensors"
    assert f"download {url} and config.json into one folder and give that folder" in fetch(REPO, name).error


@pytest.mark.parametrize("value", ["abc", "", "-1", "1.5", "9" * 5000])
def test_invalid_timeouts(fetch, value):
    assert "HF_HUB_DOWNLOAD_TIMEOUT is" in fetch(REPO, CARD, HF_HUB_DOWNLOAD_TIMEOUT=value).error


@pytest.mark.parametrize("name", [WEIGHTS, CARD])
def test_wrong_bytes_leave_the_cache(hub, fetch, home, name):
    hub.fault = "wrong"
    error = fetch(REPO, name).error
    wrong = bytes(255 - byte for byte in FILES[name])
    assert f"org/net/{name} is damaged" in error
    assert etag(name, wrong)[:12] in error
    assert etag(name, FILES[name])[:12] in error
    assert blobs(home) == []
    hub.fault = None
    assert fetch(REPO, name).content == FILES[name]


@pytest.mark.parametrize("env", [{}, OFFLINE, {"HF_HUB_DISABLE_SYMLINKS": "1"}], ids=["online", "offline", "no links"])
def test_a_file_damaged_in_the_cache(hub, fetch, home, env):
    links = {key: value for key, value in env.items() if "SYMLINKS" in key}
    with Path(fetch(REPO, WEIGHTS, **links).out).open("r+b") as stream:
        stream.seek(5000)
        stream.write(b"bad")
    error = fetch(REPO, WEIGHTS, **env).error
    assert hashlib.sha256(FILES[WEIGHTS]).hexdigest()[:12] in error
    assert "run the same command again to download it" in error
    assert ("unset HF_HUB_OFFLINE and run" in error) == (env == OFFLINE)
    assert blobs(home) == []
    assert fetch(REPO, WEIGHTS, **links).content == FILES[WEIGHTS]


@pytest.mark.parametrize("whole", [True, False])
def test_a_blob_shared_by_repositories(hub, fetch, home, whole):
    """As huggingface_hub stores Xet files: the blob is a link to a file named by another hash."""
    fetch(REPO, WEIGHTS)
    blob = next(path for path in blobs(home) if not path.is_symlink())
    shared = home / "hub" / "blobs" / "ab" / ("ab" * 32)
    shared.parent.mkdir(parents=True)
    shared.write_bytes(FILES[WEIGHTS] if whole else FILES[WEIGHTS][::-1])
    blob.unlink()
    blob.symlink_to(os.path.relpath(shared, blob.parent))
    if whole:
        assert fetch(REPO, WEIGHTS, **OFFLINE).content == FILES[WEIGHTS]
    else:
        assert "damaged" in fetch(REPO, WEIGHTS, **OFFLINE).error
        assert blobs(home) == []


@pytest.mark.parametrize(
    ("fault", "words", "name"),
    [
        ("truncated", "shorter", WEIGHTS),
        ("truncated", "shorter", CARD),
        ("drop", "connection", WEIGHTS),
        ("gone", "refused", WEIGHTS),
    ],
)
def test_an_incomplete_file_is_not_used(hub, fetch, home, fault, words, name):
    hub.fault = fault
    error = fetch(REPO, name).error
    assert f"cannot fetch org/net/{name}" in error
    assert words in error
    assert blobs(home) == []
    assert len(hub.asked("GET")) <= 6


def test_a_broken_transfer_continues(hub, fetch):
    large = random.Random(1).randbytes(12 << 20)
    hub.add(REPO, {"large.bin": large})
    hub.fault, hub.drop_after = "drop once", 11 << 20
    assert fetch(REPO, "large.bin").content == large
    assert [headers.get("Range") for headers in hub.headers[-2:]] == [None, f"bytes={10 << 20}-"]  # chunks of 10 MiB


def test_endless_restarts_of_a_transfer_end(hub, fetch):
    hub.add(REPO, {"large.bin": bytes(12 << 20)})
    hub.fault, hub.drop_after = "drop anew", 11 << 20
    assert "again and again" in fetch(REPO, "large.bin").error
    assert len(hub.asked("GET")) == 5


def test_a_killed_process(hub, start, fetch, home):
    hub.fault = "stall"
    process = start(REPO, WEIGHTS)
    assert hub.stalled.wait(60)
    process.kill()
    process.communicate()
    assert not any("snapshots" in path.parts for path in blobs(home))
    hub.fault = None
    assert fetch(REPO, WEIGHTS).content == FILES[WEIGHTS]


def test_the_cache_is_used_without_the_hub(hub, fetch):
    fetch(REPO, WEIGHTS)
    for fault in ["portal", 401, 403, 500]:
        hub.fault = fault
        assert fetch(REPO, WEIGHTS).content == FILES[WEIGHTS]
    hub.leave()
    assert fetch(REPO, WEIGHTS).content == FILES[WEIGHTS]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("portal", "the server is not a hub"),
        (401, "(401)"),
        (403, "gated"),
        (404, "(404)"),
        (429, "answered 429"),
        (500, "answered 500"),
        ("no server", "Connection refused"),
    ],
)
def test_a_hub_that_fails(hub, fetch, home, fault, words):
    if fault == "no server":
        hub.leave()
    hub.fault = fault
    error = fetch(REPO, WEIGHTS, HF_TOKEN="hf_secret").error
    assert words in error
    assert f"{hub.url}/{REPO}/resolve/main/{WEIGHTS}" in error
    assert "secret" not in error
    assert blobs(home) == []


@pytest.mark.parametrize(
    ("repo", "name", "words"),
    [
        ("org/none", CARD, "no such repository"),
        (REPO, "none.json", "no such file"),
        (f"{REPO}@none", CARD, "no such revision"),
    ],
)
def test_missing_repositories_files_and_revisions(fetch, repo, name, words):
    error = fetch(repo, name).error
    assert words in error
    assert ("download http" in error) == (repo == "org/none"), "no URL is suggested for a file that does not exist"


def test_a_server_that_dies_between_two_requests(fetch, home):
    class Dying(Answer):
        def do_HEAD(self):  # noqa: N802
            super().do_HEAD()
            self.close_connection = True
            self.hub.leave()

    class DyingHub(Hub):
        answer = Dying

    with DyingHub() as dying:
        dying.add(REPO, FILES)
        assert "check the network" in fetch(REPO, CARD, HF_ENDPOINT=dying.url).error
        assert len(dying.asked()) == 1
    assert blobs(home) == []


def test_no_such_host(fetch):
    assert "check the network" in fetch(REPO, CARD, HF_ENDPOINT="http://hub.invalid").error


@pytest.mark.parametrize("endpoint", ["", "hub", "ftp://x", "http://", "http://x:99999", "http://x:y"])
def test_invalid_endpoints(monkeypatch, endpoint):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(UserError, match="HF_ENDPOINT"):
        fetch_in_process(REPO, CARD)


def test_a_commit_is_requested_once(hub, fetch, first):
    hub.add(REPO, {CARD: b"newer"})
    assert fetch(f"{REPO}@{first}", CARD).content == FILES[CARD]
    hub.asked()
    assert fetch(f"{REPO}@{first}", CARD).content == FILES[CARD]
    assert hub.asked() == []
    assert fetch(REPO, CARD).content == b"newer"
    assert fetch(REPO, CARD, **OFFLINE).content == b"newer"


def test_a_newer_commit(hub, fetch):
    fetch(REPO, WEIGHTS), fetch(REPO, CARD)
    hub.add(REPO, {CARD: b"newer"})
    hub.asked()
    assert fetch(REPO, WEIGHTS).content == FILES[WEIGHTS]
    assert hub.asked("GET") == []
    assert fetch(REPO, CARD).content == b"newer"


def test_a_file_removed_from_the_hub(hub, fetch):
    fetch(REPO, CARD)
    hub.repos[REPO] = []
    hub.add(REPO, {WEIGHTS: FILES[WEIGHTS]})
    assert "no such file" in fetch(REPO, CARD).error


@pytest.mark.parametrize("xet", [False, True])
def test_a_token_stays_with_the_hub(hub, fetch, xet):
    hub.xet = xet
    assert fetch(REPO, WEIGHTS, HF_TOKEN="hf_secret").content == FILES[WEIGHTS]
    tokens = {
        request.split("/")[1]: headers.get("authorization") for request, headers in zip(hub.requests, hub.headers)
    }
    assert tokens == {"org": "Bearer hf_secret", "cdn": None}


def test_an_invalid_token(fetch):
    error = fetch(REPO, WEIGHTS, HF_TOKEN="hf_sécret").error
    assert "HF_TOKEN" in error
    assert "cret" not in error


@pytest.mark.parametrize("tag", ["../../../../evil", "", "abc", "F" * 64])
def test_invalid_checksums(hub, fetch, home, tmp_path, tag):
    hub.tag = tag or " "
    assert "sends no checksum" in fetch(REPO, CARD).error
    assert blobs(home) == []
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize(
    "repo",
    [
        "",
        "/",
        "a/b/c",
        "../x",
        "a/..",
        "-a/b",
        "a/b-",
        "a--b",
        "a/b.git",
        "a b",
        "a\nb",
        "é/b",
        "x" * 97,
        "a/b@",
        "a/b@../x",
    ],
)
def test_hostile_repositories(repo):
    with pytest.raises(UserError) as caught:
        fetch_in_process(repo, CARD)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/../b", "/etc/passwd", "a//b", "a\\b", "a\n", "a\0", "é", "x" * 201]
)
def test_hostile_files(name):
    with pytest.raises(UserError, match="is not a file of org/net"):
        fetch_in_process(REPO, name)


def test_names_that_are_not_strings():
    for repo, name in [(None, CARD), (REPO, None), (REPO, ["x"]), (7, 7)]:
        with pytest.raises(UserError):
            fetch_in_process(repo, name)


def test_a_full_disk(fetch, home):
    assert "File too large" in fetch(REPO, WEIGHTS, "--small-disk").error
    assert blobs(home) == []
    assert fetch(REPO, WEIGHTS).content == FILES[WEIGHTS]


def test_a_read_only_home(fetch, tmp_path):
    (tmp_path / "file").touch()
    assert "HF_HOME" in fetch(REPO, WEIGHTS, HF_HOME=str(tmp_path / "file" / "hf")).error
    assert "file/hub: " in fetch(REPO, WEIGHTS, HF_HUB_CACHE=str(tmp_path / "file" / "hub")).error


def test_two_at_once(hub, start):
    both = [start(REPO, WEIGHTS), start(REPO, WEIGHTS)]
    for process in both:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert Path(out.strip()).read_bytes() == FILES[WEIGHTS]


def test_a_progress_bar_on_a_terminal(start, terminal):
    master, slave = terminal
    process = start(REPO, WEIGHTS, stderr=slave)
    assert process.communicate(timeout=60)[0].endswith(f"{WEIGHTS}\n")
    os.close(slave)
    assert f"{WEIGHTS}: 100%" in os.read(master, 10_000).decode()


def test_settings_of_huggingface_hub_are_restored():
    from huggingface_hub import constants
    from huggingface_hub.utils import logging

    before = vars(constants).copy(), logging.get_verbosity()
    with client_settings():
        assert (vars(constants), logging.get_verbosity()) != before
    assert (vars(constants), logging.get_verbosity()) == before


def test_the_test_hub_ends():
    with Hub() as hub:
        url = hub.url
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(OSError, match="refused"):
        direct.open(url)
