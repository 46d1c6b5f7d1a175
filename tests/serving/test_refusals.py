"""Every status of a refusal, each with one line; hostile bodies and images."""

import contextlib
import io
import logging
import socket
import struct
import time
import zlib
from urllib.parse import urlencode

import pytest
from clients import Held, Together, cut, head, until
from PIL import Image

from resmlp.serving.limits import Limits


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = zlib.compress(bytes((width + 1) * 20), 9)  # the first ones; nobody should get so far
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def test_a_large_body_is_refused_before_it_is_sent(start):
    running = start("plain", limits=Limits(bytes=10_000))
    with socket.create_connection(("127.0.0.1", running.port), 10) as connection:
        connection.sendall(head(9_999_999))
        answer = b"".join(iter(lambda: connection.recv(4096), b""))  # nothing of the body was sent
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"the body has 9,999,999 bytes: at most 10,000" in answer


def test_a_large_body_of_unknown_length_is_refused_while_it_comes(start):
    running = start("plain", limits=Limits(bytes=10_000))
    with socket.create_connection(("127.0.0.1", running.port), 10) as connection:
        connection.sendall(head(None))
        for _ in range(4):
            connection.sendall(b"1000\r\n" + bytes(4096) + b"\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("side", [(20_000, 20_000), (60_000, 60_000), (8000, 8000)])
def test_a_bomb_is_refused_before_it_is_decoded(side, server, monkeypatch):
    decoded = []
    monkeypatch.setattr("resmlp.serving.images.decode", lambda *args: decoded.append(args))
    answer = server.post("/v1/predict?model=plain", bomb(*side))
    assert answer.status == 413
    assert "at most 50,000,000" in answer.error
    assert not decoded


def test_a_bomb_below_the_limit_of_pixels_is_refused_by_its_bytes(server):
    answer = server.post("/v1/segment", bomb(1, 40_000_000))
    assert (answer.status, "cannot read the image" in answer.error) == (422, True)


def test_many_images_are_refused(start, png):
    running = start("plain", limits=Limits(images=2))
    answer = running.post_json("/v1/predict", images=["aaaa"] * 3)
    assert (answer.status, answer.error) == (413, "the request has 3 inputs: at most 2")


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "text/plain", "", "video/mp4", "application/xml"]
)
def test_another_type_of_body(kind, server):
    answer = server.post("/v1/predict?model=plain", b"x", kind)
    assert answer.status == 415
    assert "send image/*" in answer.error


def test_a_compressed_body(server, png):
    answer = server.post("/v1/predict?model=plain", png, Content_Encoding="gzip")
    assert (answer.status, "compressed" in answer.error) == (415, True)


INVALID = {
    "text": (lambda png: b"hello, I am a text", "image/png", "cannot read the image: not an image"),
    "empty": (lambda png: b"", "image/png", "cannot read the image"),
    "truncated": (cut, "image/png", "cannot read the image"),
    "html": (lambda png: b"<!doctype html><script>alert(1)</script>", "image/png", "cannot read the image"),
    "not json": (lambda png: b"{", "application/json", "not valid JSON"),
    "deep json": (lambda png: b"[" * 100_000, "application/json", "not valid JSON"),
    "a list": (lambda png: b"[]", "application/json", "not a JSON object"),
    "no image": (lambda png: b"{}", "application/json", '"image" or "images"'),
    "no images": (lambda png: b'{"images": []}', "application/json", "no input"),
    "a number": (lambda png: b'{"image": 3}', "application/json", "list of strings"),
    "no base64": (lambda png: b'{"image": "a b"}', "application/json", "image 1 is not valid base64"),
    "unknown option": (
        lambda png: b'{"image": "", "tap": 3}',
        "application/json",
        "unknown field tap (did you mean top",
    ),
    "bad top": (lambda png: b'{"image": "", "top": "many"}', "application/json", "top is 'many'"),
    "top 0": (lambda png: b'{"image": "", "top": 0}', "application/json", "top 0"),
    "a size": (
        lambda png: b'{"image": "", "size": "9x9"}',
        "application/json",
        "size 9x9: plain takes 8x12, 12x16, 16x24, 20x32, 24x36, 32x48",
    ),
    "a model": (lambda png: b'{"image": "", "model": 3}', "application/json", "model should be a string"),
    "no boundary": (lambda png: b"x", "multipart/form-data", "the form cannot be read"),
    "bad form": (lambda png: b"--b\r\nnonsense", "multipart/form-data; boundary=b", ""),
}


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_input_is_named_in_one_line(name, server, png):
    change, kind, words = INVALID[name]
    query = "" if name == "a model" else "?model=plain"
    answer = server.post(f"/v1/predict{query}", change(png), kind)
    assert answer.status == 422
    assert words in answer.error


