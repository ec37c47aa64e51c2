"""A headless Chromium, driven over its debugging pipe: JSON messages that end with a zero byte."""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
PATIENCE_S = 60


def find() -> str | None:
    """Path of an installed Chromium."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Page:
    """One tab. Keeps the console's errors and the address of every request.

    Attributes
    ----------
    errors
        Uncaught exceptions, console errors and content-policy violations, as text.
    requests
        Addresses that were asked for.
    """

    def __init__(self, program: str, width: int = 1280, height: int = 900):
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        commands, self._write = os.pipe()
        self._read, answers = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (commands, answers)]
        command = [program, *FLAGS, f"--user-data-dir={self._profile}", "--remote-debugging-pipe"]

        def connect() -> None:  # Chromium reads commands from descriptor 3 and answers on 4
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        self._process = subprocess.Popen(command, pass_fds=(3, 4), preexec_fn=connect, stderr=subprocess.DEVNULL)
        for end in (commands, answers, *ends):
            os.close(end)
        self._ids = itertools.count(1)
        self._buffer = b""
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._session: str | None = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.resize(width, height)

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_S)
        os.close(self._write)
        os.close(self._read)
        shutil.rmtree(self._profile, ignore_errors=True)

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to one command; events on the way are noted."""
        message = {"id": next(self._ids), "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == message["id"]:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], PATIENCE_S)
            assert ready, "Chromium does not answer"
            received = os.read(self._read, 1 << 16)
            assert received, "Chromium has ended"
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"]))
        if method == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.errors.append(json.dumps(params["args"]))
        if method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is awaited."""
        answer = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Returns once the expression is true, looked at every frame inside the page."""
        loop = (
            f"new Promise((done, fail) => {{ const end = performance.now() + {1000 * PATIENCE_S};"
            f"const look = () => {{ if ({condition}) done(true);"
            "else if (performance.now() > end) fail(new Error('waited in vain'));"
            "else setTimeout(look, 20); }; look(); })"
        )
        self.evaluate(loop)

    def open(self, address: str) -> None:
        """Opens a report at ``address`` and waits until it has drawn its page."""
        for url in ("about:blank", address):  # a change of the part behind # alone would not load anew
            self.send("Page.navigate", url=url)
            while (event := self._receive()).get("method") != "Page.loadEventFired":
                self._note(event)
        self.wait("document.documentElement.dataset.ready")

    def go(self, route: str) -> None:
        """Follows a link inside the report, ``#/feature/3``, and waits for its page."""
        self.evaluate(f"location.hash = {json.dumps(route)}")
        self.wait(f"document.documentElement.dataset.page === {json.dumps(route)}")

    def resize(self, width: int, height: int) -> None:
        mobile = width < 600
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def dark(self, wanted: bool) -> None:
        feature = {"name": "prefers-color-scheme", "value": "dark" if wanted else "light"}
        self.send("Emulation.setEmulatedMedia", features=[feature])

    def screenshot(self, path: Path) -> None:
        """The whole page, not only what is in view."""
        self.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
        answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def key(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def seconds(self, expression: str) -> float:
        """How long an awaited expression takes, as seen from outside."""
        start = time.perf_counter()
        self.evaluate(expression)
        return time.perf_counter() - start
