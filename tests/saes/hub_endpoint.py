"""The HTTP interface of the Hugging Face Hub, as far as an upload and a download need it, over files in memory."""

from __future__ import annotations

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubEndpoint(BaseHTTPRequestHandler):
    """One repository; ``files`` and ``asked`` belong to the class that a test makes of this one."""

    files: dict[str, bytes]
    asked: list[tuple[str, dict]]

    def log_message(self, *arguments: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self._answer({"commitUrl": f"{self._here}/me/sae/commit/{COMMIT}", "commitOid": COMMIT})
            return
        content = json.loads(body)
        self.asked.append((self.path, content))
        if self.path.endswith("/preupload/main"):
            modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in content["files"]]
            self._answer({"files": modes})
        else:
            self._answer({"url": f"{self._here}/me/sae"})

    def do_GET(self) -> None:
        if "/resolve/" in self.path:
            self._send_file()
        elif "/tree/" in self.path:
            found = self.files.items()
            self._answer([{"type": "file", "path": k, "size": len(v), "oid": _hash(v)} for k, v in found])
        else:
            siblings = [{"rfilename": name} for name in self.files]
            self._answer({"id": "me/sae", "sha": COMMIT, "siblings": siblings, "private": True, "tags": []})

    do_HEAD = do_GET

    @property
    def _here(self) -> str:
        return f"http://{self.headers['Host']}"

    def _send_file(self) -> None:
        content = self.files[self.path.rpartition("/")[2]]
        self._reply(200, content, {"ETag": f'"{_hash(content)}"', "X-Repo-Commit": COMMIT})

    def _answer(self, content: dict | list) -> None:
        self._reply(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _reply(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _hash(content: bytes) -> str:
    """As git names a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
