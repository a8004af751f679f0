"""dittod_<version>_<architecture>.deb from dittod's wheel, by plain dpkg-deb: `make packages`.

The package is a virtual environment at /usr/lib/dittod over the system's Python, with everything in it that dittod needs:
Debian has no torch, transformers and peft as new as that, and a package may not fetch anything while it is installed. So it
fits the Debian (or Ubuntu) release that it is built on, whose Python has the same minor version. pip's own settings say where the
packages come from: with PyTorch's index for processors in PIP_EXTRA_INDEX_URL, torch is the one without CUDA.

Knows nothing of signing and of archives. DEBFULLNAME and DEBEMAIL name who builds it, as for Debian's own tools.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from email.utils import formatdate
from pathlib import Path

from manual import manual_page

from dittod.background.systemd import render_for_everybody

HERE = Path(__file__).parent
PYTHON = "/usr/bin/python3"
LIBRARY = Path("usr/lib/dittod")
DOCUMENTS = Path("usr/share/doc/dittod")
# What torch brings for those who build on it or test it: a sixth of everything.
LEFT_OUT = ("torch/include", "torch/test", "torch/bin/*[tT]est*")
CONTROL = """\
Package: dittod
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Installed-Size: {kibibytes}
Depends: python3 (>= {python}~), python3 (<< {next_python}~), libc6 (>= 2.28), libgcc-s1, libstdc++6
Section: text
Priority: optional
Description: learns how you write, on this machine, and serves it
 A daemon of yours that takes the mails you sent and the texts you wrote, which
 you put into a folder, as demonstrations; fine-tunes an adapter of a language
 model on them when nobody needs the machine; and serves the model at an
 endpoint that speaks OpenAI's API. Nothing leaves the machine.
"""


def main() -> None:
    """build.py WHEEL FOLDER [--without-dependencies]. The latter is for tests: such a package cannot run."""
    wheel, folder = Path(sys.argv[1]), Path(sys.argv[2])
    os.umask(0o022)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "dittod"
        make_environment(root / LIBRARY, wheel, without_dependencies="--without-dependencies" in sys.argv)
        relocate(root / LIBRARY)
        version = debian_version(wheel)
        write_documents(root, version)
        set_modes(root)
        write_control(root, version)
        package = folder / f"dittod_{version}_{architecture()}.deb"
        run("dpkg-deb", "--build", "--root-owner-group", "-Zxz", "-z1", str(root), str(package))
    print(f"{package}: {package.stat().st_size / 1e6:.0f} MB")


def run(*command: str) -> str:
    """What it prints; its errors are seen."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def architecture() -> str:
    """Debian's name of it."""
    return run("dpkg", "--print-architecture")


def debian_version(wheel: Path) -> str:
    """Of what the wheel's name says. A tilde sorts before the end: 1.0~rc1 comes before 1.0."""
    return re.sub(r"(?<=\d)\.?(a|b|rc|dev)(?=\d)", r"~\1", wheel.name.split("-")[1])


def maintainer() -> str:
    """Who builds it."""
    return f"{os.environ.get('DEBFULLNAME', 'dittod')} <{os.environ.get('DEBEMAIL', 'dittod@localhost')}>"


def make_environment(folder: Path, wheel: Path, *, without_dependencies: bool) -> None:
    """A virtual environment with dittod, and with what encryption needs."""
    run(PYTHON, "-m", "venv", "--without-pip", str(folder))
    pip = (sys.executable, "-m", "pip", "--python", str(folder / "bin/python3"))
    options = ["--no-deps"] if without_dependencies else []
    run(*pip, "install", "--quiet", "--no-compile", *options, f"{wheel.absolute()}[encryption]")
    if not without_dependencies:
        run(*pip, "check")


def relocate(folder: Path) -> None:
    """Make the environment one that lies at /usr/lib/dittod. Only dittod's own program stays in it."""
    programs = folder / "bin"
    for each in programs.iterdir():
        if not each.name.startswith("python") and each.name != "dittod":
            each.unlink()
    (programs / "python3").unlink()
    (programs / "python3").symlink_to("../../../bin/python3")
    script = programs / "dittod"
    script.write_text(re.sub(r"\A#!.*", f"#!/{LIBRARY}/bin/python3", script.read_text()))
    shutil.rmtree(folder / "include")
    (folder / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    (packages,) = folder.glob("lib/python*/site-packages")
    for path in (path for pattern in LEFT_OUT for path in packages.glob(pattern)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in packages.glob("*.dist-info/direct_url.json"):  # says where the wheel lay
        path.unlink()


def write_documents(root: Path, version: str) -> None:
    """/usr/bin/dittod, the unit, and what Debian's policy asks for."""
    documents, manuals = root / DOCUMENTS, root / "usr/share/man/man1"
    units, overrides = root / "usr/lib/systemd/user", root / "usr/share/lintian/overrides"
    for folder in (root / "usr/bin", units, documents, manuals, overrides):
        folder.mkdir(parents=True)
    (root / "usr/bin/dittod").symlink_to("../lib/dittod/bin/dittod")
    (units / "dittod.service").write_text(render_for_everybody(Path("/usr/bin/dittod")))
    shutil.copyfile(HERE / "copyright", documents / "copyright")
    shutil.copyfile(HERE / "lintian-overrides", overrides / "dittod")
    when = float(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    entry = f"dittod ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md.gz.\n\n -- {maintainer()}  {formatdate(when)}\n"
    compress(documents / "changelog.gz", entry)
    compress(documents / "CHANGELOG.md.gz", (HERE.parent.parent / "CHANGELOG.md").read_text(encoding="utf-8"))
    compress(manuals / "dittod.1.gz", manual_page(version))


def compress(path: Path, text: str) -> None:
    """Without a time, so that it is the same each time."""
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def set_modes(root: Path) -> None:
    """Everybody may read, nobody but root may write, and what can be executed is a program."""
    for path in root.rglob("*"):
        if path.is_symlink():
            continue
        path.chmod(0o755 if path.is_dir() or is_program(path) else 0o644)


def is_program(path: Path) -> bool:
    """Wheels mark libraries and texts as executable too."""
    if not path.stat().st_mode & 0o100 or ".so" in path.name:
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF" or path.parent.name == "bin"


def write_control(root: Path, version: str) -> None:
    """What dpkg has to know, after everything else."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    major, minor = run(PYTHON, "-c", "import sys; print(*sys.version_info[:2])").split()
    control = root / "DEBIAN"
    control.mkdir()
    (control / "control").write_text(
        CONTROL.format(
            version=version,
            architecture=architecture(),
            maintainer=maintainer(),
            kibibytes=sum(-(-path.stat().st_size // 1024) for path in files),
            python=f"{major}.{minor}",
            next_python=f"{major}.{int(minor) + 1}",
        )
    )
    sums = (f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n" for path in files)
    (control / "md5sums").write_text("".join(sums))
    for name in ("postinst", "prerm"):
        shutil.copyfile(HERE / name, control / name)
        (control / name).chmod(0o755)


if __name__ == "__main__":
    main()
