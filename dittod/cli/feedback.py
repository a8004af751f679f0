"""feedback: what the user says of answers, at the command line, whether a daemon runs or not."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

from dittod.cli.opened import opened
from dittod.cli.terminal import day, err, one_line, out, print_json, print_table
from dittod.config import Settings
from dittod.errors import DittodError, NotFound
from dittod.feedback import Desk
from dittod.serving import Feedback, Remark
from dittod.store import Store
from dittod.types import Message
from dittod.views.profiles import check_known

MOST_ANSWERS = 20  # of a list for people; --json has more
MOST_IN_JSON = 10_000
SHORTEST_ID = 4  # characters of its beginning
NOTHING_KEPT = "no answers are kept: see the setting keep_interactions"
BECAME = {
    "demonstration": "a text to learn from, as soon as a daemon has read it",
    "rejected": "an answer to be avoided, from the next update on",
    "noted": "noted",
}


def add_feedback(
    answer: str | None, edit: Path | None, rate: str | None, *, prompt: str | None, given: Path | None, profile: str
) -> None:
    """Of a kept answer by its id, or of one that is given with its prompt."""
    if rate not in (None, "up", "down") or (edit is None and rate is None) or (edit is not None and rate == "up"):
        raise DittodError("say one thing of the answer", "give --edit FILE, or --rate up, or --rate down")
    rating = cast(Literal["up", "down"] | None, rate)
    edited = None if edit is None else _text_of(edit)
    if answer is not None:
        if not answer:
            raise DittodError("an empty id names no answer", "list those that are kept: dittod feedback answers")
        if prompt is not None or given is not None:
            raise DittodError("the answer's id says what was asked", "leave out --prompt and --given")
        remark = Remark(answer_id=answer, edited=edited, rating=rating)
    else:
        remark = _brought(prompt, given, profile, edited, rating)
    with _desk() as (store, _, desk):
        if remark.answer_id:
            remark = replace(remark, answer_id=_answer_id(store, remark.answer_id))
        else:
            check_known(store, profile)
        taken = desk.take(remark)
    out.print(f"{taken.id}: {BECAME[taken.outcome]}", markup=False, soft_wrap=True)


def list_feedback(profile: str | None, *, as_json: bool) -> None:
    """The oldest first."""
    with _desk() as (_, _, desk):
        found = [each for each in desk.all() if profile in (None, each.profile)]
    if as_json:
        print_json([_described(each) for each in found])
        return
    print_table(
        ("id", "profile", "given", "rating", "became"),
        [(each.id[:11], each.profile, day(each.created_at), each.rating, each.outcome) for each in found],
        empty="no feedback yet: dittod feedback add --help",
    )


def remove_feedback(id_prefixes: list[str]) -> None:
    """None of them, if one cannot be told."""
    with _desk() as (_, _, desk):
        known = [each.id for each in desk.all()]
        ids = [_only(known, each, "feedback", "dittod feedback list") for each in id_prefixes]
        for id in dict.fromkeys(ids):
            desk.take_back(id)
    err.print(f"{len(set(ids))} taken back")


def list_answers(profile: str | None, *, as_json: bool) -> None:
    """The newest first."""
    with _desk() as (store, settings, _):
        found = store.interactions(profile, MOST_IN_JSON if as_json else MOST_ANSWERS)
    if as_json:
        print_json(
            [
                {
                    "id": each.id,
                    "profile": each.profile,
                    "asked_at": each.asked_at,
                    "adapter_id": each.adapter_id,
                    "messages": [{"role": turn.role, "content": turn.content} for turn in each.messages],
                    "answer": each.answer,
                }
                for each in found
            ]
        )
        return
    if not found:
        kept = ", ".join(f"{name} for {days:g} days" for name, days in settings.keep_interactions.items())
        out.print(f"no answer is kept yet; kept are: {kept}" if kept else NOTHING_KEPT, markup=False)
    for each in found:
        out.print(f"{each.id}  {each.profile}  {day(each.asked_at)}", style="bold", markup=False)
        out.print(f"  {one_line(_question(each.messages), 74)}\n  {one_line(each.answer, 74)}", markup=False)


def _brought(
    prompt: str | None, given: Path | None, profile: str, edited: str | None, rating: Literal["up", "down"] | None
) -> Remark:
    if prompt is None or given is None:
        raise DittodError(
            "which answer?", "give its id, of one that is kept (dittod feedback answers), or --prompt and --given FILE"
        )
    return Remark("", profile, (Message("user", prompt),), _text_of(given), edited, rating)


def _answer_id(store: Store, id_prefix: str) -> str:
    """Of none that is kept, the desk says more."""
    if store.interaction(id_prefix) is not None:
        return id_prefix
    ids = [each.id for each in store.interactions(None, MOST_IN_JSON) if each.id.startswith(id_prefix)]
    return _only(ids, id_prefix, "answer", "dittod feedback answers") if ids else id_prefix


def _only(ids: Sequence[str], id_prefix: str, what: str, command: str) -> str:
    """The id that begins so. A few characters begin too many, or by a slip the only one that there is."""
    found = [each for each in ids if each.startswith(id_prefix) and len(id_prefix) >= SHORTEST_ID]
    if len(found) != 1:
        how_many = f"the ids of several begin with {id_prefix!r}" if found else f"no {what} begins with {id_prefix!r}"
        raise NotFound(how_many, f"give at least {SHORTEST_ID} characters of an id; list them with: {command}")
    return found[0]


def _described(feedback: Feedback) -> dict[str, object]:
    return {
        "id": feedback.id,
        "profile": feedback.profile,
        "rating": feedback.rating,
        "outcome": feedback.outcome,
        "created_at": feedback.created_at,
    }


def _question(messages: tuple[Message, ...]) -> str:
    return next((each.content for each in reversed(messages) if each.role == "user"), "")


def _text_of(file: Path) -> str:
    """'-' stands for stdin."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        text.encode("utf-8")  # stdin lets bytes through that are no text
        return text
    except FileNotFoundError as error:
        raise DittodError(f"there is no file {file}", "give a UTF-8 text file, or '-' for stdin") from error
    except (OSError, UnicodeError) as error:
        name = "what stands on stdin" if str(file) == "-" else file
        raise DittodError(f"{name} cannot be read as text", "give a UTF-8 text file, or the text on stdin") from error


@contextmanager
def _desk() -> Iterator[tuple[Store, Settings, Desk]]:
    with opened() as (_, settings, store):
        yield store, settings, Desk(store, settings, store.interaction)
