"""The choice of a build of torch in `make`, with a pip and Pythons that only tell what they were asked."""

import runpy
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = str(ROOT / "scripts" / "install_torch.py")
TESTED = next(line for line in (ROOT / "constraints.txt").read_text().split() if line.startswith("torch=="))
HERE = sys.version_info[:2]
NO_CPU_BUILD = f"echo 'ERROR: No matching distribution found for {TESTED}+cpu' >&2; exit 1"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the choice is made on Linux only")


class Machine:
    """An environment without torch whose pip writes down what it installs, and any number of other Pythons."""

    def __init__(self, folder: Path, monkeypatch):
        self.folder = folder
        self.own = self.python("own", None)
        monkeypatch.setattr(sys, "executable", str(self.own))
        monkeypatch.setattr(sys, "prefix", str(folder))
        monkeypatch.setattr(sysconfig, "get_path", lambda name: str(folder))
        monkeypatch.setattr("shutil.which", lambda name: None)
        monkeypatch.setattr("platform.system", lambda: "Linux")

    def python(self, name: str, torch: str | None, interpreter=HERE, cpu_build="exit 0") -> Path:
        """An executable that tells the torch it has, if any, or the one that its pip has installed."""
        path = self.folder / name
        has = f"echo '{interpreter}|{torch}|/site of {name}'" if torch else f"cat {path}.installed 2>/dev/null"
        path.write_text(
            f'#!/bin/sh\nif [ "$1" = -c ]; then {has}; exit; fi\nfor last; do :; done\necho "$last" >> {path}.asked\n'
            f'case "$last" in *+cpu) {cpu_build};; esac\n'
        )
        path.chmod(0o755)
        return path

    def install(self, monkeypatch, *arguments: str) -> None:
        """Run the script; after pip the environment has what pip was asked for."""
        (self.folder / "own.installed").write_text("")
        real = subprocess.run

        def run(command, **options):
            done = real(command, **options)
            if "pip" in command and done.returncode == 0:
                version = command[-1].removeprefix("torch==")
                (self.folder / "own.installed").write_text(f"{HERE}|{version}|{self.folder}\n")
            return done

        monkeypatch.setattr(subprocess, "run", run)
        monkeypatch.setattr(sys, "argv", [SCRIPT, *arguments])
        runpy.run_path(SCRIPT, run_name="__main__")

    @property
    def asked(self) -> list[str]:
        path = self.folder / "own.asked"
        return path.read_text().split() if path.exists() else []

    @property
    def pins_torch(self) -> bool:
        return f"\n{TESTED}\n" in (self.folder / "constraints.txt").read_text()


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_the_cpu_build_is_taken_where_pip_finds_one(machine, monkeypatch, capfd):
    machine.install(monkeypatch, str(machine.python("other", None)))
    assert machine.asked == [f"{TESTED}+cpu"] and machine.pins_torch
    assert "2.7 GB" not in capfd.readouterr().out


def test_the_default_build_is_taken_where_there_is_no_cpu_build_after_saying_its_size(machine, monkeypatch, capfd):
    machine.python("own", None, cpu_build=NO_CPU_BUILD)
    machine.install(monkeypatch, str(machine.python("other", None)))
    assert machine.asked == [f"{TESTED}+cpu", TESTED]
    assert "about 2.7 GB" in capfd.readouterr().out


def test_gigabytes_are_not_downloaded_because_pip_failed_otherwise(machine, monkeypatch):
    machine.python("own", None, cpu_build="echo 'ERROR: no space left' >&2; exit 1")
    with pytest.raises(SystemExit, match="no space left"):
        machine.install(monkeypatch, str(machine.python("other", None)))
    assert machine.asked == [f"{TESTED}+cpu"]


def test_with_a_gpu_the_default_build_is_asked_for(machine, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/nvidia-smi")
    machine.install(monkeypatch, str(machine.python("other", None)))
    assert machine.asked == [TESTED]


@pytest.mark.parametrize("version", ["2.6.0", "2.11.0+cu130"])
def test_a_torch_of_the_given_python_is_used_as_it_is(machine, monkeypatch, version):
    other = machine.python("other", version)
    (machine.folder / "own").write_text(  # what the .pth file gives sight of
        f'#!/bin/sh\ntest -e {machine.folder}/borrowed_torch.pth && exec {other} "$@"\n'
    )
    machine.install(monkeypatch, str(other))
    assert machine.asked == [] and not machine.pins_torch
    assert (machine.folder / "borrowed_torch.pth").read_text() == "/site of other\n"


@pytest.mark.parametrize("torch, interpreter", [("2.5.1", HERE), ("2.13.0", (3, 9))])
def test_a_torch_that_does_not_fit_is_left_alone(machine, monkeypatch, torch, interpreter):
    machine.install(monkeypatch, str(machine.python("other", torch, interpreter)))
    assert machine.asked == [f"{TESTED}+cpu"]
    assert not (machine.folder / "borrowed_torch.pth").exists()


def test_a_requirement_replaces_the_choice(machine, monkeypatch):
    machine.install(monkeypatch, str(machine.python("other", "2.13.0")), "torch==2.7.1")
    assert machine.asked == ["torch==2.7.1"] and not machine.pins_torch
