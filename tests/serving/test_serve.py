"""The command `resmlp serve` as a process: its port, its signals, and what it refuses to start with."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from resmlp.cli.main import main
from resmlp.serving.networks import name_sources
from resmlp.utils.errors import UserError

COMMAND = [sys.executable, "-m", "resmlp", "serve"]


@contextmanager
def served(*args: str, env: dict[str, str] | None = None) -> Iterator[tuple[subprocess.Popen, str]]:
    """The process, and its address once it is ready."""
    process = subprocess.Popen(
        [*COMMAND, *args, "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **(env or {})},
    )
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield process, json.loads(line)["url"]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_after_the_answers(number, folders, png):
    """A request whose body is still coming is answered; a new one is not; the exit code is that of the signal."""
    with served(str(folders["plain"])) as (process, url):
        port = int(url.rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.putrequest("POST", "/v1/predict")
        connection.putheader("Content-Type", "image/png")
        connection.putheader("Content-Length", str(len(png)))
        connection.endheaders()
        connection.send(png[:100])
        time.sleep(0.3)
        process.send_signal(number)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                break
            time.sleep(0.02)
        else:
            pytest.fail("it still takes connections")
        assert process.poll() is None
        connection.send(png[100:])
        response = connection.getresponse()
        assert (response.status, "predictions" in json.loads(response.read())) == (200, True)
        connection.close()
        assert process.wait(60) == 128 + number
        assert process.stderr.read() == "stopped\n"


@pytest.mark.slow
def test_what_it_says_when_it_is_ready(folders):
    with served(f"mine={folders['plain']}", env={"RESMLP_TOKEN": "from-outside"}) as (process, url):
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
        connection.request("GET", "/health/ready")
        assert connection.getresponse().read() == b"ready\n"
        connection.request("GET", "/v1/models", headers={"Authorization": "Bearer from-outside"})
        assert json.loads(connection.getresponse().read())["models"][0]["name"] == "mine"
        connection.close()


def error_of(capsys, *args: str) -> str:
    assert main(["serve", *args]) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    return line


def test_a_port_in_use(folders, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = error_of(capsys, str(folders["plain"]), "--port", str(port))
    assert line == f"error: port {port} of 127.0.0.1 is in use (give another --port; 0 takes a free one)\n"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_other_machines_need_a_token(host, folders, capsys, monkeypatch):
    monkeypatch.delenv("RESMLP_TOKEN", raising=False)
    assert "without a token (add --token TOKEN" in error_of(capsys, str(folders["plain"]), "--host", host)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--host", "192.0.2.1", "--token", "abc"], "cannot listen at 192.0.2.1"),
        (["--token", ""], "--token is empty"),
        (["--token", "a b\n"], "--token"),
        (["--port", "70000"], "--port 70000"),
        (["--cors", "*"], "--cors *"),
        (["--limits.images", "0"], "--limits.images 0"),
        (["--limits.seconds", "nan"], "--limits.seconds nan"),
        (["--precision", "fp8"], "fp8"),
        (["no-such-model"], "no-such-model"),
    ],
)
def test_what_it_does_not_start_with(flags, words, folders, capsys):
    assert words in error_of(capsys, str(folders["plain"]), *flags)


def test_without_a_model_where_the_package_has_none(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("resmlp.hub.packaged.FOLDER", tmp_path)
    assert error_of(capsys).startswith(
        "error: no MODEL is given, and the package has no network cifar10 (resmlp serve MODEL)"
    )


@pytest.mark.slow
def test_weights_that_do_not_fit_end_it(folders, tmp_path, capsys):
    for name in ("model.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folders["plain"] / name).read_bytes()[: -5 if "safe" in name else None])
    assert "model.safetensors" in error_of(capsys, str(tmp_path), "--port", "0")
    assert threading.active_count() < 20


def test_the_names_of_models(folders, monkeypatch):
    monkeypatch.chdir(folders["plain"])
    plain = str(folders["plain"])
    assert list(name_sources([plain, f"b={plain}", "resmlp_s12"])) == ["plain", "b", "resmlp_s12"]
    assert list(name_sources(["."])) == ["plain"]
    assert list(name_sources([f"{plain}/model.safetensors"])) == ["plain"]
    assert list(name_sources(["timm:resnet10t"])) == ["resnet10t"]
    for models, words in (
        ([plain, plain], "two models are called plain"),
        ([f"a/b={plain}"], "cannot be the name"),
        ([f"={plain}"], "'' cannot be the name"),
        ([f"a\x1b={plain}"], "cannot be the name"),
    ):
        with pytest.raises(UserError, match=words):
            name_sources(models)
