"""What people install: the wheel and the source archive, the Docker image's recipe, the Debian package.

The archives are made of a copy of the tree, since setuptools leaves traces where it works. Nothing is downloaded: the
wheel is installed beside the packages of the environment that runs the tests.
"""

from __future__ import annotations

import gzip
import http.server
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from daemons import wait_for

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "packaging/docker"
DEBIAN = ROOT / "packaging/debian"
TEMPLATES = ("linux/dittod.service", "macos/dittod.plist", "windows/dittod.xml")
pytestmark = pytest.mark.timeout(300)
MADE = shutil.ignore_patterns(
    *(".git", ".venv", ".hypothesis", ".*_cache", "__pycache__", "*.egg-info", "build", "dist", "wheels"),
    *("node_modules", "results", "work"),
)


def run(*command: str | Path, at: Path = ROOT, **variables: str) -> str:
    """What it prints; it must succeed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=at,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def build(source: Path, into: Path, *options: str) -> None:
    """With the setuptools that is installed here."""
    run(sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", into, source)


def files_of(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree as it is, without what is made in it."""
    copy = tmp_path_factory.mktemp("tree") / "dittod"
    shutil.copytree(ROOT, copy, ignore=MADE, symlinks=True)
    return copy


@pytest.fixture(scope="module")
def archives(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The source archive of the tree, and the wheel that was made of it."""
    made = tmp_path_factory.mktemp("archives")
    build(tree, made)
    (source,), (wheel,) = made.glob("*.tar.gz"), made.glob("*.whl")
    return SimpleNamespace(source=source, wheel=wheel)


@pytest.fixture(scope="module")
def installed(archives: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment with the wheel in it, and with what else is installed here."""
    place = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", place)
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = (sys.executable, "-m", "pip", "--python", place / "bin/python")
    run(*pip, "install", "--no-deps", "--no-index", "--ignore-installed", archives.wheel)
    return place / "bin"


@pytest.mark.slow
def test_the_wheel_is_the_same_from_the_tree_from_the_source_archive_and_in_the_image(
    tree: Path, archives: SimpleNamespace, tmp_path: Path
) -> None:
    build(tree, tmp_path / "straight", "--wheel")
    build(what_docker_is_sent(tree, tmp_path / "context"), tmp_path / "image", "--wheel")
    expected = files_of(archives.wheel)
    assert [files_of(next((tmp_path / name).glob("*.whl"))) for name in ("straight", "image")] == [expected] * 2


def what_docker_is_sent(tree: Path, copy: Path) -> Path:
    """The tree after .dockerignore: a star, then what is let in again."""
    first, *lines = [line for line in (tree / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert first == "*"
    copy.mkdir()
    for name in (line[1:] for line in lines if line.startswith("!")):
        place = tree / name
        shutil.copytree(place, copy / name) if place.is_dir() else shutil.copy(place, copy / name)
    shutil.rmtree(copy / "packaging/starter")
    return copy


@pytest.mark.slow
def test_the_wheel_has_every_module_the_model_the_mails_and_the_licence_and_nothing_else(
    archives: SimpleNamespace,
) -> None:
    names = set(files_of(archives.wheel))
    folders = ((ROOT, "dittod"), (ROOT / "service", "dittod_service"))
    modules = {path.relative_to(root).as_posix() for root, name in folders for path in (root / name).rglob("*.py")}
    mails = {path.relative_to(ROOT).as_posix() for path in (ROOT / "dittod/cli/demo_mails").glob("*.eml")}
    model = {f"dittod/starter/{name}" for name in ("model.safetensors", "tokenizer.json", "chat_template.jinja")}
    assert len(mails) == 22 and names >= modules | mails | model
    assert {name for name in names if name.endswith(".py")} == modules
    assert {name.split("/", 1)[0] for name in names} == {
        "dittod",
        "dittod_service",
        f"dittod-{metadata('dittod')['Version']}.dist-info",
        f"dittod-{metadata('dittod')['Version']}.data",
    }
    data = {name.split("/data/")[1] for name in names if ".data/" in name}
    assert data == {f"share/dittod/{name}" for name in TEMPLATES}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_the_source_archive_has_tests_and_recipes_and_nothing_that_was_made(archives: SimpleNamespace) -> None:
    with tarfile.open(archives.source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {"tests/test_packages.py", "packaging/docker/Dockerfile", "packaging/debian/build.py", "Makefile"}
    assert names >= {"docs/install.md", "LICENSE", "CHANGELOG.md", ".dockerignore"}
    made = re.compile(r"(^|/)(__pycache__|\.[a-z]+_cache|node_modules|results|mail_labels|\.git|\.venv)(/|$)|\.pyc$")
    assert [name for name in names if made.search(name)] == []


@pytest.mark.slow
def test_the_metadata_names_no_place_but_the_licence_and_the_versions_of_python(archives: SimpleNamespace) -> None:
    with zipfile.ZipFile(archives.wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        head = archive.read(name).decode().partition("\n\n")[0].splitlines()
    fields = {line.partition(":")[0] for line in head}
    assert not fields & {"Home-page", "Project-URL", "Download-URL", "Author-email", "Maintainer-email"}
    assert "License-Expression: Apache-2.0" in head and "Requires-Python: >=3.11" in head


@pytest.mark.slow
def test_what_is_installed_runs_from_anywhere_and_finds_its_files(installed: Path, tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    assert run(installed / "dittod", "--version", at=tmp_path).startswith("dittod ")
    assert "watched folder" in run(installed / "dittod", "init", at=tmp_path, DITTOD_HOME=home)
    status = json.loads(run(installed / "dittod", "status", "--json", at=tmp_path, DITTOD_HOME=home))
    assert status["endpoint"] is None and status["profiles"][0]["waiting"]
    code = "import sys, dittod.paths as paths; print(*(paths.shipped(name) for name in sys.argv[1:]), sep='\\n')"
    found = [Path(line) for line in run(installed / "python", "-c", code, *TEMPLATES, at=tmp_path).splitlines()]
    assert [path.read_bytes() for path in found] == [(ROOT / "packaging" / name).read_bytes() for name in TEMPLATES]
    assert all(path.is_relative_to(installed.parent) for path in found)


@pytest.mark.slow
def test_what_it_requires_is_what_is_installed_here(installed: Path) -> None:
    """`pip check` in an environment that sees all the packages of this one."""
    run(sys.executable, "-m", "pip", "--python", installed / "python", "check")


@pytest.mark.slow
def test_files_are_found_in_a_folder_that_pip_was_told_to_install_to(archives: SimpleNamespace, tmp_path: Path) -> None:
    """There pip moves them, and its list of files still says where they would have lain."""
    pip = (sys.executable, "-m", "pip")
    run(*pip, "install", "--no-deps", "--no-index", "--target", tmp_path / "ours", archives.wheel)
    code = f"from dittod.paths import shipped; print(shipped({TEMPLATES[0]!r}))"
    paths = os.pathsep.join([str(tmp_path / "ours"), sysconfig.get_path("purelib")])
    found = Path(run(sys.executable, "-c", code, at=tmp_path, PYTHONPATH=paths).strip())
    assert found == tmp_path / "ours/share/dittod" / TEMPLATES[0] and found.is_file()


@pytest.mark.slow
def test_what_is_installed_answers_a_request_with_the_embedded_model(installed: Path, tmp_path: Path) -> None:
    variables = {"DITTOD_HOME": str(tmp_path / "home"), "DITTOD_PORT": "0", "OMP_NUM_THREADS": "1"}
    with (tmp_path / "output").open("wb") as output:
        daemon = subprocess.Popen(
            [installed / "dittod", "run"], cwd=tmp_path, env={**os.environ, **variables}, stderr=output
        )
    try:
        url = re.compile(r"serving (http://\S+)/v1")
        wait_for(lambda: url.search((tmp_path / "output").read_text()), 60)
        served = url.search((tmp_path / "output").read_text())
        assert served is not None
        token = run(installed / "dittod", "token", at=tmp_path, **variables).strip()
        answer = ask(f"{served[1]}/v1/completions", token, {"model": "base", "prompt": "Dear", "max_tokens": 4})
        assert answer["usage"]["completion_tokens"] >= 1
    finally:
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(30) == 0


def ask(url: str, token: str, body: dict[str, object]) -> dict[str, Any]:
    """A request, answered."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=200) as response:
        return dict(json.load(response))


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    linter = shutil.which("hadolint", path=sysconfig.get_path("scripts"))
    if linter is None:
        pytest.skip("no hadolint for this platform")
    assert run(linter, "--no-color", DOCKER / "Dockerfile") == ""


def test_the_image_runs_as_nobody_special_and_says_whether_it_is_well() -> None:
    stage = (DOCKER / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER 1000:1000$", stage, re.MULTILINE) and "\nHEALTHCHECK " in stage
    assert 'VOLUME ["/data", "/watched"]' in stage and "\nSTOPSIGNAL SIGTERM" in stage
    assert not re.search(r"\b(apt-get|gcc|curl|REQUIRE_TOKEN)\b", stage)


def test_compose_publishes_to_this_machine_alone_and_gives_no_rights() -> None:
    service = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]["dittod"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert (
        service["cap_drop"] == ["ALL"] and service["read_only"] and "no-new-privileges:true" in service["security_opt"]
    )
    assert set(yaml.safe_load((DOCKER / "compose.cuda.yaml").read_text())["services"]) == {"dittod"}


@pytest.mark.parametrize(("status", "well"), [(200, True), (503, False)])
def test_the_healthcheck_says_what_the_endpoint_says(status: int, well: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with answering(status) as port:
        assert healthcheck().answers(f"http://127.0.0.1:{port}/health") is well


def test_the_healthcheck_is_not_well_when_nobody_answers() -> None:
    with answering(200) as port:
        pass
    assert not healthcheck().answers(f"http://127.0.0.1:{port}/health")


@contextmanager
def answering(status: int) -> Iterator[int]:
    """The port of a server that answers everything with one status."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def healthcheck() -> Any:
    """The image's file as a module."""
    spec = importlib.util.spec_from_file_location("healthcheck", DOCKER / "healthcheck.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def package(archives: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package without the packages that dittod needs, which are large."""
    if not shutil.which("dpkg-deb") or not Path("/usr/bin/python3").exists():
        pytest.skip("no Debian")
    made = tmp_path_factory.mktemp("package")
    variables = {"DEBFULLNAME": "Ann Lee", "DEBEMAIL": "ann@dittod.org", "TMPDIR": str(made)}
    run(sys.executable, DEBIAN / "build.py", archives.wheel, made, "--without-dependencies", **variables)
    (built,) = made.glob("dittod_*_*.deb")
    return built


@pytest.mark.slow
def test_the_debian_package_needs_the_python_that_it_was_made_with(package: Path) -> None:
    minor = int(run("/usr/bin/python3", "-c", "import sys; print(sys.version_info.minor)"))
    depends = run("dpkg-deb", "--field", package, "Depends")
    assert f"python3 (>= 3.{minor}~), python3 (<< 3.{minor + 1}~)" in depends
    assert run("dpkg-deb", "--field", package, "Maintainer") == "Ann Lee <ann@dittod.org>\n"
    assert run("dpkg-deb", "--field", package, "Version").strip() == metadata("dittod")["Version"]


@pytest.mark.slow
def test_all_in_the_debian_package_is_roots_and_nobody_else_may_write_it(package: Path) -> None:
    lines = run("dpkg-deb", "--contents", package).splitlines()
    assert len(lines) > 200 and all(line.split()[1] == "root/root" for line in lines)
    modes = {line.split()[0] for line in lines}
    assert modes == {"drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x", "lrwxrwxrwx"}
    assert [line.split()[5] for line in lines if line.startswith("-rwx")] == ["./usr/lib/dittod/bin/dittod"]


@pytest.mark.slow
def test_the_debian_package_knows_where_it_will_lie_and_not_where_it_was_made(package: Path, tmp_path: Path) -> None:
    run("dpkg-deb", "--raw-extract", package, tmp_path)
    library = tmp_path / "usr/lib/dittod"
    assert (tmp_path / "usr/bin/dittod").readlink() == Path("../lib/dittod/bin/dittod")
    assert (library / "bin/python3").readlink() == Path("../../../bin/python3")
    assert (library / "bin/dittod").read_text().startswith("#!/usr/lib/dittod/bin/python3\n")
    unit = (tmp_path / "usr/lib/systemd/user/dittod.service").read_text()
    assert re.search(r'^ExecStart=\S*"/usr/bin/dittod" run$', unit, re.MULTILINE)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    places = [str(place).encode() for place in (ROOT, package.parent)]
    assert [path for path in files if any(place in path.read_bytes() for place in places)] == []


@pytest.mark.slow
def test_what_was_compiled_goes_with_the_debian_package(package: Path, tmp_path: Path) -> None:
    run("dpkg-deb", "--raw-extract", package, tmp_path)
    scripts = {name: (tmp_path / "DEBIAN" / name).read_text() for name in ("postinst", "prerm")}
    here = {name: text.replace("/usr/lib/dittod", str(tmp_path / "usr/lib/dittod")) for name, text in scripts.items()}
    python = here["postinst"].replace(f"{tmp_path}/usr/lib/dittod/bin/python3", "/usr/bin/python3")
    library = tmp_path / "usr/lib/dittod"
    run("sh", "-c", python, "postinst", "configure")
    assert list(library.rglob("*.pyc"))
    run("sh", "-c", here["prerm"], "prerm", "remove")
    assert list(library.rglob("*.pyc")) == [] and (library / "bin/dittod").exists()


@pytest.mark.slow
def test_lintian_finds_neither_errors_nor_warnings(package: Path) -> None:
    if not shutil.which("lintian"):
        pytest.skip("no lintian")
    run("lintian", "--allow-root", "--fail-on", "error,warning", package)


@pytest.mark.slow
def test_the_manual_names_every_command(package: Path, tmp_path: Path) -> None:
    run("dpkg-deb", "--extract", package, tmp_path)
    page = gzip.decompress((tmp_path / "usr/share/man/man1/dittod.1.gz").read_bytes()).decode()
    assert ".B dittod adapters rollback\n" in page and ".B dittod stop\\-update\n" in page
