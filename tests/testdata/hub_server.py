"""A stand-in for the Hugging Face hub: what huggingface_hub asks for, answered from memory."""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
import urllib.parse

# Of the fixture `hub`: its model, the commit of that, and the token that is sent.
NAME = "albert/tiny-one"
COMMIT = "a" * 40
TOKEN = "hf_mustNotBeSeenAnywhere"


class Hub:
    """Repositories of a hub, and what was asked of it.

    Attributes:
        repositories: {name: {revision: (commit, {file: bytes})}}.
        requests: (method, path) of each request, in order.
        tokens: `Authorization` headers that came.
        cut_off: name of a file of which half is sent, or None.
        pushed: {name: {file: bytes}} of uploads.
        deleted: (name, file) of those that uploads took away.
    """

    def __init__(self):
        self.repositories, self.requests, self.tokens = {}, [], set()
        self.cut_off, self.pushed, self.created = None, {}, []
        self.deleted = []
        self.address = None

    def add(self, name, files, revision="main", commit=COMMIT):
        states = self.repositories.setdefault(name, {})
        states[revision] = states[commit] = (commit, dict(files))

    def files(self, name):
        """Returns {file: bytes} of a repository's main branch."""
        return self.repositories[name]["main"][1]

    def fetched(self):
        """Returns the names of the files whose content was asked for."""
        return [
            path.split("/")[-1]
            for method, path in self.requests
            if "/resolve/" in path
            if method == "GET"
        ]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self):
        return self.server.hub

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def _note(self):
        path = urllib.parse.unquote(self.path.partition("?")[0])
        self.hub.requests.append((self.command, path))
        if self.headers.get("Authorization"):
            self.hub.tokens.add(self.headers["Authorization"])
        return path

    def _answer(self):
        path = self._note()
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(.+))?", path):
            name, kind, revision = match.groups()
            commit, files = self._find(name, revision or "main")
            if commit is None:
                return
            if kind == "tree":
                entries = [
                    {"type": "file", "path": file, "size": len(content), "oid": _digest(content)}
                    for file, content in files.items()
                ]
                self._send(200, entries)
            else:
                siblings = [{"rfilename": file} for file in files]
                self._send(
                    200,
                    {
                        "id": name,
                        "modelId": name,
                        "sha": commit,
                        "siblings": siblings,
                        "private": False,
                        "tags": [],
                        "downloads": 0,
                        "likes": 0,
                    },
                )
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            name, revision, file = match.groups()
            commit, files = self._find(name, revision)
            if commit is None:
                return
            if file not in files:
                self._send(404, {}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
                return
            self._send_file(files[file], commit, is_cut_off=file == self.hub.cut_off)
        else:
            self._send(404, {})

    def _find(self, name, revision):
        states = self.hub.repositories.get(name)
        if states is None:
            # The hub does not say whether a model is private or not there.
            self._send(401, {}, {"X-Error-Code": "RepoNotFound"})
            return None, None
        if revision not in states:
            self._send(404, {}, {"X-Error-Code": "RevisionNotFound"})
            return None, None
        return states[revision]

    def _send(self, status, value, headers=None):
        body = json.dumps(value).encode()
        self.send_response(status)
        for key, text in {
            **(headers or {}),
            "Content-Length": str(len(body)),
            "Content-Type": "application/json",
        }.items():
            self.send_header(key, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_file(self, content, commit, is_cut_off):
        start = 0
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(match[1])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{_digest(content)}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("X-Linked-Etag", f'"{_digest(content)}"')
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if self.command == "HEAD":
            return
        if is_cut_off:
            self.wfile.write(content[start : start + (len(content) - start) // 2])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(content[start:])

    def do_POST(self):
        path = self._note()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/api/repos/create":
            values = json.loads(body)
            self.hub.created.append(values)
            name = f"{values.get('organization') or 'me'}/{values['name']}"
            if name not in self.hub.repositories:
                self.hub.add(name, {})
            self._send(200, {"url": f"{self.hub.address}/{name}", "id": name, "name": name})
        elif path.startswith("/api/models/") and "/preupload/" in path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for file in json.loads(body)["files"]
            ]
            self._send(200, {"files": files})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/(.+)", path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    content = base64.b64decode(value["content"])
                    self.hub.pushed.setdefault(match[1], {})[value["path"]] = content
                elif line["key"] == "deletedFile":
                    self.hub.deleted.append((match[1], line["value"]["path"]))
            address = f"{self.hub.address}/{match[1]}/commit/{COMMIT}"
            self._send(200, {"commitUrl": address, "commitOid": COMMIT, "success": True})
        elif path == "/api/validate-yaml":
            self._send(200, {"warnings": [], "errors": []})
        else:
            self._send(404, {})


def _digest(content):
    return hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def running_hub():
    """Runs a hub on a free port of this machine; yields it."""
    hub = Hub()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.hub = hub
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
