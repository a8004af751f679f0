"""The NVIDIA graphics card that the engine uses: what other programs do with it, its free memory, its temperature.

Cards of other makers are not asked. Where the driver does not tell one program's use from another's (Windows, WSL) the
whole use counts while the engine is not running, and none while it is.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil

from dittod.machine.reading import Found, Unreadable

DEVICES = Path("/sys/bus/pci/devices")
NVIDIA = "0x10de"
SELDOM_SECONDS = 30.0  # between two looks while the engine is not running: each keeps a laptop's card awake
WINDOW_SECONDS = 4.0  # of which the driver is asked for the use
COMPOSITORS = {  # they draw what others show; those others count
    "Hyprland",
    "Xorg",
    "Xwayland",
    "cinnamon",
    "cosmic-comp",
    "gnome-shell",
    "kwin_wayland",
    "kwin_x11",
    "plasmashell",
    "sway",
    "weston",
}


class Gpu:
    """Keeps the driver open only while the engine runs, which keeps the card awake anyway."""

    def __init__(self, engine_pid: Callable[[], int | None], devices: Path = DEVICES) -> None:
        self._engine_pid = engine_pid
        self._devices = devices
        self._open = False
        self._looked_at = -SELDOM_SECONDS
        self._found: Found = {}

    def __call__(self) -> Found:
        """Empty where there is no such card, or none that is awake."""
        engine, now = self._engine_pid(), time.monotonic()
        if engine is not None or now - self._looked_at >= SELDOM_SECONDS:
            self._found = {} if engine is None and asleep(self._devices) else self._look(engine)
            self._looked_at = now
        return self._found

    def _look(self, engine: int | None) -> Found:
        try:
            import pynvml  # type: ignore[import-untyped, import-not-found, unused-ignore]
        except ImportError:
            return {}
        try:
            if not self._opened(pynvml):
                return {}
            return read(pynvml, engine)
        except pynvml.NVMLError as error:
            engine = None  # closed and opened anew: the driver may have been replaced
            raise Unreadable(str(error)) from error
        finally:
            if engine is None:
                self._close(pynvml)

    def _opened(self, nvml: Any) -> bool:
        """False: there is no NVIDIA driver."""
        try:
            if not self._open:
                nvml.nvmlInit()
            self._open = True
        except (nvml.NVMLError_LibraryNotFound, nvml.NVMLError_DriverNotLoaded):
            return False
        return True

    def _close(self, nvml: Any) -> None:
        if self._open:
            self._open = False
            nvml.nvmlShutdown()


def asleep(devices: Path) -> bool:
    """Whether there are NVIDIA cards and all have been switched off for not being used. Asking one would wake it."""
    if sys.platform != "linux":
        return False
    ours = [each for each in devices.glob("*") if _text(each / "vendor") == NVIDIA]
    cards = [each for each in ours if _text(each / "class").startswith("0x03")]
    return bool(cards) and all(_text(each / "power" / "runtime_status") == "suspended" for each in cards)


def read(nvml: Any, engine: int | None) -> Found:
    """Of the card that the engine uses, or would."""
    card = _card(nvml, engine)
    if card is None:
        return {}
    memory = _supported(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(card).free)
    celsius = _supported(nvml, lambda: nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU))
    use = _supported(nvml, lambda: _use_by_others(nvml, card, engine))
    if use is None and engine is None:
        use = _supported(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(card).gpu)
    found = {"free_gpu_memory_bytes": memory, "temperature_celsius": celsius, "gpu_use_percent": use}
    return {name: value for name, value in found.items() if value is not None}


def _card(nvml: Any, engine: int | None) -> Any:
    """Where the engine computes; without one, the card of most memory among those it may see. None: there is none."""
    cards = [nvml.nvmlDeviceGetHandleByIndex(place) for place in _visible(nvml.nvmlDeviceGetCount())]
    for card in cards:
        if engine is not None and engine in _computing(nvml, card):
            return card
    return max(cards, key=lambda card: nvml.nvmlDeviceGetMemoryInfo(card).total, default=None)


def _computing(nvml: Any, card: Any) -> set[int]:
    return {each.pid for each in _supported(nvml, lambda: nvml.nvmlDeviceGetComputeRunningProcesses(card)) or ()}


def _visible(count: int) -> Iterable[int]:
    """What CUDA_VISIBLE_DEVICES leaves; cards that it names otherwise than by number all count."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return range(count)
    names = [name.strip() for name in given.split(",") if name.strip()]
    if not all(name.lstrip("-").isdigit() for name in names):
        return range(count)
    return [int(name) for name in names if 0 <= int(name) < count]


def _use_by_others(nvml: Any, card: Any, engine: int | None) -> float:
    """Percent of the time, summed over programs that are neither the engine nor what draws the desktop."""
    since = int((time.time() - WINDOW_SECONDS) * 1e6)
    try:
        samples = nvml.nvmlDeviceGetProcessUtilization(card, since)
    except nvml.NVMLError as error:
        if error.value in (nvml.NVML_SUCCESS, nvml.NVML_ERROR_NOT_FOUND):  # nobody used it
            return 0.0
        raise
    latest = {each.pid: each for each in sorted(samples, key=lambda each: int(each.timeStamp))}
    use = [each.smUtil for pid, each in latest.items() if each.smUtil <= 100 and pid != engine and _counts(pid)]
    return min(100.0, float(sum(use)))


def _counts(pid: int) -> bool:
    """In a container the driver may speak of processes outside: the engine itself could be one of them."""
    try:
        return psutil.Process(pid).name() not in COMPOSITORS
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def _supported(nvml: Any, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except (nvml.NVMLError_NotSupported, nvml.NVMLError_NoPermission):
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
