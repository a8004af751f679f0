"""Battery, lid and processor temperature.

Linux tells them in /sys, /proc and logind, macOS and Windows through psutil and ioreg. The lid of a Windows machine and
temperatures outside Linux cannot be read without rights that dittod does not ask for.
"""

from __future__ import annotations

import sys
from pathlib import Path

import psutil

from dittod.machine.bus import Bus
from dittod.machine.commands import ioreg
from dittod.machine.reading import Absent, Found

POWER_SUPPLIES = Path("/sys/class/power_supply")
LIDS = Path("/proc/acpi/button/lid")
SENSORS = Path("/sys/class/hwmon")
PROCESSORS = {"coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal", "cpu0_thermal"}  # not drives, not wifi
PLAUSIBLE_CELSIUS = (1.0, 150.0)  # broken sensors say 0, -128 or 255


def battery() -> Found:
    """All batteries of the machine as one. psutil would read a single one on Linux, a wireless mouse's if need be."""
    if sys.platform == "linux":
        return supplies(POWER_SUPPLIES)
    found = psutil.sensors_battery()
    if found is None:
        return {}
    return {"on_battery": found.power_plugged is False, "battery_percent": float(found.percent)}


def supplies(folder: Path) -> Found:
    """As the kernel lists them. On battery: no mains supply is online, or without any listed, a battery empties."""
    listed = [each for each in folder.glob("*") if _text(each / "scope") != "Device"]
    batteries = [each for each in listed if _text(each / "type") == "Battery" and _text(each / "present") != "0"]
    mains = [_text(each / "online") for each in listed if _text(each / "type") in ("Mains", "USB")]
    if not batteries:
        return {}
    empties = any(_text(each / "status") == "Discharging" for each in batteries)
    return {"on_battery": "1" not in mains if mains else empties, "battery_percent": _percent(batteries)}


def _percent(batteries: list[Path]) -> float | None:
    """Of all together: by energy where every one tells it, else the mean."""
    for unit in ("energy", "charge"):
        now = [_number(each / f"{unit}_now") for each in batteries]
        full = [_number(each / f"{unit}_full") for each in batteries]
        if None not in now and None not in full and sum(filter(None, full)) > 0:
            return min(100.0, 100.0 * sum(filter(None, now)) / sum(filter(None, full)))
    told = [number for each in batteries if (number := _number(each / "capacity")) is not None]
    return sum(told) / len(told) if told else None


class Lid:
    """A lid that is closed beside a screen that is not does not count: that is how people work at a desk."""

    def __init__(self, system: Bus) -> None:
        self._system = system

    def __call__(self) -> Found:
        """Raises Absent where there is none, or none that can be asked."""
        if sys.platform == "darwin":
            return clamshell(ioreg("-r", "-k", "AppleClamshellState", "-d", "4"))
        try:
            manager = self._system.properties(
                "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"
            )
            return {"lid_closed": bool(manager["LidClosed"]) and not manager.get("Docked", False)}
        except Absent:
            return acpi_lid(LIDS)


def acpi_lid(folder: Path) -> Found:
    """As the kernel tells it. Raises Absent."""
    states = [_text(each) for each in folder.glob("*/state")]
    if not states:
        raise Absent
    return {"lid_closed": any("closed" in state for state in states)}


def clamshell(told: str) -> Found:
    """Of what ioreg prints. A closed lid that does not make the Mac sleep has a screen and mains power."""
    lines = {line.split("=")[0].strip(' |"'): line.split("=")[1].strip() for line in told.splitlines() if "=" in line}
    if "AppleClamshellState" not in lines:
        raise Absent
    sleeps = lines.get("AppleClamshellCausesSleep", "Yes") == "Yes"
    return {"lid_closed": lines["AppleClamshellState"] == "Yes" and sleeps}


def processor_temperature() -> Found:
    """The hottest. Raises Absent."""
    return hottest(SENSORS)


def hottest(folder: Path) -> Found:
    """Of the processor's sensors alone: asking a drive for its temperature would wake it."""
    chips = [each for each in folder.glob("*") if _text(each / "name") in PROCESSORS]
    numbers = [_number(path) for chip in chips for path in chip.glob("temp*_input")]
    low, high = PLAUSIBLE_CELSIUS
    celsius = [number / 1000.0 for number in numbers if number is not None and low <= number / 1000.0 <= high]
    if not celsius:
        raise Absent
    return {"temperature_celsius": max(celsius)}


def _text(path: Path) -> str:
    """Its content; empty where there is none, as drivers leave out what they do not know."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> float | None:
    try:
        return float(_text(path))
    except ValueError:
        return None
