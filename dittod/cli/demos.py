"""demos: what is learnt from, and what the user changes about it: prompts, exclusions, pairs of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dittod.cli.opened import opened
from dittod.cli.terminal import date, day, err, one_line, out, print_json, print_table
from dittod.config import load_settings, watched_folder
from dittod.errors import DittodError, SettingsError
from dittod.ingest.settle import is_taken
from dittod.paths import Home, home, write_private
from dittod.types import DEFAULT_PROFILE
from dittod.views import voices

MOST_ROWS = 200  # of a table for people; --json has all


def list_demos(profile: str | None, *, as_json: bool) -> None:
    """Oldest first, by profile, each with what the next update would do with it and why."""
    with opened() as (_, settings, store):
        profiles = [profile] if profile else store.profiles()
        found = [each for name in profiles for each in voices.demonstrations(settings, store, name)]
        rows = (file for file in store.files().values() if file.reason and profile in (None, file.profile))
        files = [voices.described_file(file) for file in rows]
    if as_json:
        print_json({"demonstrations": found, "files": files})
        return
    print_table(
        ("id", "profile", "written", "words", "kind", "use", "prompt"),
        map(_row, found[-MOST_ROWS:]),
        empty="no demonstrations yet: put sent mails or texts into the watched folder",
    )
    if len(found) > MOST_ROWS:
        out.print(f"and {len(found) - MOST_ROWS} older ones, with: dittod demos list --json")
    if files:
        out.print()
        print_table(
            ("file", "profile", "state", "reason"),
            [(f["path"], f["profile"], f["state"].replace("_", " "), f["reason"]) for f in files[-MOST_ROWS:]],
            empty="",
        )


def show_demo(id_prefix: str, *, as_json: bool) -> None:
    """Both halves, whole, with where they come from."""
    profile, _, id = id_prefix.rpartition("/")
    with opened() as (_, settings, store):
        found = voices.demonstration(settings, store, profile, id)
    if as_json:
        print_json(found)
        return
    out.print(f"id       {found['id']}\nprofile  {found['profile']}\nwritten  {day(found['written_at'])}", markup=False)
    out.print(f"kind     {found['kind']}\nuse      {found['reason']}", markup=False)
    out.print(f"from     {', '.join(found['files'])}\n", markup=False, soft_wrap=True)
    out.print(f"prompt, by the {found['prompt_by']}", style="bold")
    out.print(found["prompt"] + "\n", markup=False, soft_wrap=True)
    if found["prompt"] != found["template"]:
        out.print("prompt of the template", style="bold")
        out.print(found["template"] + "\n", markup=False, soft_wrap=True)
    out.print("completion", style="bold")
    out.print(found["completion"], markup=False, soft_wrap=True)


def edit_demo(id_prefix: str, prompt: str | None, *, template: bool) -> None:
    """Another prompt: as given, as the template had it, or as the user's editor leaves it."""
    if template and prompt is not None:
        raise DittodError("--template and --prompt exclude each other", "give one of them")
    with opened() as (place, settings, store):
        row = store.demonstration(id_prefix)
        given = prompt if template or prompt is not None else _edited(place, row.demonstration.prompt)
        found = voices.set_prompt(settings, store, row.profile, row.demonstration.id, given)
    if not found["changed"]:
        err.print("nothing was changed")
        return
    secrets = sum(found["masked"].values())
    err.print(f"{found['id'][:8]} has the new prompt" + (f"; masked in it: {secrets}" if secrets else ""))


def exclude_demos(id_prefixes: list[str], *, excluded: bool) -> None:
    """Leave demonstrations aside from the next update on, or take them back."""
    with opened() as (_, _, store):
        rows = [store.demonstration(each) for each in id_prefixes]
        learnt = [voices.exclude(store, row.profile, row.demonstration.id, excluded) for row in rows]
    err.print(f"{len(rows)} {'excluded' if excluded else 'included'}, from the next update on")
    if excluded and any(learnt):
        err.print("what is served now has learnt from it; dittod adapters rollback serves the version before")


def add_demo(file: Path | None, prompt: str, profile: str) -> None:
    """A pair of the user's own, as a file in the watched folder: removing that file removes it again."""
    completion = _text_of(file).strip()
    if not completion or not prompt.strip():
        raise DittodError(
            "a demonstration needs a prompt and a text", "give --prompt, and the text in a file or on stdin"
        )
    if not is_taken(profile) or "/" in profile or "\\" in profile:
        raise SettingsError(f"{profile!r} cannot be a profile", "a profile is the name of a folder, without slashes")
    place = home()
    place.create()
    root = watched_folder(load_settings(place))
    folder = root if profile == DEFAULT_PROFILE else root / profile
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    head = f"---\nprompt: {json.dumps(prompt.strip(), ensure_ascii=False)}\n---\n"
    written = _write_new(folder, f"{head}{completion}\n")
    out.print(f"{written}\nis read as soon as a daemon runs: dittod run", markup=False, soft_wrap=True)


def _row(found: dict[str, Any]) -> tuple[object, ...]:
    written, prompt = date(found["written_at"]), one_line(found["prompt"])
    return found["id"][:8], found["profile"], written, found["words"], found["kind"], found["use"], prompt


def _edited(place: Home, prompt: str) -> str:
    """What the user's editor makes of it, in a file that nobody else can read and that is gone afterwards."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ("notepad" if os.name == "nt" else "vi")
    folder = place.root / "editing"  # whatever a kill leaves here is removed at the next start
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"prompt-{os.getpid()}.md"
    try:
        path.touch(mode=0o600)
        path.write_text(prompt + "\n", encoding="utf-8")
        subprocess.run([*editor.split(), os.fspath(path)], check=True)
        return path.read_text(encoding="utf-8")
    except (OSError, subprocess.CalledProcessError) as error:
        raise DittodError(
            f"the editor {editor!r} did not end well", "set EDITOR, or give the prompt with --prompt"
        ) from error
    finally:
        path.unlink(missing_ok=True)


def _text_of(file: Path | None) -> str:
    try:
        text = sys.stdin.read() if file is None else file.read_text(encoding="utf-8")
        text.encode("utf-8")  # stdin lets bytes through that are no text
        return text
    except (OSError, UnicodeError) as error:
        name = file or "what stands on stdin"
        raise DittodError(f"{name} cannot be read as text", "give a UTF-8 text file, or the text on stdin") from error


def _write_new(folder: Path, text: str) -> Path:
    """Under a hidden name first: whoever watches the folder sees it whole."""
    path = folder / f"added-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.md"
    write_private(path, text)
    return path
