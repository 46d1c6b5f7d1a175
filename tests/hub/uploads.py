"""The hub of `hubserver` with uploads: create a repository, send large files, then one commit.

with UploadHub() as hub:
    hub.tokens = {"hf_good": "write", "hf_reader": "read"}
    hub.upload_fault = ("commit", 500)  # a status; or "drop": the connection breaks
"""

import base64
import hashlib
import json
from urllib.parse import unquote, urlsplit

from hubserver import LARGE, Answer, Hub


class UploadAnswer(Answer):
    """One request; `step` is its part of an upload."""

    hub: "UploadHub"

    def do_POST(self):  # noqa: N802
        path = urlsplit(unquote(self.path)).path.strip("/")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        step, repo = self.step(path)
        if self.is_refused(step, repo):
            return None
        return getattr(self, step)(repo, body)

    def do_PUT(self):  # noqa: N802
        """`PUT /lfs/SHA256`, without a token: the address is the permission."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.is_broken("put"):
            return None
        assert "Authorization" not in self.headers
        name = self.path.strip("/").split("/")[1]
        if hashlib.sha256(body).hexdigest() != name:
            return self.refuse(400)
        self.hub.stored[name] = body
        return self.reply(200, {"ETag": '"stored"'})

    def do_GET(self):  # noqa: N802
        repo = unquote(self.path).removeprefix("/api/models/").strip("/")
        if not self.path.startswith("/api/models/"):
            return super().do_GET()
        if repo not in self.hub.repos and repo not in self.hub.empty:
            return self.refuse(404, "RepoNotFound")
        return self.json({"id": repo, "private": repo in self.hub.private, "siblings": [], "tags": [], "downloads": 0})

    def step(self, path: str) -> tuple[str, str]:
        """The step of a POST to `path`, and its repository."""
        if path in ("api/repos/create", "api/validate-yaml"):
            return {"create": "create", "validate-yaml": "validate"}[path.split("/")[-1]], ""
        if path.endswith(".git/info/lfs/objects/batch"):
            return "batch", path.removesuffix(".git/info/lfs/objects/batch")
        _, _, org, name, step, _ = path.split("/")
        return step, f"{org}/{name}"

    def is_refused(self, step: str, repo: str) -> bool:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.is_broken(step):
            return True
        if step == "validate":  # needs no token
            return False
        if token not in self.hub.tokens:
            self.refuse(401)
        elif self.hub.tokens[token] != "write":
            self.refuse(403)
        else:
            return False
        return True

    def is_broken(self, step: str) -> bool:
        where, fault = self.hub.upload_fault
        if where != step:
            return False
        if fault == "drop":
            self.close_connection = True
            self.connection.close()
        else:
            self.refuse(fault)
        return True

    def json(self, value: object, status: int = 200) -> None:
        self.reply(status, {"Content-Type": "application/json"}, json.dumps(value).encode())

    # the steps of an upload, in order

    def create(self, _: str, body: bytes) -> None:
        asked = json.loads(body)
        repo = f"{asked['organization']}/{asked['name']}"
        if repo in self.hub.repos or repo in self.hub.empty:
            return self.json({"error": "You already created this model repo", "url": f"{self.hub.url}/{repo}"}, 409)
        self.hub.empty.add(repo)
        if asked.get("visibility") == "private" or asked.get("private"):
            self.hub.private.add(repo)
        return self.json({"url": f"{self.hub.url}/{repo}"})

    def validate(self, _: str, body: bytes) -> None:
        import yaml

        head = yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
        if head.get("license") not in (None, "apache-2.0", "mit"):
            words = '"license" must be one of [apache-2.0, mit]'
            if self.headers.get("Accept") == "text/plain":
                return self.reply(400, {"Content-Type": "text/plain"}, f"- Error: {words}".encode())
            return self.json({"errors": [{"message": words}]}, 400)
        return self.json({"errors": [], "warnings": []})

    def preupload(self, repo: str, body: bytes) -> None:
        if repo not in self.hub.repos and repo not in self.hub.empty:
            return self.refuse(404, "RepoNotFound")
        names = [file["path"] for file in json.loads(body)["files"]]
        modes = [
            {"path": n, "uploadMode": "lfs" if n.endswith(LARGE) else "regular", "shouldIgnore": False} for n in names
        ]
        return self.json({"files": modes})

    def batch(self, _: str, body: bytes) -> None:
        objects = [
            entry | {"actions": {"upload": {"href": f"http://localhost:{self.hub.port}/lfs/{entry['oid']}"}}}
            for entry in json.loads(body)["objects"]
        ]
        return self.json({"transfer": "basic", "objects": objects})

    def commit(self, repo: str, body: bytes) -> None:
        files = {}
        for line in body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
        commit = self.hub.add(repo, files)
        return self.json({"commitUrl": f"{self.hub.url}/{repo}/commit/{commit}", "commitOid": commit})


class UploadHub(Hub):
    """A hub with users: `tokens` maps a token to its access, "write" or "read"."""

    answer = UploadAnswer

    def __init__(self):
        super().__init__()
        self.tokens = {"hf_good": "write", "hf_reader": "read"}
        self.upload_fault: tuple[str, int | str] = ("", 0)
        self.stored: dict[str, bytes] = {}
        """large files without a commit"""
        self.empty: set[str] = set()
        """created repositories, possibly without a commit"""
        self.private: set[str] = set()
