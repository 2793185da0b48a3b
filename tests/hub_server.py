"""A stand-in for the hub's HTTP interface on this machine: what `huggingface_hub` really calls, and no more.

    with StandIn() as hub:
        hub.url                      # for HF_ENDPOINT
        hub.models["anna/moves"]     # what was pushed
        hub.refused[path] = Answer(...)  # an answer of your own instead

Small files travel in the commit, .safetensors and .png as LFS objects, which are downloaded from another host
name ("localhost"), as the hub's are from its CDN. Tokens: "hf_anna" may write to anna/…, "hf_ben" to ben/….
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["TOKENS", "Answer", "Model", "StandIn"]

TOKENS = {"hf_anna": "anna", "hf_ben": "ben"}
_LFS = (".safetensors", ".png")


@dataclass
class Answer:
    """An answer: status, headers, body."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def of(cls, data: Any, status: int = 200, **headers: str) -> Answer:
        return cls(status, {"Content-Type": "application/json", **headers}, json.dumps(data).encode())

    @classmethod
    def error(cls, status: int, code: str = "", message: str = "") -> Answer:
        headers = {"X-Error-Message": message} if message else {}
        return cls.of({"error": message}, status, **headers, **({"X-Error-Code": code} if code else {}))


@dataclass
class Model:
    """A repository: its commits, oldest first, each with all files."""

    private: bool
    gated: bool = False
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1][1]

    def commit(self, files: dict[str, bytes]) -> str:
        whole = {**(self.files if self.commits else {}), **files}
        digest = hashlib.sha1(f"{len(self.commits)} {sorted(whole)}".encode()).hexdigest()
        self.commits.append((digest, whole))
        return digest

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        wanted = self.commits[-1][0] if revision == "main" else self.tags.get(revision, revision)
        return next((one for one in self.commits if one[0].startswith(wanted)), None)