@pytest.mark.parametrize("size", ["16", "16x24x3", "-16x24", "", "0x0", "99999x99999", "<b>"])
def test_a_size_that_is_not_offered(size, server, png):
    for ask in (
        lambda: server.post_json("/v1/embed", image="", model="plain", size=size),
        lambda: server.ask("GET", f"/v1/look?{urlencode({'model': 'plain', 'row': 0, 'column': 0, 'size': size})}"),
    ):
        answer = ask()
        assert (answer.status, "plain takes 8x12, 12x16, 16x24" in answer.error) == (422, True)


def test_the_image_of_several_that_cannot_be_read_is_named(server, png):
    import base64

    texts = [base64.b64encode(data).decode() for data in (png, cut(png), png)]
    answer = server.post_json("/v1/predict", images=texts, model="plain")
    assert (answer.status, answer.error.startswith("cannot read image 2: ")) == (422, True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"text": "one " * 200}, "sentence 1 is longer than the"),
        ({"texts": ["one", "x" * 10_001]}, "sentence 2 is longer than the"),
        ({"text": "one", "beam": 1000}, "beam 1000"),
        ({"texts": ["one", 2]}, "list of strings"),
        ({"texts": ["one", "\ud800"]}, "string 2 of texts is not valid Unicode"),
        ({"text": "one \udfff"}, "string 1 of texts is not valid Unicode"),
    ],
)
def test_a_sentence_that_cannot_be_translated(body, words, server):
    answer = server.post_json("/v1/translate", **body)
    assert answer.status == 422
    assert words in answer.error


@pytest.mark.parametrize(
    "body", [b"--b\r\nnonsense", b"garbage", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--bx"]
)
def test_a_form_that_cannot_be_read_leaves_no_line_in_the_log(body, server, monkeypatch, capfd):
    monkeypatch.setattr(logging.root, "handlers", [])  # those of pytest
    assert server.post("/v1/predict?model=plain", body, "multipart/form-data; boundary=b").status == 422
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("number", ["1_0", "+1", " 1", "\u0661", "1.0", "0x1", ""])
def test_a_number_of_an_option_has_plain_digits(number, server, png):
    for path in ("/v1/predict", "/v1/translate"):
        name, kind, body = ("top", "image/png", png) if path == "/v1/predict" else ("beam", "text/plain", b"one")
        answer = server.post(f"{path}?{urlencode({name: number})}" + "&model=plain" * (name == "top"), body, kind)
        assert (answer.status, answer.error.startswith(f"{name} is '")) == (422, True)


def test_text_that_is_not_utf_8(server):
    assert server.post("/v1/translate", b"one\n\xed\xa0\x80", "text/plain").error == "the text is not UTF-8"
    assert server.post("/v1/translate", b"\xff\xfe", "text/plain").error == "the text is not UTF-8"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/v1/predict", 405), ("POST", "/v1/look", 405), ("GET", "/page/../app.py", 404)],
)
def test_another_address_or_method(method, path, status, server):
    answer = server.ask(method, path)
    assert answer.status == status
    assert answer.error


def test_a_model_that_is_not_there_or_does_something_else(server, png):
    assert server.post("/v1/predict?model=plan", png).error == "no model 'plan' (did you mean plain?)"
    assert server.post("/v1/segment?model=plain", png).status == 404
    several = server.post("/v1/predict", png)
    assert (several.status, several.error) == (422, "several models can predict: give model, one of plain, mixer")


def test_names_are_escaped_in_messages_and_never_html(server):
    answer = server.ask("GET", "/%3Cscript%3E%0A%1b")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.error.isprintable()


