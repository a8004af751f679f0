"""What the dashboard's tests show: the mails of an invented person, versions and updates made of them. Figures are made
up, and look as the daemon's do. Every call makes a document of its own, which may be changed.
"""

from __future__ import annotations

import hashlib
from typing import Any

from dittod.serving import Document
from dittod.stages import Course
from dittod.types import demonstration_id

from .fakes import EMAIL

NOW = 1_700_000_000.0
DAY = 86_400.0
ALIASES = {"default": "ditto", "email": "ditto/email"}
REASONS = {
    "learn": "learnt: recent, a short mail",
    "hold out": "held out: among the latest",
    "spare": "not needed: newer ones are enough",
    "copy": "left aside: nearly the same words as a newer one",
    "excluded": "excluded by you",
}
MAILS = (
    ("the broken window", "The glazier comes on Tuesday. I have put cardboard over it; please keep the cat inside."),
    ("Saturday's walk", "Rain or not, I leave at nine from the mill. Bring the good thermos, and nothing with nuts."),
    (
        "the choir's chairs",
        "Thirty-two are back, four are at Ines's, and one is beyond help. I'll glue what can be glued.",
    ),
    ("tea", "Gladly, but not before four: the bees want me first."),
    ("your report", "I read it twice. Page 7 is the report; the rest is scaffolding. Shall we cut it together?"),
    ("the key", "Under the third pot from the left, as ever. The third, not the blue one."),
    ("the minutes", "Three lines will do: who came, what we decided, who brings cake. Nobody reads more."),
    ("a bicycle for Pim", "Take mine. The brakes are honest, the bell is not."),
    ("Aunt Ruth", "She asks after you every week and forgets it every Sunday. Write her, it need not be long."),
    ("the map", "The path past the quarry is closed until May. I marked the way round in pencil, so it may change."),
    ("two small things", "First, thank you. Second, the ladder: I need it on Friday."),
    ("the fair", "We sold all the jam and none of the candles. Next year, more jam."),
)
COURSE = Course(supervised_steps=8, dpo_steps=20, resample_every=20)
VERDICTS = (
    (True, "preferred to base by 0.61 units of the panel (0.32 to 0.90)", "+0.61 (0.32 to 0.90)"),
    (False, "not clearly better than email@1: the interval reaches to -0.05", "+0.12 (-0.05 to 0.29)"),
    (True, "preferred to email@1 by 0.34 units of the panel (0.11 to 0.57)", "+0.34 (0.11 to 0.57)"),
)
FOR_ZED = '{"language_models": {"openai_compatible": {"dittod": {"api_url": "URL/v1"}}}}'
VARIABLES = "export OPENAI_BASE_URL=URL/v1\nexport OPENAI_API_KEY=«TOKEN»"
CLIENTS = (
    ("zed", "Zed", "An editor", "json", FOR_ZED),
    ("env", "Environment variables", "What most programs read", "sh", VARIABLES),
)


def a_demonstration(number: int, use: str = "learn", profile: str = "email") -> Document:
    """One of the mails above."""
    topic, text = MAILS[number]
    prompt = f"Write an e-mail about {topic}."
    return {
        "id": demonstration_id(prompt, text),
        "profile": profile,
        "kind": "mail",
        "use": use,
        "reason": REASONS[use],
        "excluded": use == "excluded",
        "served_has_learnt": number < 6,
        "written_at": NOW - number * DAY,
        "prompt": prompt,
        "prompt_by": "template",
        "template": prompt,
        "completion": text,
        "source": hashlib.sha256(text.encode()).hexdigest(),
        "files": [f"{profile}/sent-{number:02d}.eml"],
        "words": len(text.split()),
    }


def a_file(number: int, profile: str = "email", **other: Any) -> Document:
    """Read, with a signature cut off."""
    return {
        "path": f"{profile}/sent-{number:02d}.eml",
        "profile": profile,
        "state": "read",
        "reason": "",
        "read_at": NOW,
        "masked": {"e-mail address": 1} if number % 4 == 0 else {},
        "removed": {"signature": 1, "quotation": 2} if number % 3 == 0 else {},
        "reasons": {},
        "senders": {"odile@example.org": 1},
        **other,
    }


