"""When the user is asked before so much is forgotten."""

from __future__ import annotations

import pytest

from dittod.ingest.brake import sentence, stopped_by


@pytest.mark.parametrize(
    ("going", "having", "profile"),
    [
        ({"mail": 8}, {"mail": 15}, "mail"),
        ({"mail": 8}, {"mail": 16}, None),  # half is not more than half
        ({"mail": 7}, {"mail": 7, "blog": 1}, None),  # few
        ({"mail": 7}, {"mail": 7}, None),
        ({"mail": 4, "blog": 4}, {"mail": 4, "blog": 4}, ""),  # all of the folder, a little each
        ({"mail": 4, "blog": 4}, {"mail": 4, "blog": 5}, None),
        ({"mail": 300, "blog": 9}, {"mail": 1000, "blog": 9}, "blog"),
        ({}, {"mail": 9}, None),
        ({}, {}, None),
    ],
)
def test_the_brake_stops_what_takes_more_than_half_of_a_profile_or_all_of_the_folder(
    going: dict[str, int], having: dict[str, int], profile: str | None
) -> None:
    assert stopped_by(going, having) == profile


@pytest.mark.parametrize(
    ("going", "profile"),
    [({"mail": 1}, "mail"), ({"mail": 0, "blog": 1}, "blog"), ({"mail": 1, "blog": 1}, ""), ({"mail": 0}, None)],
)
def test_where_another_folder_is_watched_it_stops_whatever_takes_a_text(
    going: dict[str, int], profile: str | None
) -> None:
    assert stopped_by(going, {"mail": 99, "blog": 99}, is_elsewhere=True) == profile
    assert stopped_by(going, {"mail": 99, "blog": 99}) is None


def test_the_user_is_told_how_much_and_what_to_say() -> None:
    assert sentence("mail", 8, 9) == (
        "8 of 9 texts of profile mail are no longer in the watched folder: nothing is forgotten until you say so with"
        " dittod forget"
    )
    assert "of all profiles" in sentence("", 8, 8)
    assert sentence("mail", 1, 9, is_elsewhere=True) == (
        "another folder is watched than before, and 1 of 9 texts of profile mail are not in it: nothing is forgotten"
        " until you say so with dittod forget, or set watched_folder back"
    )
    assert "set identities" in sentence("mail", 8, 9, is_guess=True)
