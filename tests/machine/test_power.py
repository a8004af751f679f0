"""Battery, lid and temperature, from folders as the kernel makes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dittod.machine import power
from dittod.machine.bus import Bus, system_address
from dittod.machine.idle import LOGIND
from dittod.machine.power import Lid, acpi_lid, clamshell, hottest, supplies
from dittod.machine.reading import Absent, Unreadable

from .buses import Serve, login1

MAINS = {"type": "Mains", "online": "1"}
UNPLUGGED = {"type": "Mains", "online": "0"}
BATTERY = {"type": "Battery", "status": "Discharging", "energy_now": "30", "energy_full": "40", "capacity": "75"}
SPARE = {"type": "Battery", "status": "Full", "energy_now": "60", "energy_full": "60", "capacity": "100"}
MOUSE = {"type": "Battery", "scope": "Device", "status": "Discharging", "capacity": "15"}


def tree(folder: Path, *devices: dict[str, str]) -> Path:
    for number, files in enumerate(devices):
        device = folder / f"device{number}"
        device.mkdir()
        for name, content in files.items():
            (device / name).write_text(content + "\n")
    return folder


@pytest.mark.parametrize(
    ("devices", "found"),
    [
        ((), {}),
        ((MAINS,), {}),
        ((MOUSE,), {}),
        ((MAINS, BATTERY), {"on_battery": False, "battery_percent": 75.0}),
        ((UNPLUGGED, BATTERY), {"on_battery": True, "battery_percent": 75.0}),
        ((UNPLUGGED, BATTERY, MOUSE), {"on_battery": True, "battery_percent": 75.0}),
        ((UNPLUGGED, {"type": "USB", "online": "1"}, BATTERY), {"on_battery": False, "battery_percent": 75.0}),
        ((UNPLUGGED, BATTERY, SPARE), {"on_battery": True, "battery_percent": 90.0}),
        ((BATTERY,), {"on_battery": True, "battery_percent": 75.0}),
        ((SPARE,), {"on_battery": False, "battery_percent": 100.0}),
        ((UNPLUGGED, {"type": "Battery", "capacity": "40"}), {"on_battery": True, "battery_percent": 40.0}),
        ((UNPLUGGED, {"type": "Battery"}), {"on_battery": True, "battery_percent": None}),
        ((UNPLUGGED, BATTERY | {"present": "0"}), {}),
        ((UNPLUGGED, BATTERY | {"energy_now": "no"}), {"on_battery": True, "battery_percent": 75.0}),
    ],
)
def test_batteries_count_together_and_those_of_a_mouse_not_at_all(
    tmp_path: Path, devices: tuple[dict[str, str], ...], found: dict[str, object]
) -> None:
    assert supplies(tree(tmp_path, *devices)) == found


@pytest.mark.parametrize(
    ("manager", "closed"),
    [
        ({"LidClosed": ("b", True), "Docked": ("b", False)}, True),
        ({"LidClosed": ("b", True), "Docked": ("b", True)}, False),
        ({"LidClosed": ("b", False)}, False),
    ],
)
def test_a_lid_that_is_closed_beside_another_screen_does_not_count(
    bus: Serve, manager: dict[str, tuple[str, object]], closed: bool
) -> None:
    bus(LOGIND, login1(manager=manager))
    assert Lid(Bus(system_address))() == {"lid_closed": closed}


def test_without_logind_the_kernel_tells_of_the_lid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'none'}")
    monkeypatch.setattr(power, "LIDS", tree(tmp_path, {"state": "state:      closed"}))
    assert Lid(Bus(system_address))() == {"lid_closed": True}


def test_a_logind_that_refuses_is_unreadable(bus: Serve) -> None:
    bus(LOGIND, {})
    with pytest.raises(Unreadable):
        Lid(Bus(system_address))()


def test_a_machine_without_lid_has_none(tmp_path: Path) -> None:
    with pytest.raises(Absent):
        acpi_lid(tmp_path)


@pytest.mark.parametrize(
    ("told", "closed"),
    [
        ('  |   "AppleClamshellState" = No\n  |   "AppleClamshellCausesSleep" = Yes\n', False),
        ('  |   "AppleClamshellState" = Yes\n  |   "AppleClamshellCausesSleep" = Yes\n', True),
        ('  |   "AppleClamshellState" = Yes\n  |   "AppleClamshellCausesSleep" = No\n', False),
    ],
)
def test_what_a_mac_prints_of_its_lid(told: str, closed: bool) -> None:
    assert clamshell(told) == {"lid_closed": closed}


def test_a_mac_without_lid_has_none() -> None:
    with pytest.raises(Absent):
        clamshell("")


def test_the_hottest_sensor_of_the_processor_counts_and_no_drive_and_no_broken_one(tmp_path: Path) -> None:
    cores = {"name": "coretemp", "temp1_input": "61000", "temp2_input": "67500", "temp3_input": "255000"}
    drive = {"name": "nvme", "temp1_input": "80000"}
    assert hottest(tree(tmp_path, cores, drive)) == {"temperature_celsius": 67.5}


def test_without_such_a_sensor_there_is_no_temperature(tmp_path: Path) -> None:
    with pytest.raises(Absent):
        hottest(tree(tmp_path, {"name": "iwlwifi_1", "temp1_input": "50000"}))
