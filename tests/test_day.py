"""Days in the life: the real decisions over a real store, with a scripted machine, a clock that the test turns and an
engine that learns so much per tick. Each timeline is what a considerate friend would have done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEngine, demonstration

from dittod import runs
from dittod.config import Settings
from dittod.considering import Clock, Considering
from dittod.engine.protocol import AdapterRef, Memory, Progress, Stopped, StopUpdate, Update, Updated
from dittod.paths import Home
from dittod.rows import FileRow
from dittod.schedule import Conditions
from dittod.signals import PAUSE
from dittod.store import Store
from dittod.types import Run, Verdict

TICK_SECONDS = 60.0
GIB = 2**30


class LearningEngine(FakeEngine):
    """Takes one step of an update per tick, keeps the place of each like a checkpoint, and counts no step twice."""

    def __init__(self, adapters: Path, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.done: dict[str, int] = {}  # update → steps
        self.promotes = True
        self._adapters = adapters
        self._update: Update | None = None

    @property
    def learning(self) -> bool:
        return self._update is not None

    def submit(self, command: Any, listener: Any) -> None:
        super().submit(command, listener)
        self._update = command if isinstance(command, Update) else None

    def send(self, command: Any) -> None:
        if isinstance(command, StopUpdate) and self._update is not None:
            stopped, self._update = self._update, None
            self.say(Stopped(stopped.id))

    def stop_if_idle(self, idle_seconds: float) -> bool:
        self.busy = self.learning
        if self.ready is not None and not self.asked and not (self.busy and idle_seconds):
            self.send(StopUpdate())
        return super().stop_if_idle(idle_seconds)

    def tick(self) -> None:
        """One step; the last one ends it."""
        if (update := self._update) is None:
            return
        self.done[update.id] = done = self.done.get(update.id, 0) + 1
        self.say(Progress(update.id, "dpo", done, self.steps))
        if done == self.steps:
            self._update = None
            folder = self._adapters / f"{len(self.done):064}"
            folder.mkdir()
            self.say(Updated(update.id, AdapterRef(folder.name, str(folder)), Verdict(self.promotes, ("better",), {})))


class Life:
    """A machine and its person. `timeline` tells what the daemon did and said, each with the time of the day."""

    def __init__(self, folder: Path, *, start: str, steps: int = 60, **settings: Any) -> None:
        self.home = Home(folder / "home")
        self.home.create()
        self.store = Store(self.home.store)
        self.engine = LearningEngine(self.home.adapters, steps)
        self.wall = datetime.fromisoformat(start).timestamp()
        self.monotonic = 1000.0
        self.machine: dict[str, Any] = {}
        self.person_until: float | None = None  # wall seconds; None: there is no display
        self.timeline: list[str] = []
        self._texts = 0
        self._said: object = None
        self.considering = Considering(
            self.home,
            self.store,
            Settings(improve_prompts=False, **settings),
            self.engine,
            self._conditions,
            clock=Clock(lambda: self.wall, lambda: self.monotonic),
        )

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.wall)

    @property
    def runs(self) -> list[Run]:
        return self.store.runs()

    def write(self, count: int, profile: str = "default") -> None:
        for number in range(self._texts, self._texts + count):
            row = FileRow(f"{number}", profile, 1, 1, "read", "", (), {}, read_at=self.wall)
            words = " ".join(str(number * 100 + n) for n in range(20))
            self.store.record_file(row, [demonstration(f"Write {number}", words, written_at=float(number))])
        self._texts += count

    def until(self, time: str, *, typing: bool = False, asked_every: float | None = None) -> None:
        """Live until the next time that the clock shows this."""
        end = self.now.replace(hour=int(time[:2]), minute=int(time[3:]), second=0, microsecond=0)
        self.live((end + timedelta(days=end <= self.now) - self.now).total_seconds(), typing, asked_every)

    def live(self, seconds: float, typing: bool = False, asked_every: float | None = None) -> None:
        for tick in range(round(seconds / TICK_SECONDS)):
            if typing:
                self.person_until = self.wall
            if asked_every and tick * TICK_SECONDS % asked_every == 0:
                self.engine.last_asked = self.monotonic
            self.considering.consider()
            self.considering.advance()
            self.engine.tick()
            self.considering.look()
            self._listen()
            self.wall += TICK_SECONDS
            self.monotonic += TICK_SECONDS

    def sleep(self, time: str) -> None:
        """Suspended: neither the daemon nor the monotonic clock see it."""
        end = self.now.replace(hour=int(time[:2]), minute=int(time[3:]), second=0, microsecond=0)
        self.wall += (end + timedelta(days=end <= self.now) - self.now).total_seconds()

    def say(self, what: str) -> None:
        self.timeline.append(f"{self.now:%H:%M} {what}")

    def _listen(self) -> None:
        note = self.store.noted("learning")
        said = (note["state"], note["reason"])
        if said != self._said:
            self.say(": ".join(filter(None, said)))
            self._said = said

    def _conditions(self) -> Conditions:
        idle = None if self.person_until is None else max(0.0, self.wall - self.person_until)
        return Conditions(idle_seconds=idle, **self.machine)


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Callable[..., Life]]:
    made: list[Life] = []

    def make(**settings: Any) -> Life:
        made.append(Life(tmp_path / str(len(made)), **settings))
        return made[-1]

    yield make
    for each in made:
        each.store.close()


def test_a_day_with_a_laptop(life: Callable[..., Life]) -> None:
    """Opened on battery, docked, left alone at lunch, a game in the evening, asleep at night."""
    day = life(start="2026-03-02T08:00", steps=90, quiet_hours=("22:00-07:30",))
    day.machine = {"on_battery": True, "battery_percent": 80.0, "lid_closed": False, "gpu_use_percent": 3.0}
    day.machine |= {"free_memory_bytes": 6 * GIB, "free_gpu_memory_bytes": 4 * GIB, "free_disk_bytes": 90 * GIB}
    day.until("08:30", typing=True)
    day.write(8)
    day.until("09:30", typing=True)
    day.machine["on_battery"] = False  # docked
    day.until("12:10", typing=True)
    day.until("13:00")  # lunch
    day.until("15:00", typing=True)
    day.until("15:10")  # coffee
    day.until("19:00", typing=True)
    day.until("19:20")
    day.machine |= {"gpu_use_percent": 90.0, "free_gpu_memory_bytes": GIB // 10}  # a game, with a game pad
    ended = day.engine.ended
    day.live(TICK_SECONDS)
    assert day.engine.ended == ended + 1, "its memory is the game's"
    day.until("20:30")
    day.machine |= {"gpu_use_percent": 3.0, "free_gpu_memory_bytes": 4 * GIB}
    day.until("21:30")
    day.write(5)
    day.until("23:00")
    day.machine["lid_closed"] = True
    day.live(60.0)
    day.sleep("08:00")
    day.machine |= {"lid_closed": False, "on_battery": True}
    day.until("12:00", typing=True)
    day.machine["on_battery"] = False
    day.until("12:30", typing=True)
    day.until("14:30")
    away = "you are at the machine; learns after 5 minutes without keyboard and mouse"
    assert day.timeline == [
        "08:00 waiting: no demonstration, waiting for 6",
        "08:30 waiting: on battery",
        f"09:30 waiting: {away}",
        "12:14 learning",
        f"13:00 paused: {away}",
        "15:04 learning",
        f"15:10 paused: {away}",
        "19:04 learning",
        "19:20 paused: other programs use more than 20 % of the graphics card",
        "20:30 learning",
        "20:51 waiting: nothing new since the last update",
        "21:30 waiting: updated less than 6 hours ago; next at 02:51",
        "22:00 waiting: quiet hours until 07:30",
        "08:00 waiting: on battery",
        f"12:00 waiting: {away}",
        "12:34 learning",
        "14:03 waiting: nothing new since the last update",
    ]
    assert [(run.state, run.by_hand) for run in day.runs] == [("done", False)] * 2
    assert list(day.engine.done.values()) == [90, 90], "each step once"


def test_a_server_learns_when_nobody_has_asked_for_a_minute_and_answers_while_it_learns(
    life: Callable[..., Life],
) -> None:
    """No display, no battery, no lid, no graphics card."""
    server = life(start="2026-03-02T08:00", steps=60)
    server.machine = {"free_memory_bytes": 6 * GIB, "free_disk_bytes": 90 * GIB}
    server.write(8)
    server.until("12:00", asked_every=TICK_SECONDS)
    server.until("12:30")
    server.until("18:00", asked_every=TICK_SECONDS)
    assert server.timeline == [
        "08:00 waiting: requests are coming in; learns 1 minute after the last one",
        "12:00 learning",
        "12:59 waiting: nothing new since the last update",
    ]
    assert list(server.engine.done.values()) == [60] and server.runs[0].notes == ()


def test_a_server_that_is_asked_day_and_night_learns_when_its_texts_have_waited_for_a_day(
    life: Callable[..., Life],
) -> None:
    server = life(start="2026-03-02T08:00", steps=60)
    server.write(8)
    server.until("12:00", asked_every=TICK_SECONDS)
    server.live(24 * 3600.0, asked_every=TICK_SECONDS)
    assert server.timeline == [
        "08:00 waiting: requests are coming in; learns 1 minute after the last one",
        "08:00 learning",
        "08:59 waiting: nothing new since the last update",
    ]


def test_memory_that_learning_itself_takes_does_not_make_it_come_and_go(life: Callable[..., Life]) -> None:
    """Half of 8 GiB is its budget, and others leave less than it needs: it finds that out once, and waits for more."""
    laptop = life(start="2026-03-02T08:00", steps=60)
    others = 4.4 * GIB

    def conditions() -> Conditions:
        laptop.engine.memory = Memory(int(3.5 * GIB)) if laptop.engine.learning else None
        held = laptop.engine.memory.bytes if laptop.engine.memory else 0
        return Conditions(free_memory_bytes=int(8 * GIB - others - held))

    laptop.considering._probe = conditions
    laptop.write(8)
    laptop.until("20:00")
    short = "less than 4 GiB of memory is free: learning takes 3.5 GiB, and 512 MiB is to stay free"
    assert laptop.timeline[-1].endswith(f"paused: {short}") and len(laptop.runs[0].notes) == 1
    others = 3.9 * GIB
    laptop.until("22:00")
    assert [run.state for run in laptop.runs] == ["done"] and len(laptop.runs[0].notes) == 1


def test_a_clock_that_jumps_a_day_and_back_starts_nothing_twice_and_keeps_nobody_waiting(
    life: Callable[..., Life],
) -> None:
    server = life(start="2026-03-02T08:00", steps=60)
    server.write(8)
    server.live(10 * 60.0)
    server.wall += 86400.0
    server.live(10 * 60.0)
    server.wall -= 86400.0
    server.live(45 * 60.0)
    assert [run.state for run in server.runs] == ["done"] and list(server.engine.done.values()) == [60]
    server.wall += 86400.0  # wrong for a while: what comes in then counts as new in the right time too
    server.write(4)
    server.store.note(PAUSE, {"until": server.wall + 3600.0})
    server.live(60.0)
    server.wall -= 86400.0
    server.live(7 * 3600.0)
    assert [run.state for run in server.runs] == ["done", "done"], "six hours of rest, not thirty"
    assert all(run.requested_at <= (run.finished_at or 0.0) <= server.wall for run in server.runs)


def test_a_clock_that_was_years_ahead_keeps_nothing_from_being_learnt(life: Callable[..., Life]) -> None:
    """As on a board without a battery for its clock, before it reaches a time server."""
    server = life(start="2031-03-02T08:00", steps=5)
    server.write(8)
    server.live(20 * 60.0)
    server.wall = datetime.fromisoformat("2026-03-02T08:00").timestamp()
    server.live(5 * 60.0)
    server.write(4)
    server.live(7 * 3600.0)
    assert [run.state for run in server.runs] == ["done", "done"]


def test_a_laptop_that_wakes_up_belongs_to_who_woke_it(life: Callable[..., Life]) -> None:
    """Suspended for eight hours in the middle of an update: its idle time still counts from before."""
    laptop = life(start="2026-03-02T20:00", steps=60)
    laptop.machine = {"on_battery": False, "lid_closed": False}
    laptop.write(8)
    laptop.until("20:05", typing=True)
    laptop.until("20:30")
    laptop.sleep("04:30")
    laptop.live(10 * 60.0)
    away = "you are at the machine; learns after 5 minutes without keyboard and mouse"
    assert laptop.timeline == [
        f"20:00 waiting: {away}",
        "20:09 learning",
        f"04:30 paused: {away}",
        "04:35 learning",
    ]
    laptop.live(60 * 60.0)
    assert [run.state for run in laptop.runs] == ["done"] and list(laptop.engine.done.values()) == [60]


def test_a_program_that_comes_and_goes_does_not_make_learning_come_and_go(life: Callable[..., Life]) -> None:
    """Each pause lasts longer than the one before; the update still gets on."""
    server = life(start="2026-03-02T08:00", steps=240)
    server.write(8)
    for _ in range(60):
        server.machine = {"gpu_use_percent": 90.0}
        server.live(120.0)
        server.machine = {"gpu_use_percent": 0.0}
        server.live(120.0)
    (run,) = server.runs
    assert 3 <= len(run.notes) <= 24
    assert sum(server.engine.done.values()) > 30


def test_pausing_by_hand_ends_when_the_person_says_so_or_at_its_time(life: Callable[..., Life]) -> None:
    server = life(start="2026-03-02T08:00", steps=60)
    server.write(8)
    server.until("08:10")
    server.store.note(PAUSE, {"until": None})
    server.until("08:20")
    server.store.note(PAUSE, {})
    server.until("08:30")
    server.store.note(PAUSE, {"until": server.wall + 1200.0})
    server.until("09:40")
    assert server.timeline == [
        "08:00 learning",
        "08:10 paused: paused until dittod resume",
        "08:20 learning",
        "08:30 paused: paused until 08:50",
        "08:50 learning",
        "09:29 waiting: nothing new since the last update",
    ]
    assert server.runs[0].notes == ("paused at 08:10: by hand", "paused at 08:30: by hand")


def test_what_was_asked_for_by_hand_goes_on_while_the_person_works(life: Callable[..., Life]) -> None:
    laptop = life(start="2026-03-02T08:00", steps=60)
    laptop.machine = {"on_battery": True, "battery_percent": 80.0, "temperature_celsius": 60.0}
    laptop.write(8)
    laptop.until("08:10", typing=True)
    run = runs.request(laptop.store, Settings(), "default", by_hand=True, now=laptop.wall)
    laptop.until("08:20", typing=True)
    assert laptop.engine.done == {run.id: 10}
    laptop.machine["temperature_celsius"] = 97.0
    laptop.until("08:30", typing=True)
    assert laptop.engine.done == {run.id: 10} and "too hot" in laptop.store.noted("learning")["reason"]
    laptop.machine["temperature_celsius"] = 60.0
    laptop.until("10:00", typing=True)
    assert laptop.store.run(run.id).state == "done"


def test_looks_at_set_times_start_nothing_between_them(life: Callable[..., Life]) -> None:
    server = life(start="2026-03-02T08:00", consider_at="30 12 * * mon")
    server.write(8)
    server.considering.look()
    assert server.store.noted("learning")["reason"] == "looks again at 12:30"
    server.wall += 86400.0
    server.considering.look()
    assert server.store.noted("learning")["reason"] == "looks again at 2026-03-09 12:30"
