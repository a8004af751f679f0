"""The wheels that `make gpu` needs on a GPU machine without network, made beforehand on one that has it: `make wheels`.

They are for a machine that is Linux on x86-64 with Python 3.12 and CUDA 13, and has torch, NumPy, pandas, PyArrow and
pytest already: what is large, or tied to its driver. Every other package is fetched here in the range of
pyproject.toml, so that the whole folder can travel (about 25 MB). Knows nothing of what the machine really has: what is
missing in `CARRIED` shows as an ImportError there.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
WHEELS = ROOT / "wheels"
PYTHON = "3.12"
GLIBC = ("2_28", "2_27", "2_24", "2_17", "2_5")  # pip takes only the platforms that it is told, each by itself
CARRIED = (  # of our own dependencies
    *("apscheduler", "bitsandbytes", "peft", "platformdirs", "pydantic", "pydantic-settings", "starlette"),
    *("transformers", "trl", "uvicorn", "watchdog"),
)
THEIRS = (  # of those
    *("annotated-types", "datasets", "dill", "multiprocess", "python-dotenv", "typing-extensions", "typing-inspection"),
    *("tzlocal", "setuptools>=77"),
)
# bitsandbytes takes the library of the same major version of CUDA, so that this one serves all of 13.x.
UNUSED = re.compile(r"libbitsandbytes_(?!cpu\.|cuda130\.)")


def main() -> None:
    """Fetch, strip, say how much it is."""
    shutil.rmtree(WHEELS, ignore_errors=True)
    fetch(carried(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]))
    (native,) = WHEELS.glob("bitsandbytes-*.whl")
    strip(native)
    wheels = list(WHEELS.iterdir())
    print(f"{len(wheels)} wheels, {sum(each.stat().st_size for each in wheels) / 1e6:.1f} MB, in {WHEELS.name}/")


def carried(project: dict[str, Any]) -> list[str]:
    """Requirements with the version ranges of pyproject.toml, without its markers, which speak of this machine."""
    ours = [*project["dependencies"], *project["optional-dependencies"]["bench"]]
    by_name = {re.split(r"[<>=; ]", each, maxsplit=1)[0]: each.split(";")[0].strip() for each in ours}
    core = "pydantic-core==" + pydantic_core(by_name["pydantic"])
    return [*(by_name[name] for name in CARRIED), *THEIRS, core]


def pydantic_core(requirement: str) -> str:
    """The one version of pydantic-core that the pydantic to be fetched works with: it says so in its metadata."""
    fetch([requirement])
    (wheel,) = WHEELS.glob("pydantic-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        found = re.search(r"^Requires-Dist: pydantic-core==(\S+)$", archive.read(metadata).decode(), re.MULTILINE)
    assert found is not None, "pydantic names its pydantic-core in another way now"
    return found.group(1)


def fetch(requirements: list[str]) -> None:
    """Download wheels for the other machine; what they depend on in turn is named in `THEIRS`."""
    platforms = [f"--platform=manylinux_{each}_x86_64" for each in GLIBC] + ["--platform=manylinux2014_x86_64"]
    target = ["--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}", *platforms]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"--dest={WHEELS}"]
    subprocess.run([*pip, *target, *requirements], check=True)


def strip(wheel: Path) -> None:
    """Take the native libraries of other accelerators and other CUDAs out of bitsandbytes: 43 MB become 2."""
    stripped = wheel.with_suffix(".part")
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(stripped, "w", zipfile.ZIP_DEFLATED) as part:
        for item in whole.infolist():
            content = whole.read(item)
            if item.filename.endswith(".dist-info/RECORD"):
                lines = content.decode().splitlines(keepends=True)
                content = "".join(line for line in lines if not UNUSED.search(line)).encode()
            if not UNUSED.search(item.filename):
                part.writestr(item, content)
    stripped.replace(wheel)


if __name__ == "__main__":
    main()
