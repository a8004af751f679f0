"""How learning stands behind other programs, and that it does not when somebody waits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dittod.engine import consideration
from dittod.engine.consideration import NICENESS, Standing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's priorities")
ADJUSTED = """
from dittod.engine.consideration import be_the_first_to_go
be_the_first_to_go()
print(open("/proc/self/oom_score_adj").read())
"""


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stands for the session's niceness; the session is this process's own."""
    file = tmp_path / "autogroup"
    file.write_text("0")
    monkeypatch.setattr(consideration, "AUTOGROUP", file)
    monkeypatch.setattr("os.getsid", lambda _: consideration.os.getpid())
    return file


def test_a_session_stands_behind_others_until_somebody_asks(session: Path) -> None:
    standing = Standing()
    standing.set(behind=True)
    assert session.read_text() == str(NICENESS)
    standing.set(behind=False)
    assert session.read_text() == "0"


def test_what_is_so_already_is_not_written_again(session: Path) -> None:
    standing = Standing()
    standing.set(behind=True)
    session.write_text("untouched")
    standing.set(behind=True)
    assert session.read_text() == "untouched"


def test_a_change_that_came_too_soon_is_made_at_the_next_occasion(session: Path) -> None:
    standing = Standing()
    session.rename(session.with_name("away"))
    session.mkdir()  # cannot be written to
    standing.set(behind=True)
    session.rmdir()
    session.with_name("away").rename(session)
    standing.set(behind=True)
    assert session.read_text() == str(NICENESS)


def test_somebody_elses_session_is_left_alone(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getsid", lambda _: 1)
    Standing().set(behind=True)
    assert session.read_text() == "0"


def test_the_kernel_takes_the_engine_first_when_memory_ends() -> None:
    said = subprocess.run([sys.executable, "-c", ADJUSTED], capture_output=True, text=True, check=True).stdout
    assert int(said) >= consideration.FIRST_TO_GO
