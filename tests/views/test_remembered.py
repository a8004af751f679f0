"""What takes long to find out is found once, and nobody waits for what somebody else wants to know."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dittod.store import Store
from dittod.views.remembered import remembered


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "store.sqlite")
    yield made
    made.close()


def test_who_wants_to_know_something_else_does_not_wait(store: Store) -> None:
    """Else this waits for itself: what takes long is found while another thing is asked for."""
    begun, go_on = threading.Event(), threading.Event()

    def slowly() -> str:
        begun.set()
        assert go_on.wait(10.0)
        return "slow"

    found: list[str] = []
    slow = threading.Thread(target=lambda: found.append(remembered(store, "slow", lambda: (1,), slowly)))
    slow.start()
    assert begun.wait(10.0)
    quick = threading.Thread(target=lambda: found.append(remembered(store, "quick", lambda: (1,), lambda: "quick")))
    quick.start()
    quick.join(10.0)
    go_on.set()
    slow.join(10.0)
    assert found == ["quick", "slow"]


def test_who_wants_to_know_the_same_at_once_waits_for_one_that_looks(store: Store) -> None:
    looked: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def look() -> int:
        looked.append(1)
        begun.set()
        assert go_on.wait(10.0)
        return len(looked)

    found: list[int] = []
    both = [threading.Thread(target=lambda: found.append(remembered(store, "it", lambda: (1,), look))) for _ in "ab"]
    both[0].start()
    assert begun.wait(10.0)
    both[1].start()
    go_on.set()
    for each in both:
        each.join(10.0)
    assert found == [1, 1]


def test_what_could_not_be_found_is_looked_for_again(store: Store) -> None:
    with pytest.raises(KeyError):
        remembered(store, "it", lambda: (1,), lambda: {}["it"])
    assert remembered(store, "it", lambda: (1,), lambda: "found") == "found"
