import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from biosae import locks
from biosae.errors import ArtefactError, InUseError
from biosae.locks import LOCK, locked

HOLD = """
import sys, time
from pathlib import Path
from biosae.locks import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has locked ``tmp_path``."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.wait()


def test_a_folder_in_use_is_refused_and_its_owner_named(holder, tmp_path):
    with pytest.raises(InUseError, match=rf"in use by process {holder.pid} on \S+ \(since 2"), locked(tmp_path):
        pass
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == holder.pid


def test_the_lock_of_a_killed_process_is_taken_over(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / LOCK).exists()
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert not (tmp_path / LOCK).exists()


def test_waiting_ends_when_the_owner_does(holder, tmp_path):
    order = []
    threading.Timer(0.2, lambda: (order.append("killed"), holder.kill())).start()
    with locked(tmp_path, waits=True):
        order.append("locked")
    assert order == ["killed", "locked"]


def test_many_processes_never_hold_it_together(tmp_path):
    """Each adds one to a number that it reads first: without the lock some additions get lost."""
    count = """
import sys, time
from pathlib import Path
from biosae.locks import locked
number = Path(sys.argv[1]) / "number"
for _ in range(50):
    with locked(number.parent, waits=True):
        n = int(number.read_text())
        time.sleep(0.001)
        number.write_text(str(n + 1))
"""
    (tmp_path / "number").write_text("0")
    running = [subprocess.Popen([sys.executable, "-c", count, tmp_path]) for _ in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    assert (tmp_path / "number").read_text() == "200"


def test_an_error_inside_gives_the_lock_back(tmp_path):
    with pytest.raises(RuntimeError), locked(tmp_path):
        raise RuntimeError
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ArtefactError, match="cannot write in .*file"), locked(tmp_path / "file"):
        pass


def test_a_file_system_without_locks_is_warned_about(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with locked(tmp_path):
        pass
    assert "cannot be locked (No locks available)" in caplog.text
