"""The Task Scheduler: its XML, and which commands are given. No Windows is at hand: a fake program answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from background.programs import SCHTASKS, Program, put_on_path

from dittod import background
from dittod.background import Installation, ServiceState
from dittod.background.tasks import NAMESPACE, render
from dittod.errors import DittodError, SettingsError

MADE = Installation(
    executable=Path("/Programs/Scripts/dittod.exe"),
    python=Path("/Programs/Scripts/python.exe"),
    home=Path("/Users/änn/A & <B>"),
    writable=(),
    environment=(("DITTOD_HOME", "/Users/änn/A & <B>"),),
    only_loopback=True,
)
SEQUENCES = {  # where the schema of version 1.2 (MS-TSCH 2.5) says xs:sequence; elsewhere any order will do
    "LogonTrigger": (
        "Enabled",
        "StartBoundary",
        "EndBoundary",
        "Repetition",
        "ExecutionTimeLimit",
        "UserId",
        "Delay",
    ),
}
KNOWN = {
    "Task": {"RegistrationInfo", "Triggers", "Settings", "Data", "Principals", "Actions"},
    "RegistrationInfo": {"URI", "SecurityDescriptor", "Source", "Date", "Author", "Version", "Description"},
    "Triggers": {"LogonTrigger"},
    "LogonTrigger": set(SEQUENCES["LogonTrigger"]),
    "Principals": {"Principal"},
    "Principal": {"UserId", "LogonType", "GroupId", "DisplayName", "RunLevel"},
    "Settings": {
        "AllowStartOnDemand",
        "RestartOnFailure",
        "MultipleInstancesPolicy",
        "DisallowStartIfOnBatteries",
        "StopIfGoingOnBatteries",
        "AllowHardTerminate",
        "StartWhenAvailable",
        "RunOnlyIfNetworkAvailable",
        "WakeToRun",
        "Enabled",
        "Hidden",
        "IdleSettings",
        "ExecutionTimeLimit",
        "Priority",
        "RunOnlyIfIdle",
    },
    "RestartOnFailure": {"Interval", "Count"},
    "IdleSettings": {"Duration", "WaitTimeout", "StopOnIdleEnd", "RestartOnIdle"},
    "Actions": {"Exec"},
    "Exec": {"Command", "Arguments", "WorkingDirectory"},
}


@pytest.fixture
def schtasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    put_on_path(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("USERNAME", "ann")
    monkeypatch.setenv("USERDOMAIN", "DESK")
    xml = render(MADE, "DESK\\ann").replace('version="1.0"', 'version="1.0" encoding="UTF-16"', 1)
    (tmp_path / "bin" / "query.xml").write_text(xml)  # as schtasks prints it, whatever its real encoding is
    return Program(tmp_path / "bin", "schtasks", SCHTASKS)


def name_of(element: ElementTree.Element) -> str:
    return element.tag.removeprefix(NAMESPACE)


def text_of(xml: str, *path: str) -> str | None:
    return ElementTree.fromstring(xml).findtext("/".join(NAMESPACE + name for name in path))


def test_every_element_is_one_of_the_schema_in_its_order() -> None:
    for element in ElementTree.fromstring(render(MADE, "ann")).iter():
        children = [name_of(child) for child in element]
        if children:
            assert set(children) <= KNOWN[name_of(element)] and len(set(children)) == len(children)
            order = SEQUENCES.get(name_of(element), tuple(children))
            assert children == [name for name in order if name in children]


def test_the_action_runs_as_the_principal_that_is_there() -> None:
    task = ElementTree.fromstring(render(MADE, "ann"))
    principal = task.find(f"{NAMESPACE}Principals/{NAMESPACE}Principal")
    actions = task.find(f"{NAMESPACE}Actions")
    assert principal is not None and actions is not None and principal.get("id") == actions.get("Context")


def test_paths_with_everything_special_arrive_as_they_are() -> None:
    xml = render(MADE, "DESK\\änn")
    assert text_of(xml, "Actions", "Exec", "Command") == "/Programs/Scripts/pythonw.exe"
    assert text_of(xml, "Actions", "Exec", "WorkingDirectory") == "/Users/änn/A & <B>"
    assert text_of(xml, "Actions", "Exec", "Arguments") == ('-m dittod.cli.windowless "DITTOD_HOME=/Users/änn/A & <B>"')
    assert text_of(xml, "Triggers", "LogonTrigger", "UserId") == "DESK\\änn"


def test_it_has_no_more_rights_than_its_user_and_no_opinion_on_batteries() -> None:
    xml = render(MADE, "ann")
    assert text_of(xml, "Principals", "Principal", "RunLevel") == "LeastPrivilege"
    assert text_of(xml, "Settings", "DisallowStartIfOnBatteries") == "false"
    assert text_of(xml, "Settings", "StopIfGoingOnBatteries") == "false"
    assert text_of(xml, "Settings", "ExecutionTimeLimit") == "PT0S"


def test_what_xml_cannot_hold_is_refused() -> None:
    with pytest.raises(SettingsError, match="cannot have"):
        render(replace(MADE, home=Path("/Users/a\x01b")), "ann")


def test_install_start_stop_and_remove(schtasks: Program, tmp_path: Path) -> None:
    manager = background.manager("win32")
    assert manager.state() == ServiceState(False, False, False, None, None)
    manager.install(MADE)
    assert (tmp_path / "bin" / "task.xml").read_text(encoding="utf-16") == render(MADE, "DESK\\ann")
    assert manager.state() == ServiceState(True, True, False, None, None)
    manager.start()
    assert manager.state() == ServiceState(True, True, True, None, None)
    manager.restart()
    manager.stop()
    assert manager.state() == ServiceState(True, True, False, None, "1")
    schtasks.calls()
    manager.remove()
    assert schtasks.calls()[-1] == "/Delete /TN dittod /F"
    assert not manager.state().installed


def test_what_the_scheduler_refuses_is_an_error(tmp_path: Path, schtasks: Program) -> None:
    Program(tmp_path / "bin", "schtasks", 'echo "ERROR: Access is denied." >&2; exit 1')
    with pytest.raises(DittodError, match="Access is denied"):
        background.manager("win32").install(MADE)
