"""Free memory within a container's limit, from folders as control groups make them."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from dittod.machine import memory
from dittod.machine.memory import free_disk, free_memory, own_group, room_in

MIB = 2**20


def group(folder: Path, limit: str, *, used: int = 300 * MIB, cached: int = 100 * MIB) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\nactive_file 7\n")
    return folder


def test_what_is_only_cached_counts_as_free(tmp_path: Path) -> None:
    assert room_in(group(tmp_path, str(512 * MIB))) == 312 * MIB


def test_a_group_over_its_limit_has_no_room(tmp_path: Path) -> None:
    assert room_in(group(tmp_path, str(100 * MIB))) == 0


@pytest.mark.parametrize("limit", ["max", "a lot"])
def test_a_group_without_limit_says_nothing_of_room(tmp_path: Path, limit: str) -> None:
    assert room_in(group(tmp_path, limit)) is None
    assert room_in(tmp_path / "none") is None


def test_the_groups_around_ours_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outer = group(tmp_path / "user.slice", str(320 * MIB))
    inner = group(outer / "dittod.service", "max")
    (tmp_path / "own").write_text("1:name=elsewhere:/x\n0::/user.slice/dittod.service\n")
    assert own_group(tmp_path, tmp_path / "own") == [inner, outer, tmp_path]
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    monkeypatch.setattr(memory, "OWN_GROUP", tmp_path / "own")
    assert free_memory() == {"free_memory_bytes": 120 * MIB}


@pytest.mark.parametrize("own", ["", "1:memory:/x\n", "0::/../../outside\n"])
def test_without_groups_of_version_2_the_machine_itself_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    (tmp_path / "own").write_text(own)
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    monkeypatch.setattr(memory, "OWN_GROUP", tmp_path / "own")
    available = psutil.virtual_memory().available
    assert free_memory()["free_memory_bytes"] == pytest.approx(available, rel=0.5)


def test_the_disk_of_the_home_is_the_one_asked(tmp_path: Path) -> None:
    assert 0 < free_disk(tmp_path)["free_disk_bytes"] <= psutil.disk_usage(str(tmp_path)).total
