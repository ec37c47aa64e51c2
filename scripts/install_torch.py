"""Install torch into the environment of the Python that runs this. `make` calls it before it installs biosae.

    ENV/bin/python scripts/install_torch.py python3 [torch==2.13.0+cpu]

A torch that satisfies pyproject.toml is used as it is: the one of this environment, or the one of the Python that this
environment was made from, which a .pth file then makes visible here. Otherwise pip installs the tested version: on
Linux without a GPU the CPU build where pip finds one, else the default build, after saying its size. A requirement as
the second argument is installed without any choice.

Writes constraints.txt into the environment: that of the repository, without torch where another version is used.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOOK = """
import sys
from importlib import metadata
try:
    torch = metadata.distribution("torch")
    print(sys.version_info[:2], torch.version, torch.locate_file(""), sep="|")
except metadata.PackageNotFoundError:
    pass
"""
SIZE = """\
Downloading the default build of torch: about 2.7 GB with its CUDA libraries on Linux x86-64. The CPU build has 0.2 GB.
To take that one, stop here, and let pip see an index that has it (the PyTorch install page names one) or name a Python
that has a torch already: make PYTHON=/path/to/python"""


def main() -> None:
    python, *wanted = sys.argv[1:]
    pinned = (ROOT / "constraints.txt").read_text()
    tested = re.search(r"^torch==(\S+)$", pinned, re.MULTILINE)[1]
    constraints = Path(sys.prefix) / "constraints.txt"
    constraints.write_text(re.sub(r"^(torch|triton)==.*\n", "", pinned, flags=re.MULTILINE))
    if wanted:
        install(wanted[0], constraints)
    elif not (found := installed(sys.executable) or borrowed(python)):
        install_tested(tested, constraints)
    else:
        print(f"torch {found[0]} is installed already and is used", flush=True)
    there = installed(sys.executable)
    if there and there[0].split("+")[0] == tested:
        constraints.write_text(pinned)


def installed(python: str) -> tuple[str, str] | None:
    """Return version and folder of the torch that ``python`` has, or None if it has none that biosae can use here."""
    told = subprocess.run([python, "-c", LOOK], capture_output=True, text=True).stdout.strip()
    if not told:
        return None
    interpreter, version, folder = told.split("|", 2)
    lowest = re.search(r'"torch>=([\d.]+)"', (ROOT / "pyproject.toml").read_text())[1]
    usable = interpreter == str(sys.version_info[:2]) and release(version) >= release(lowest)
    return (version, folder) if usable else None


def borrowed(python: str) -> tuple[str, str] | None:
    """Make the torch of another Python visible in this environment, if biosae can use it."""
    found = installed(python)
    if found:
        (Path(sysconfig.get_path("purelib")) / "borrowed_torch.pth").write_text(found[1] + "\n")
    return found


def release(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, ``(2, 13, 0)`` for 2.13.0+cpu."""
    return tuple(int(number) for number in re.match(r"\d+(\.\d+)*", version)[0].split("."))


def install_tested(version: str, constraints: Path) -> None:
    """Install the CPU build on Linux without a GPU where pip finds one, and the default build elsewhere."""
    if platform.system() == "Linux" and not shutil.which("nvidia-smi"):
        cpu = f"torch=={version}+cpu"
        done = pip(cpu, constraints, capture_output=True, text=True)
        if done.returncode == 0:
            return
        if f"No matching distribution found for {cpu}" not in done.stderr:
            sys.exit(done.stderr)
        print("pip finds no CPU build of torch.")
    if platform.system() == "Linux":
        print(SIZE, flush=True)
    install(f"torch=={version}", constraints)


def install(requirement: str, constraints: Path) -> None:
    """Install a requirement, or exit with pip's code."""
    if code := pip(requirement, constraints).returncode:
        sys.exit(code)


def pip(requirement: str, constraints: Path, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(constraints), requirement]
    return subprocess.run(command, **options)


if __name__ == "__main__":
    main()