def test_headers_that_do_not_end(server, monkeypatch):
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                connection.sendall(b"x" * 2**16)
                time.sleep(0.01)
        with contextlib.suppress(ConnectionError):
            received = connection.recv(100)
            assert received == b"" or received.startswith(b"HTTP/1.1 400")
    monkeypatch.setattr("resmlp.serving.protocol.SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: local")
        assert connection.recv(100) == b""


def test_a_token_is_asked_for(start, png):
    running = start("plain", token="secret-7")
    assert running.ask("GET", "/").status == 200
    assert running.ask("GET", "/health/ready").status == 200
    missing = running.post("/v1/predict", png)
    assert (missing.status, missing.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "Authorization: Bearer" in missing.error
    assert running.ask("GET", "/metrics").status == 401
    for wrong in ("Bearer secret-8", "Bearer ", "bearer secret-77"):
        assert running.post("/v1/predict", png, Authorization=wrong).status == 403
    assert running.post("/v1/predict", png, Authorization="Basic secret-7").status == 401
    assert running.post("/v1/predict", png, Authorization="Bearer secret-7").status == 200
    assert running.ask("GET", "/v1/models", Host="any.example", Authorization="Bearer secret-7").status == 200


def test_without_a_token_only_this_machine_is_answered(server, png):
    """A name that was pointed here (DNS rebinding), and a page of another origin."""
    hosts = [{"Host": host} for host in ("evil.example", "localhost.evil.example", "[", "")]
    for headers in (*hosts, {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://["}):
        answer = server.post("/v1/predict?model=plain", png, **headers)
        assert answer.status == 403
        assert "Access-Control-Allow-Origin" not in answer.headers
    same = server.post("/v1/predict?model=plain", png, Host="localhost:1", Origin="http://localhost:1")
    assert same.status == 200


def test_cors_for_one_origin(start, png):
    running = start("plain", cors="https://good.example")
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type"}
    preflight = running.ask("OPTIONS", "/v1/predict", Origin="https://good.example", **asked)
    assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (200, "https://good.example")
    answer = running.post("/v1/predict", png, Origin="https://good.example")
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "https://good.example")
    assert running.post("/v1/predict", png, Origin="https://evil.example").status == 403


def test_before_the_models_are_loaded(start, png):
    running = start("plain", load=False)
    assert running.ask("GET", "/health/live").status == 200
    assert running.ask("GET", "/health/ready").status == 503
    answer = running.post("/v1/predict", png)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


def test_a_full_queue(start, png):
    running = start("plain", limits=Limits(queue=3))
    held = Held(running)
    asked = Together(lambda: running.post("/v1/predict", png), 8)
    until(lambda: len(asked.answers) == 5)
    for refused in asked.answers:
        assert (refused.status, refused.error) == (429, "3 images are waiting, as many as the server takes")
        assert int(refused.headers["Retry-After"]) >= 1
    held.go.set()
    assert [answer.status for answer in asked.all()[5:]] == [200] * 3
    until(lambda: running.state.room.images == running.state.room.bytes == 0)
    assert running.post("/v1/predict", png).status == 200


def test_full_memory(start, png):
    running = start("plain", limits=Limits(memory=100))
    answer = running.post("/v1/predict", png)
    assert (answer.status, "memory" in answer.error) == (429, True)


def test_a_segmenter_counts_the_pixels_that_it_holds(start):
    running = start("areas", limits=Limits(memory=300_000))
    file = io.BytesIO()
    Image.new("L", (400, 400)).save(file, "png")
    assert running.post("/v1/segment", file.getvalue()).status == 429


def test_time_is_limited_and_what_waits_is_dropped(start, png):
    running = start("plain", limits=Limits(seconds=3))
    held = Held(running)
    runs = Together(lambda: running.post("/v1/predict", png))
    until(lambda: held.batches == [1])  # before the others come, which would be in its batch
    wait = Together(lambda: running.post("/v1/predict", png), 2)
    refused = [(answer.status, answer.error) for answer in runs.all() + wait.all()]
    assert refused == [(504, "no answer within 3 seconds")] * 3
    until(lambda: held.waiting() == 0)
    held.go.set()
    assert running.post("/v1/predict", png).status == 200
    assert held.batches == [1, 1]  # nothing that was given up ran later
    assert running.state.room.images == 0