def a_version(number: int, state: str) -> Document:
    """Of the voice of mails."""
    promoted, reason, panel = VERDICTS[number - 1]
    made_up = hashlib.sha256(f"email@{number}".encode()).hexdigest()[:32]
    id = EMAIL.id if number == 3 else made_up  # the one that the fake endpoint answers with
    return {
        "id": id,
        "profile": "email",
        "number": number,
        "state": state,
        "path": f"/home/odile/adapters/{id}",
        "run_id": f"run-{number}",
        "base_model": "starter",
        "base_revision": "0" * 40,
        "template_sha256": "1" * 64,
        "demonstration_ids": [a_demonstration(each)["id"] for each in range(6)],
        "seed": number,
        "created_at": NOW - (4 - number) * DAY,
        "promoted_at": NOW - (4 - number) * DAY if promoted else None,
        "verdict": {"promoted": promoted, "reasons": [reason], "figures": {"panel_mean": 0.34}, "outputs": []},
        "pinned": False,
        "recipe": {"policy": "ditto", "iteration": 0, "examples": 3 if number == 3 else 0},
        "name": f"email@{number}",
        "model": f"ditto/email@{number}",
        "recipe_in_words": "DITTO, 3 examples" if number == 3 else "DITTO",
        "state_in_words": state,
        "texts": 6,
        "promoted": promoted,
        "panel": panel,
        "first_reason": reason,
        "tripped": ["1 of 40 answers of this version copies a sentence of yours"] if number == 2 else [],
        "against": [] if promoted else [f"its verdict: {reason}"],
        "gone": False,
        "served": state == "promoted",
        "receipt": None,
    }


def a_step(place: int, phase: str, step: int, iteration: int = 0) -> Document:
    """Log-probs drift apart as they do where learning goes well."""
    figures = {
        "supervised": {"loss": 3.2 * 0.9**step, "grad_norm": 1.1, "learning_rate": 2e-4},
        "sampling": {
            "samples": 24.0,
            "mean_tokens": 31.0,
            "eos_rate": 0.9,
            "policy_logps": -44.0,
            "reference_logps": -41.5,
            "drift": -2.5,
        },
        "dpo": {
            "loss": 0.69 * 0.95**step,
            "chosen_logps": -42.0 + 0.3 * step,
            "rejected_logps": -40.0 - 1.2 * step,
            "chosen_drift": 0.3 * step,
            "rejected_drift": -1.2 * step,
            "margin": 0.075 * step,
            "accuracy": min(1.0, 0.5 + step / 20),
            "demonstration_drift_per_token": 0.01 * step,
        },
    }[phase]
    return {"place": place, "phase": phase, "step": step, "iteration": iteration, "figures": figures}


def a_run(id: str, state: str, **other: Any) -> Document:
    """One update of the voice of mails."""
    return {
        "id": id,
        "profile": "email",
        "state": state,
        "requested_at": NOW - DAY,
        "finished_at": NOW - DAY + 900 if state != "running" else None,
        "by_hand": False,
        "preset": "cpu",
        "seed": 7,
        "demonstrations": 6,
        "held_out": 2,
        "version": None,
        "promoted": None,
        "error": None,
        "notes": [],
        "phase": None,
        "iteration": 0,
        "done": 0,
        "of": 0,
        "figures": {},
        "paused": None,
        "stages": stages(len(COURSE.stages())),
        "seconds_left": None,
        **other,
    }


def stages(done: int) -> list[Document]:
    """So many are behind it, and it is at none."""
    return [
        {
            "phase": each.phase,
            "iteration": each.iteration,
            "title": each.title,
            "state": "done" if number < done else "to come",
            "seconds_left": 0.0 if number < done else None,
        }
        for number, each in enumerate(COURSE.stages())
    ]


def an_open_run() -> Document:
    """In the midst of its preference steps."""
    there = stages(3)
    there[3].update(state="now", seconds_left=420.0)
    other = {"phase": "dpo", "iteration": 0, "done": 4, "of": 20, "stages": there, "seconds_left": 480.0}
    return a_run("run-4", "running", requested_at=NOW, **other)


def a_receipt(id: str, profile: str, texts: int, adapters: list[str], replaced_by: str) -> Document:
    return {
        "id": id,
        "at": NOW,
        "profile": profile,
        "cause": "you asked for it",
        "demonstrations": texts,
        "adapters": adapters,
        "replaced_by": replaced_by,
        "run_id": None,
        "finished": False,
    }


def a_client(url: str, name: str, title: str, about: str, language: str, text: str) -> Document:
    path = "~/.config/zed/settings.json" if name == "zed" else None
    return {
        "name": name,
        "title": title,
        "about": about,
        "tried": name == "env",
        "parts": [{"path": path, "language": language, "text": text.replace("URL", url)}],
        "steps": ["Choose the model ditto in its settings."],
        "origins": [],
        "least_tokens": 0,
        "command": f"dittod connect {name} --write",
    }
