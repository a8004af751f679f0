"""A home with invented versions: texts, runs, verdicts with figures and answers, and no weights to be loaded.

Version 1 is the supervised policy and was served, 2 is DITTO's and is served, 3 has examples and was kept: it copies.
"""

from __future__ import annotations

from pathlib import Path

from fakes import demonstration

from dittod.paths import Home
from dittod.rows import FileRow
from dittod.store import Store
from dittod.types import Adapter, Recipe, Run, Verdict, Written

TEXTS = tuple(
    demonstration(
        f'Write to Ann about "Tea {day}".', f"Dear Ann,\n\ntea {day} is out.\n\nBob", written_at=86400.0 * day
    )
    for day in range(1, 9)
)
HELD_OUT = TEXTS[6:]
FIGURES = {
    "held_out_texts": 2.0,
    "base_nats_per_token": 4.0,
    "served_nats_per_token": 3.75,
    "few_shot_nats_per_token": 3.9,
    "supervised_nats_per_token": 3.3,
    "ditto-1_nats_per_token": 3.29,
    "ditto_nats_per_token": 3.25,
    "base_verifier": 0.125,
    "served_verifier": 0.4,
    "ditto_verifier": 0.75,
    "served_style": 1.5,
    "ditto_style": 1.0,
    "ditto_advantage": 2.314,
    "ditto_outputs": 4.0,
    "ditto_copies": 1.0,
    "ditto_usual_refusals": 0.0,
    "base_bits_per_byte": 2.25,
    "ditto_bits_per_byte": 2.5,
    "candidate_nats_per_token": 3.25,
    "panel_mean": 2.314,
    "panel_low": 1.02,
    "panel_high": 3.43,
}


def written(by: str, place: int, text: str) -> Written:
    """An answer to the prompt of one of the held-out texts."""
    return Written(by, HELD_OUT[place].id, text)


SUPERVISED = Verdict(
    True,
    ("The supervised policy is better than base.",),
    {
        "supervised_nats_per_token": 3.5,
        "supervised_verifier": 0.5,
        "panel_mean": 1.0,
        "panel_low": 0.6,
        "panel_high": 1.5,
    },
    (written("base", 0, "Tea is a drink."), written("supervised", 0, "Dear Ann, tea. Bob")),
)
DITTO = Verdict(
    True,
    ("DITTO is better than what was served.", "Authorship prefers it."),
    FIGURES,
    (
        written("ditto", 0, "Dear Ann,\n\nno tea."),
        written("served", 0, "Dear Ann, some tea."),
        written("base", 0, "Tea is a drink."),
        written("ditto", 1, "\x1b[2Jgone"),
        written("base", 1, ""),
    ),
)
COPIES = Verdict(
    False,
    ("3 of 4 answers of DITTO with examples copy a demonstration.", "Nothing else is better."),
    {"ditto-2_few_shot_nats_per_token": 3.2, "ditto-2_few_shot_outputs": 4.0, "ditto-2_few_shot_copies": 3.0},
)


def versions(folder: Path) -> Home:
    """The home, without a daemon."""
    home = Home(folder)
    home.create()
    store = Store(home.store)
    for day, text in enumerate(TEXTS, start=1):
        store.record_file(FileRow(f"{day}.eml", "default", 1, 1, "read", "", (), {}, 1.0), [text])
    add(store, "a", Recipe("supervised"), SUPERVISED, learnt=range(4))
    add(store, "b", Recipe("ditto"), DITTO, learnt=range(2, 6))
    add(store, "c", Recipe("ditto", 2, 3), COPIES, learnt=range(6))
    for at, letter in enumerate("ab", start=1):
        store.promote("default", letter * 64, float(at))
    store.close()
    return home


def add(store: Store, letter: str, recipe: Recipe, verdict: Verdict, *, learnt: range, base: str = "starter") -> None:
    """The next version of the default profile, whose id is that letter."""
    ids, held_out = tuple(TEXTS[each].id for each in learnt), tuple(each.id for each in HELD_OUT)
    run = store.request_run(
        Run(f"run-{letter}", "default", "done", 7, "clean", 5.0, demonstration_ids=ids, held_out_ids=held_out)
    )
    made = Adapter(
        id=letter * 64,
        profile="default",
        number=0,
        state="candidate",
        path="",
        run_id=run.id,
        base_model=base,
        base_revision="1",
        template_sha256="t",
        demonstration_ids=ids,
        seed=7,
        created_at=86400.0,
        promoted_at=None,
        verdict=verdict,
        recipe=recipe,
    )
    store.add_adapter(made)
