"""A home for the tests of the dashboard: two voices with invented texts, an update under way, three versions.

It keeps what is done to it for as long as it lives, so that a page shows what has become of it. Nothing is learnt, and
nobody judges. What the documents look like is in shown.py.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dittod.errors import HasChanged, NotFound, RequestError
from dittod.serving import Document
from dittod.types import demonstration_id

from .shown import (
    ALIASES,
    CLIENTS,
    DAY,
    NOW,
    REASONS,
    a_client,
    a_demonstration,
    a_file,
    a_receipt,
    a_run,
    a_step,
    a_version,
    an_open_run,
    stages,
)


@dataclass
class FakeDashboard:
    """`serving.Dashboard` without a daemon. Whoever tests may look into its lists and change them."""

    demonstrations: list[Document] = field(default_factory=list[Document])
    files: list[Document] = field(default_factory=list[Document])
    all_versions: list[Document] = field(default_factory=list[Document])  # the newest first
    all_runs: list[Document] = field(default_factory=list[Document])  # likewise
    steps: dict[str, list[Document]] = field(default_factory=dict[str, list[Document]])  # by run
    samples: list[Document] = field(default_factory=list[Document])
    all_receipts: list[Document] = field(default_factory=list[Document])
    judged: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    paused_until: float | None = None
    kept_days: dict[str, float] = field(default_factory=dict[str, float])  # questions and answers, by profile
    held_up: int = 0  # texts, the first ones, whose files are gone and wait for a word
    error: Exception | None = None  # raised instead of everything
    looks: int = 0  # at the digest
    threads: set[str] = field(default_factory=set[str])  # in which it was asked
    _served_before: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        uses = ("learn",) * 6 + ("hold out",) * 2 + ("spare", "copy", "excluded", "learn")
        self.demonstrations = [a_demonstration(n, use) for n, use in enumerate(uses[:-1])]
        self.demonstrations.append(a_demonstration(11, "learn", "default"))
        self.files = [a_file(n) for n in range(11)] + [a_file(11, "default")]
        why = "no text of yours is in it: all of it is quoted"
        self.files.append(a_file(12, state="set_aside", reason=why, removed={"quotation": 9}))
        self.all_versions = [a_version(3, "promoted"), a_version(2, "candidate"), a_version(1, "retired")]
        done = [a_run(f"run-{n}", "done", version=f"email@{n}", promoted=n != 2) for n in (3, 2, 1)]
        self.all_runs = [an_open_run(), *done]
        taken = [
            *(("supervised", n, 0) for n in range(1, 9)),
            ("sampling", 1, 0),
            *(("dpo", n, 0) for n in range(1, 5)),
        ]
        course = [a_step(place, *each) for place, each in enumerate(taken, start=1)]
        self.steps = {run["id"]: [*course] for run in self.all_runs}
        self.samples = [self._sample(n) for n in range(3)]
        self.all_receipts = [a_receipt("a1b2c3d4", "default", 1, ["default@1"], "base")]

    # what there is

    def now(self) -> Document:
        self._seen()
        state = "paused" if self.paused_until is not None else "learning" if self._open() else "waiting"
        why = {"paused": "paused by you", "learning": None, "waiting": "requests are coming in"}[state]
        return {
            "version": "0.1.0",
            "daemon_pid": 4711,
            "endpoint": "http://127.0.0.1:3488/v1",
            "watched_folder": "/home/odile/dittod",
            "watched_folder_is_mounted": True,
            "engine": {
                "state": "ready",
                "pid": 4712,
                "base_model": "starter",
                "memory_bytes": 734_003_200,
                "last_death": None,
                "last_died_at": None,
                "set_aside": [],
                "trouble": None,
            },
            "learning": {"state": state, "reason": why, "profiles": self._waiting(), "unreadable": []},
            "disk": {"used_bytes": 181_403_648, "budget_bytes": 5_368_709_120, "sentence": None},
            "brake": None,
            "identities": ["odile@example.org"],
            "has_mail": True,
            "identities_guessed": True,
            "set_aside": 1,
            "profiles": [self._profile(name) for name in ALIASES],
            "memory": {"used_bytes": 734_003_200, "budget_bytes": 4_294_967_296},
            "next": None if self._open() else "whether to learn is looked at next at 12:30",
            "setup": [
                {"done": True, "what": "Put mails that you have sent into /home/odile/dittod"},
                {"done": True, "what": "Have a first version learnt: dittod update"},
                {"done": False, "what": "Ask it something: dittod connect has ready settings for your programs"},
            ],
        }

    def voices(self) -> Document:
        self._seen()
        return {"profiles": [self._voice(name) for name in ALIASES], "watched_folder": "/home/odile/dittod"}

    def voice(self, profile: str, search: str) -> Document:
        self._seen()
        self._check(profile)
        words = search.casefold().split()
        found = [each for each in self._of(profile) if _has(each, words)]
        return {
            "name": profile,
            "alias": ALIASES[profile],
            "demonstrations": sorted(found, key=lambda each: -each["written_at"])[:300],
            "more": max(0, len(found) - 300),
            "files": [each for each in self.files if each["profile"] == profile and (not words or _has(each, words))],
            "more_files": 0,
        }

    def demonstration(self, profile: str, id: str) -> Document:
        self._seen()
        return self._found(profile, id)

    def runs(self) -> Document:
        self._seen()
        running = self._open()
        return {"runs": self.all_runs[:50], "current": running and running["id"], "waiting": self._waiting()}

    def run(self, id: str, after: int) -> Document:
        self._seen()
        run = _one(self.all_runs, "update", lambda each: each["id"] == id)
        since = after if after in [each["place"] for each in self.steps[id]] else 0
        steps = [each for each in self.steps[id] if each["place"] > since]
        return {**run, "after": since, "steps": steps, "samples": self.samples if run["state"] == "running" else []}

    def versions(self) -> Document:
        self._seen()
        served = next((each["name"] for each in self.all_versions if each["served"]), "base")
        kept = {"default": "base", "email": served}
        return {"versions": self.all_versions, "served": kept, "receipts": self.all_receipts}

    def version(self, wanted: str) -> Document:
        self._seen()
        found = self._version(wanted)
        held_out = self.demonstrations[6]["prompt"]
        answers = [
            {"title": "base", "text": "I am writing to inform you that the minutes are attached."},
            {
                "title": f"{found['name']}: {found['recipe_in_words']}",
                "text": "Two lines: we met, we agreed. Cake: Pim.",
            },
        ]
        return {
            **found,
            "reasons": found["verdict"]["reasons"],
            "judges": {
                "columns": ["panel", "nats/token", "authorship", "style"],
                "rows": [
                    {"chosen": False, "name": "what was served", "values": ["0", "3.211", "0.402", "1.900"]},
                    {"chosen": True, "name": found["recipe_in_words"], "values": ["0.340", "2.754", "0.588", "1.312"]},
                ],
                "note": "nats/token and style: less is better",
            },
            "guards": {
                "columns": ["answers", "tripped", "bits/byte"],
                "rows": [{"chosen": True, "name": found["recipe_in_words"], "values": ["40", "none", "1.102"]}],
                "note": "",
            },
            "prompts": {self.demonstrations[6]["id"]: held_out},
            "written": [{"prompt": held_out, "answers": answers}, {"prompt": None, "answers": answers}],
            "course": [
                {"phase": "supervised", "steps": 8, "figure": "loss", "first": 2.88, "last": 1.38},
                {"phase": "dpo", "steps": 4, "figure": "margin", "first": 0.075, "last": 0.3},
            ],
            "steps": self.steps.get(found["run_id"], []),
        }

    def receipts(self) -> Document:
        self._seen()
        return {"receipts": self.all_receipts}

    def judgements(self) -> Document:
        self._seen()
        pairs = Counter((profile, *sorted((chosen, other))) for profile, chosen, other in self.judged)
        tallies = [self._tally(*pair, count) for pair, count in pairs.items()]
        return {"tallies": tallies, "total": len(self.judged)}

    def clients(self, url: str) -> Document:
        self._seen()
        return {"url": f"{url}/v1", "clients": [a_client(url, *each) for each in CLIENTS]}

    def digest(self) -> dict[str, str]:
        self._seen()
        self.looks += 1
        views = {
            "now": (self.paused_until, self.all_runs),
            "voices": (self.demonstrations, self.files),
            "runs": (self.all_runs, self.steps, self.samples),
            "versions": self.all_versions,
            "receipts": self.all_receipts,
        }
        return {name: hashlib.sha256(json.dumps(each).encode()).hexdigest()[:16] for name, each in views.items()}

    # what is done to it

    def set_prompt(self, profile: str, id: str, prompt: str | None) -> Document:
        self._seen()
        found = self._found(profile, id)
        told = found["template"] if prompt is None else prompt.strip()
        if not told:
            raise RequestError("the prompt is empty", "nothing was changed", param="prompt")
        by = "template" if prompt is None else "user"
        changed = told != found["prompt"]
        found.update(prompt=told, prompt_by=by, id=demonstration_id(told, found["completion"]))
        return {**found, "changed": changed, "masked": {}}

    def exclude(self, profile: str, id: str, excluded: bool) -> Document:
        self._seen()
        found = self._found(profile, id)
        use = "excluded" if excluded else "learn"
        found.update(excluded=excluded, use=use, reason=REASONS[use])
        return found

    def update(self, profile: str) -> Document:
        self._seen()
        self._check(profile)
        asked = a_run(
            f"run-{len(self.all_runs) + 1}", "requested", profile=profile, by_hand=True, requested_at=NOW + 60
        )
        asked.update(finished_at=None, stages=[], paused="email is learnt first")
        self.steps[asked["id"]] = []
        self.all_runs.insert(0, asked)
        return asked

    def stop_update(self, profile: str) -> None:
        self._seen()
        self._check(profile)
        for run in self.all_runs:
            if run["profile"] == profile and run["state"] in ("requested", "running"):
                run.update(state="stopped", finished_at=NOW + 120)
                return
        raise NotFound(f"no update of {profile} is open", "")

    def pause(self, seconds: float | None) -> None:
        self._seen()
        if seconds is not None and not 0 < seconds <= 365 * DAY:
            raise RequestError("that is no length of time", "give up to a year", param="seconds")
        self.paused_until = time.time() + (seconds or 10 * 365 * DAY)

    def resume(self) -> None:
        self._seen()
        self.paused_until = None

    def promote(self, wanted: str) -> Document:
        self._seen()
        found = self._version(wanted)
        before = next((each["name"] for each in self.all_versions if each["served"]), "base")
        self._served_before.append(before)
        self._serve(found["name"])
        return found

    def roll_back(self, profile: str, shown: str) -> None:
        self._seen()
        self._check(profile)
        served = self.versions()["served"][profile]
        if served != shown:
            raise HasChanged(f"by now {served} is served, and not {shown}", "look again")
        self._serve(self._served_before.pop() if self._served_before else "base")

    def pin(self, wanted: str, pinned: bool) -> Document:
        self._seen()
        found = self._version(wanted)
        state = found["state"]
        found.update(pinned=pinned, state_in_words=f"{state}, pinned" if pinned else state)
        return found

    def rehearse_forgetting(self, targets: list[str], profile: str | None) -> Document:
        self._seen()
        return self._planned(targets, profile)[1]

    def forget(self, targets: list[str], profile: str | None, texts: int) -> Document:
        self._seen()
        going, document = self._planned(targets, profile)
        if len(going) != texts:
            raise HasChanged(f"by now it would be {len(going)} texts, and not {texts}", "look again")
        self.demonstrations = [each for each in self.demonstrations if each not in going]
        self.held_up = self.held_up if targets or profile else 0
        gone = {version for receipt in document["receipts"] for version in receipt["adapters"]}
        for each in self.all_versions:
            if each["name"] in gone:
                each.update(state="forgotten", state_in_words="forgotten 2023-11-14", gone=True, served=False)
        self.all_receipts += [{**each, "finished": True} for each in document["receipts"]]
        return {"receipts": self.all_receipts[-len(document["receipts"]) :], "finished": True}

    def judge(self, chosen: str, other: str) -> Document:
        names = [each if each == "base" else str(self._version(each)["name"]) for each in (chosen, other)]
        if names[0] == names[1]:
            raise RequestError(f"both answers are by {names[0]}", "compare two versions", param="other")
        self.judged.append(("email", names[0], names[1]))  # the only voice with versions here
        return self.judgements()

    def advance(self) -> None:
        """The update under way takes one more step; it is done after its last."""
        run = self._open()
        if run is None:
            return
        steps = self.steps[run["id"]]
        if run["done"] >= run["of"]:
            run.update(state="done", finished_at=NOW + 900, version="email@3", promoted=True, seconds_left=None)
            run["stages"] = stages(len(run["stages"]))
            return
        run["done"] += 1
        steps.append(a_step(steps[-1]["place"] + 1, "dpo", run["done"]))
        run.update(figures=steps[-1]["figures"], seconds_left=30.0 * (run["of"] - run["done"]))

    # how it finds things

    def _seen(self) -> None:
        self.threads.add(threading.current_thread().name)
        if self.error is not None:
            raise self.error

    def _check(self, profile: str) -> None:
        if profile not in ALIASES:
            raise NotFound(f"there is no profile {profile!r}", "there are: " + ", ".join(ALIASES))

    def _of(self, profile: str) -> list[Document]:
        return [each for each in self.demonstrations if each["profile"] == profile]

    def _found(self, profile: str, id: str) -> Document:
        self._check(profile)
        return _one(self._of(profile), "demonstration", lambda each: each["id"].startswith(id))

    def _version(self, wanted: str) -> Document:
        return _one(self.all_versions, "version", lambda each: each["name"] == wanted or each["id"].startswith(wanted))

    def _open(self) -> Document | None:
        return next((each for each in self.all_runs if each["state"] == "running"), None)

    def _waiting(self) -> dict[str, str | None]:
        paused = "paused by you" if self.paused_until is not None else None
        return {"default": paused or "1 text is new; learns from 8 on", "email": paused}

    def _serve(self, name: str) -> None:
        for each in self.all_versions:
            if each["served"] or each["name"] == name:
                state = "promoted" if each["name"] == name else "retired"
                each.update(state=state, state_in_words=state, served=state == "promoted")

    def _sample(self, number: int) -> Document:
        asked = self.demonstrations[number]
        text = (
            "Dear friend, I hope this finds you well.",
            "On Tuesday. Keep the cat in.",
            "Nine, at the mill. Rain too.",
        )
        return {
            "iteration": 0,
            "demonstration_id": asked["id"],
            "prompt": asked["prompt"],
            "text": text[number],
            "at": NOW + number,
        }

    def _profile(self, name: str) -> Document:
        version = next((each for each in self.all_versions if each["served"] and each["profile"] == name), None)
        run = next((r for r in self.all_runs if r["profile"] == name and r["state"] in ("requested", "running")), None)
        shown = ("id", "state", "phase", "iteration", "done", "of", "figures", "paused", "seconds_left", "notes")
        return {
            "name": name,
            "demonstrations": sum(not each["excluded"] for each in self._of(name)),
            "held_out": sum(each["use"] == "hold out" for each in self._of(name)),
            "adapter": version
            and {
                "id": version["id"],
                "number": version["number"],
                "promoted_at": version["promoted_at"],
                "recipe": version["recipe_in_words"],
            },
            "rolled_back": None,
            "kept_back": None,
            "forgotten": [],
            "waiting": None if run else self._waiting()[name],
            "run": run and {key: run[key] for key in shown},
            "last_error": None,
        }

    def _voice(self, name: str) -> Document:
        own, files = self._of(name), [each for each in self.files if each["profile"] == name]
        return {
            "name": name,
            "alias": ALIASES[name],
            "demonstrations": sum(not each["excluded"] for each in own),
            "excluded": sum(each["excluded"] for each in own),
            "learn": sum(each["use"] == "learn" for each in own),
            "held_out": sum(each["use"] == "hold out" for each in own),
            "files": len(files),
            "set_aside": sum(each["state"] == "set_aside" for each in files),
            "masked": dict(sum((Counter(each["masked"]) for each in files), Counter[str]())),
            "removed": dict(sum((Counter(each["removed"]) for each in files), Counter[str]())),
            "words": sum(each["words"] for each in own if not each["excluded"]),
            "kept_days": self.kept_days.get(name),
        }

    def _tally(self, profile: str, one: str, other: str, count: int) -> Document:
        chosen = sum(each[0] == profile and set(each[1:]) == {one, other} and each[1] == one for each in self.judged)
        tally = {"profile": profile, "one": one, "other": other}
        return {**tally, "one_chosen": chosen, "other_chosen": count - chosen}

    def _planned(self, targets: list[str], profile: str | None) -> tuple[list[Document], Document]:
        """What goes, and the document that says so."""
        going = self._going(targets, profile)
        if not going:
            why = "nothing was learnt from that" if targets or profile else "nothing waits for a word from you"
            raise NotFound(why, "see what there is with: dittod demos list")
        receipts = [self._would_go(name, going) for name in ALIASES if any(each["profile"] == name for each in going)]
        return going, {"receipts": receipts, "finished": False}

    def _going(self, targets: list[str], profile: str | None) -> list[Document]:
        if profile is not None:
            self._check(profile)
        elif not targets:
            return self.demonstrations[: self.held_up]
        return [each for each in self.demonstrations if each["profile"] == profile or _is_meant(each, targets)]

    def _would_go(self, profile: str, going: list[Document]) -> Document:
        own = [each for each in going if each["profile"] == profile]
        learnt = profile == "email" and any(each["served_has_learnt"] for each in own)
        gone = [each["name"] for each in self.all_versions if not each["gone"]] if learnt else []
        return a_receipt(hashlib.sha256(repr(own).encode()).hexdigest()[:8], profile, len(own), gone, "base")


@contextmanager
def alive(dashboard: FakeDashboard, seconds: float) -> Iterator[None]:
    """The update under way goes on while somebody looks, a step each so many seconds."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(seconds):
            dashboard.advance()

    going = threading.Thread(target=go_on)
    going.start()
    try:
        yield
    finally:
        ended.set()
        going.join()


def _has(document: Document, words: list[str]) -> bool:
    return all(word in json.dumps(document, ensure_ascii=False).casefold() for word in words)


def _is_meant(demonstration: Document, targets: list[str]) -> bool:
    id, files = demonstration["id"], demonstration["files"]
    return any(id.startswith(each) or each in files for each in targets if len(each) >= 4)


def _one(documents: list[Document], what: str, meant: Callable[[Document], bool]) -> Document:
    found = [each for each in documents if meant(each)]
    if len(found) != 1:
        raise NotFound(f"there is no such {what}", f"see what there is with: dittod {what}s list")
    return found[0]
