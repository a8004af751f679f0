"""The graphics card, by a driver of ours that answers as NVML does."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from dittod.machine.gpu import Gpu, asleep, read
from dittod.machine.reading import Unreadable

GAME, ENGINE, GONE = os.getppid(), os.getpid(), 2**22 + 1  # processes that there are, and one that there is not


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


class NVMLError_NotSupported(NVMLError):  # noqa: N801
    pass


class NVMLError_NoPermission(NVMLError):  # noqa: N801
    pass


class NVMLError_LibraryNotFound(NVMLError):  # noqa: N801
    pass


class NVMLError_DriverNotLoaded(NVMLError):  # noqa: N801
    pass


@dataclass
class Card:
    """One graphics card."""

    use: dict[int, int] | NVMLError = field(default_factory=dict)  # percent by process
    free: int = 2**30
    total: int = 2**33
    celsius: int = 60
    computing: tuple[int, ...] = ()
    whole_use: int = 0


class FakeNvml(SimpleNamespace):
    """What dittod calls of pynvml."""

    NVMLError = NVMLError
    NVMLError_NotSupported = NVMLError_NotSupported
    NVMLError_NoPermission = NVMLError_NoPermission
    NVMLError_LibraryNotFound = NVMLError_LibraryNotFound
    NVMLError_DriverNotLoaded = NVMLError_DriverNotLoaded
    NVML_SUCCESS, NVML_ERROR_NOT_FOUND, NVML_TEMPERATURE_GPU = 0, 6, 0

    def __init__(self, *cards: Card, fails: NVMLError | None = None) -> None:
        super().__init__(cards=cards, fails=fails, inits=0, shutdowns=0, looks=0)

    def nvmlInit(self) -> None:  # noqa: N802
        if self.fails is not None:
            raise self.fails
        self.inits += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.shutdowns += 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        self.looks += 1
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Card:  # noqa: N802
        found: Card = self.cards[index]
        return found

    def nvmlDeviceGetMemoryInfo(self, card: Card) -> Card:  # noqa: N802
        return card

    def nvmlDeviceGetTemperature(self, card: Card, sensor: int) -> int:  # noqa: N802
        return card.celsius

    def nvmlDeviceGetComputeRunningProcesses(self, card: Card) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=pid) for pid in card.computing]

    def nvmlDeviceGetUtilizationRates(self, card: Card) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=card.whole_use)

    def nvmlDeviceGetProcessUtilization(self, card: Card, since: int) -> list[Any]:  # noqa: N802
        if isinstance(card.use, NVMLError):
            raise card.use
        stale = [SimpleNamespace(pid=pid, timeStamp=since + 1, smUtil=99) for pid in card.use]
        fresh = [SimpleNamespace(pid=pid, timeStamp=since + 2, smUtil=use) for pid, use in card.use.items()]
        return fresh + stale


def use_of(card: Card, engine: int | None = ENGINE) -> object:
    return read(FakeNvml(card), engine).get("gpu_use_percent")


def test_what_other_programs_use_counts_and_what_the_engine_uses_does_not() -> None:
    assert use_of(Card(use={GAME: 40, ENGINE: 55})) == 40.0
    assert use_of(Card(use={GAME: 40, ENGINE: 55}), engine=None) == 95.0
    assert use_of(Card(use={GAME: 80, 1: 80})) == 100.0


def test_a_process_outside_the_container_or_with_an_impossible_figure_does_not_count() -> None:
    assert use_of(Card(use={GONE: 70})) == 0.0
    assert use_of(Card(use={GAME: 4_000_000})) == 0.0


def test_what_draws_the_desktop_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil.Process, "name", lambda self: "gnome-shell" if self.pid == GAME else "a game")
    assert use_of(Card(use={GAME: 40})) == 0.0


@pytest.mark.parametrize("value", [0, 6])
def test_nobody_using_the_card_is_no_error(value: int) -> None:
    assert use_of(Card(use=NVMLError(value))) == 0.0


def test_a_driver_that_does_not_tell_programs_apart_counts_only_without_the_engine() -> None:
    card = Card(use=NVMLError_NotSupported(3), whole_use=70)
    assert use_of(card, engine=None) == 70
    assert use_of(card, engine=ENGINE) is None


def test_memory_and_temperature_are_those_of_the_card_that_the_engine_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    small = Card(free=111, total=2**32, celsius=40, computing=(ENGINE,))
    large = Card(free=222, total=2**35, celsius=80)
    nvml = FakeNvml(small, large)
    assert read(nvml, ENGINE) == {"free_gpu_memory_bytes": 111, "temperature_celsius": 40, "gpu_use_percent": 0.0}
    assert read(nvml, None)["free_gpu_memory_bytes"] == 222


@pytest.mark.parametrize(
    ("visible", "free"), [("0", 111), ("1", 222), ("", None), ("-1", None), ("9", None), ("GPU-5f", 222)]
)
def test_cards_that_the_engine_may_not_see_do_not_count(
    monkeypatch: pytest.MonkeyPatch, visible: str, free: int | None
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    nvml = FakeNvml(Card(free=111, total=2**32), Card(free=222, total=2**35))
    assert read(nvml, None).get("free_gpu_memory_bytes") == free


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeNvml], FakeNvml]:
    def put(nvml: FakeNvml) -> FakeNvml:
        monkeypatch.setitem(sys.modules, "pynvml", nvml)  # type: ignore[arg-type]
        return nvml

    return put


def test_the_driver_is_kept_open_only_while_the_engine_runs(
    install: Callable[[FakeNvml], FakeNvml], tmp_path: Path
) -> None:
    nvml = install(FakeNvml(Card()))
    running: list[int | None] = [None]
    gpu = Gpu(lambda: running[0], tmp_path)
    assert gpu() == gpu() != {}
    assert (nvml.looks, nvml.inits, nvml.shutdowns) == (1, 1, 1)  # seldom
    running[0] = ENGINE
    gpu(), gpu()
    assert (nvml.looks, nvml.inits, nvml.shutdowns) == (3, 2, 1)


@pytest.mark.parametrize("error", [NVMLError_LibraryNotFound(12), NVMLError_DriverNotLoaded(9)])
def test_without_a_driver_there_is_no_card(
    install: Callable[[FakeNvml], FakeNvml], tmp_path: Path, error: NVMLError
) -> None:
    install(FakeNvml(fails=error))
    assert Gpu(lambda: None, tmp_path)() == {}


def test_a_driver_that_was_replaced_is_unreadable(install: Callable[[FakeNvml], FakeNvml], tmp_path: Path) -> None:
    install(FakeNvml(fails=NVMLError(18)))
    with pytest.raises(Unreadable, match="error 18"):
        Gpu(lambda: ENGINE, tmp_path)()


@pytest.mark.parametrize(("states", "sleeps"), [(["suspended"], True), (["suspended", "active"], False), ([], False)])
def test_a_card_that_sleeps_is_not_woken(
    install: Callable[[FakeNvml], FakeNvml], tmp_path: Path, states: list[str], sleeps: bool
) -> None:
    for number, state in enumerate(states):
        device = tmp_path / f"0000:0{number}:00.0"
        (device / "power").mkdir(parents=True)
        (device / "vendor").write_text("0x10de\n")
        (device / "class").write_text("0x030000\n")
        (device / "power" / "runtime_status").write_text(f"{state}\n")
    nvml = install(FakeNvml(Card()))
    assert asleep(tmp_path) == sleeps
    Gpu(lambda: None, tmp_path)()
    assert nvml.looks == (0 if sleeps else 1)
