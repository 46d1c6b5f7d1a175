"""A test hub: an HTTP server that answers as huggingface.co does, and fails on request.

with Hub() as hub:
    hub.add("org/name", {"model.safetensors": b"...", "config.json": b"{}"})
    subprocess.run([...], env=hub.env(tmp_path / "hf"))
    hub.requests  # ["HEAD /org/name/resolve/main/config.json", ...]

Large files are served by a "content delivery network", as on huggingface.co: `/org/name/resolve/...` redirects to
another origin (the same server under the name localhost), which has no repositories and must not receive a token.

More endpoints: subclass `Answer` with `do_POST`, `do_PUT`, and `Hub` with `answer = ThatClass`.
"""

import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

LARGE = (".safetensors", ".bin", ".pt", ".pth", ".npz", ".onnx")
"""files in large-file storage: their ETag is a sha256; that of other files is the sha1 of the git blob"""


def git_sha1(content: bytes) -> str:
    """The output of `git hash-object`."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def etag(name: str, content: bytes) -> str:
    """The checksum that the hub sends for a file."""
    return hashlib.sha256(content).hexdigest() if name.endswith(LARGE) else git_sha1(content)


class Answer(BaseHTTPRequestHandler):
    """One request to `self.hub`."""

    protocol_version = "HTTP/1.1"
    server_version = "Hub/0"
    hub: "Hub"

    def log_message(self, *_):
        pass

    def parse_request(self) -> bool:
        """Record the request, and refuse it if `fault` of the hub is a status."""
        if not super().parse_request():
            return False
        if self.hub.closing.is_set():  # a connection that was kept open
            self.close_connection = True
            return False
        self.hub.requests.append(f"{self.command} {unquote(self.path)}")
        self.hub.headers.append(dict(self.headers))
        if isinstance(self.hub.fault, int):
            self.refuse(self.hub.fault, {403: "GatedRepo"}.get(self.hub.fault, ""))
            return False
        return True

    def reply(self, status: int, headers: dict[str, object], body: bytes = b"") -> None:
        """A complete response; without the body for HEAD."""
        self.send_response(status)
        self.send_header("X-HF-Warning", "unauthenticated; You are not logged in.")  # as huggingface.co does
        for key, value in ({"Content-Length": len(body)} | headers).items():
            self.send_header(key, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str = "") -> None:
        """An error response of the hub: its kind is in X-Error-Code."""
        closing = {"Connection": "close"}  # a body that was sent with the request has not been read
        why = {"X-Error-Code": code, "X-Error-Message": f"{code}!"} if code else {}
        self.reply(status, closing | why, b"Two\nlines.")

    def do_HEAD(self):  # noqa: N802
        self.do_GET()

    def do_GET(self):  # noqa: N802
        if self.hub.fault == "portal":
            return self.reply(200, {"Content-Type": "text/html"}, b"<html>Log in to this network</html>")
        parts = unquote(self.path).strip("/").split("/")
        if parts[0] == "cdn":
            content = self.hub.large.get(parts[1])
            return self.refuse(404) if content is None else self.transfer(content, {"ETag": '"cdn"'})
        if "resolve" not in parts:
            return self.refuse(404)
        at = parts.index("resolve")
        return self.resolve("/".join(parts[:at]), parts[at + 1], "/".join(parts[at + 2 :]))

    def resolve(self, repo: str, revision: str, name: str) -> None:
        """`GET /ORG/NAME/resolve/REVISION/FILE`."""
        if repo not in self.hub.repos:
            return self.refuse(401, "RepoNotFound")
        found = self.hub.at(repo, revision)
        if found is None:
            return self.refuse(404, "RevisionNotFound")
        commit, files = found
        if name not in files:
            return self.refuse(404, "EntryNotFound")
        content, tag = files[name], self.hub.tag or etag(name, files[name])
        headers: dict[str, object] = {"X-Repo-Commit": commit, "ETag": f'"{tag}"', "Accept-Ranges": "bytes"}
        if not name.endswith(LARGE):
            return self.transfer(content, headers)
        linked = {"X-Linked-Etag": f'"{tag}"', "X-Linked-Size": len(content), "ETag": '"pointer"'}
        self.hub.large[hashlib.sha256(content).hexdigest()] = content
        if self.hub.xet:
            refresh = f"{self.hub.url}/api/models/{repo}/xet-read-token/{commit}"
            linked |= {"X-Xet-Hash": "0" * 64, "X-Xet-Refresh-Route": refresh}
        away = f"http://localhost:{self.hub.port}/cdn/{hashlib.sha256(content).hexdigest()}"
        return self.reply(302, headers | linked | {"Location": away})

    def transfer(self, content: bytes, headers: dict[str, object]) -> None:
        """The bytes of a file or of its requested Range, changed by `fault` of the hub."""
        fault = self.hub.fault
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        start = 0 if fault == "drop anew" else start
        body, status = content[start:], 200
        if start:
            status, headers = 206, headers | {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        if self.command == "GET" and fault == "wrong":
            body = bytes(255 - byte for byte in body)
        if self.command == "GET" and fault == "truncated":
            body = body[: len(body) // 2]
        if self.command == "HEAD" or not str(fault).startswith(("drop", "gone", "stall")):
            self.reply(status, headers, body)
        else:
            self.reply(status, headers | {"Content-Length": len(body)}, body[: self.hub.drop_after or len(body) // 2])
            self.break_off()

    def break_off(self) -> None:
        """Break the connection after half a file."""
        self.wfile.flush()
        if self.hub.fault == "stall":
            self.hub.stalled.set()
            self.hub.closing.wait()
        elif self.hub.fault == "gone":
            self.hub.leave()
        elif self.hub.fault == "drop once":
            self.hub.fault = None
        self.close_connection = True


class Hub:
    """Repositories in memory, served at `url` within `with`.

    `fault` is the current fault: None; a status for every request (403: gated, 429, 500 ...); "portal", a log-in page
    for every request; or a fault in the bytes of a file: "truncated" (half of them, announced as such), "wrong" (as
    many others), "drop" (the connection breaks in the middle each time), "drop anew" (and Range is ignored), "drop
    once", "gone" (the server stops), "stall" (silence).
    """

    answer: type[Answer] = Answer

    def __init__(self):
        self.repos: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        """the commits of each repository with their files, oldest first"""
        self.large: dict[str, bytes] = {}
        self.fault: str | int | None = None
        self.tag = ""
        """an ETag that replaces the true one"""
        self.xet = False
        """whether large files are announced as Xet files; this hub has no Xet server"""
        self.drop_after = 0
        """bytes before the connection breaks; 0 for half of the file"""
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.stalled, self.closing = threading.Event(), threading.Event()

    def __enter__(self) -> "Hub":
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (self.answer,), {"hub": self}))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.leave()
        self._thread.join()

    def leave(self) -> None:
        """Stop the server: connections are refused."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def add(self, repo: str, files: dict[str, bytes]) -> str:
        """Add a commit that adds or replaces these files; returns its hash."""
        commits = self.repos.setdefault(repo, [])
        files = (commits[-1][1] if commits else {}) | files
        content = "".join(f"{name} {etag(name, files[name])}\n" for name in sorted(files))
        commits.append((hashlib.sha1(f"{len(commits)} {content}".encode()).hexdigest(), files))
        return commits[-1][0]

    def at(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit of a revision ("main" or a hash) and its files; None if there is none."""
        if revision == "main":
            return self.repos[repo][-1]
        return next((commit for commit in self.repos[repo] if commit[0] == revision), None)

    def asked(self, method: str = "") -> list[str]:
        """The requests so far, of one method; clears the record."""
        asked = [request for request in self.requests if request.startswith(method)]
        self.requests.clear()
        self.headers.clear()
        return asked

    def env(self, home: Path, **more: str) -> dict[str, str]:
        """The environment of a process that uses this hub, with its cache in `home`."""
        clean = {
            key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGINGFACE", "PYTEST"))
        }
        settings = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1,localhost"}
        return clean | settings | more