class StandIn:
    """The server; `requests` lists method and path of what it was asked for, `headers` their headers."""

    def __init__(self) -> None:
        self.models: dict[str, Model] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.refused: dict[str, Answer] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def files_url(self) -> str:
        return f"http://localhost:{self._server.server_port}"

    def __enter__(self) -> StandIn:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, files: dict[str, bytes], private: bool = False) -> Model:
        model = self.models[name] = Model(private)
        model.commit(files)
        return model

    # -- answers

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        self.requests.append(f"{method} {path}")
        self.headers.append(headers)
        for start, refused in self.refused.items():
            if path.startswith(start):
                return refused
        sent = headers.get("authorization", "").removeprefix("Bearer ")
        if sent and sent not in TOKENS and not path.startswith("/lfs/"):
            return Answer.error(401, message="Invalid credentials in Authorization header")
        user = TOKENS.get(sent)
        for verb, pattern, found in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method in verb.split("|"):
                return found(self, user, body, **match.groupdict())
        return Answer.error(404, message=f"the stand-in has no {method} {path}")

    def visible(self, repository: str, user: str | None) -> Model | Answer:
        model = self.models.get(repository)
        if model is None or (model.private and user != repository.split("/")[0]):
            return Answer.error(401 if user is None else 404, "RepoNotFound", "Repository not found")
        return model

    def validate(self, user: str | None, body: bytes) -> Answer:
        text = json.loads(body)["content"]
        if not text.startswith("---\n"):
            return Answer.of({"warnings": [{"message": "empty or missing yaml metadata"}], "errors": []})
        return Answer.of({"warnings": [], "errors": []})

    def create(self, user: str | None, body: bytes) -> Answer:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if user is None:
            return Answer.error(401, message="Invalid username or password.")
        if user != asked["organization"]:
            return Answer.error(403, message=f"You don't have the rights to create a model under {name}")
        if name in self.models:
            return Answer.error(409, message="You already created this model repo")
        self.models[name] = Model(asked.get("visibility") == "private" or bool(asked.get("private")))
        self.models[name].commit({".gitattributes": b"*.safetensors filter=lfs\n"})
        return Answer.of({"url": f"{self.url}/{name}"})

    def info(self, user: str | None, body: bytes, repository: str, revision: str = "main") -> Answer:
        model = self.visible(repository, user)
        if isinstance(model, Answer):
            return model
        found = model.at(unquote(revision))
        if found is None:
            return Answer.error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files = [{"rfilename": name} for name in found[1]]
        return Answer.of({"id": repository, "sha": found[0], "private": model.private, "siblings": files,
                          "tags": [], "downloads": 0, "likes": 0})  # fmt: skip

    def writable(self, repository: str, user: str | None) -> Model | Answer:
        model = self.visible(repository, user)
        if isinstance(model, Answer) or user == repository.split("/")[0]:
            return model
        return Answer.error(403, message="you must have write access")

    def preupload(self, user: str | None, body: bytes, repository: str, revision: str) -> Answer:
        model = self.writable(repository, user)
        if isinstance(model, Answer):
            return model
        files = [
            {"path": one["path"], "shouldIgnore": False,
             "uploadMode": "lfs" if one["path"].endswith(_LFS) else "regular"}
            for one in json.loads(body)["files"]
        ]  # fmt: skip
        return Answer.of({"files": files})

    def batch(self, user: str | None, body: bytes, repository: str) -> Answer:
        model = self.writable(repository, user)
        if isinstance(model, Answer):
            return model
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.files_url}/lfs/{one['oid']}"}}}
            for one in json.loads(body)["objects"]
        ]
        return Answer.of({"transfer": "basic", "objects": objects})

    def stored(self, user: str | None, body: bytes, oid: str) -> Answer:
        if hashlib.sha256(body).hexdigest() != oid:
            return Answer.error(400, message="the hash differs")
        self.objects[oid] = body
        return Answer()

    def commit(self, user: str | None, body: bytes, repository: str, revision: str) -> Answer:
        model = self.writable(repository, user)
        if isinstance(model, Answer):
            return model
        files = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
        digest = model.commit(files)
        return Answer.of({"commitOid": digest, "commitUrl": f"{self.url}/{repository}/commit/{digest}"})

    def resolve(self, user: str | None, body: bytes, repository: str, revision: str, file: str) -> Answer:
        model = self.visible(repository, user)
        if isinstance(model, Answer):
            return model
        found = model.at(unquote(revision))
        if found is None:
            return Answer.error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        commit = {"X-Repo-Commit": found[0]}
        if model.gated and user != repository.split("/")[0]:
            return Answer.error(403, "GatedRepo", f"Access to model {repository} is restricted")
        content = found[1].get(unquote(file))
        if content is None:
            answer = Answer.error(404, "EntryNotFound", "Entry not found")
            answer.headers |= commit
            return answer
        if not file.endswith(_LFS):
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            return Answer(200, {**commit, "ETag": f'"{blob}"'}, content)
        oid = hashlib.sha256(content).hexdigest()
        self.objects[oid] = content
        return Answer(302, {
            **commit, "X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(content)),
            "Location": f"{self.files_url}/lfs/{oid}",
        })  # fmt: skip

    def object(self, user: str | None, body: bytes, oid: str) -> Answer:
        return Answer(200, {"ETag": f'"{oid}"'}, self.objects[oid])


_NAME = r"(?P<repository>[^/]+/[^/]+)"
_ROUTES: tuple[tuple[str, str, Any], ...] = (
    ("GET", r"/api/agent-harnesses", lambda *_: Answer.of({})),
    ("POST", r"/api/validate-yaml", StandIn.validate),
    ("POST", r"/api/repos/create", StandIn.create),
    ("GET", rf"/api/models/{_NAME}", StandIn.info),
    ("GET", rf"/api/models/{_NAME}/revision/(?P<revision>.+)", StandIn.info),
    ("POST", rf"/api/models/{_NAME}/preupload/(?P<revision>.+)", StandIn.preupload),
    ("POST", rf"/api/models/{_NAME}/commit/(?P<revision>.+)", StandIn.commit),
    ("POST", rf"/{_NAME}\.git/info/lfs/objects/batch", StandIn.batch),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", StandIn.stored),
    ("GET", r"/lfs/(?P<oid>[0-9a-f]{64})", StandIn.object),
    ("HEAD|GET", rf"/{_NAME}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", StandIn.resolve),
)


def _handler(hub: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b"".join(iter(self._chunk, b""))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = hub.answer(self.command, urlsplit(self.path).path, headers, body)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in answer.headers:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815

        def _chunk(self) -> bytes:
            size = int(self.rfile.readline(), 16)
            content = self.rfile.read(size)
            self.rfile.readline()
            return content

        def log_message(self, *_: object) -> None:
            pass

    return Handler
