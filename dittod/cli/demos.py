"""demos: what is learnt from, and which files gave nothing."""

from __future__ import annotations

from dataclasses import asdict

from dittod.cli.terminal import day, one_line, out, print_json, print_table
from dittod.paths import home
from dittod.store import Store


def list_demos(profile: str | None, *, as_json: bool) -> None:
    """Oldest first, by profile."""
    store = _store()
    profiles = [profile] if profile else store.profiles()
    found = [(name, each) for name in profiles for each in store.demonstrations(name)]
    files = [file for file in store.files().values() if file.reason and (profile is None or file.profile == profile)]
    store.close()
    if as_json:
        print_json(
            {
                "demonstrations": [{"profile": name, **asdict(each)} for name, each in found],
                "files": [{"path": f.path, "profile": f.profile, "state": f.state, "reason": f.reason} for f in files],
            }
        )
        return
    print_table(
        ("id", "profile", "written", "words", "prompt"),
        [
            (each.id[:8], name, day(each.written_at)[:10], len(each.completion.split()), one_line(each.prompt))
            for name, each in found
        ],
        empty="no demonstrations yet: put sent mails or texts into the watched folder",
    )
    if files:
        out.print()
        print_table(
            ("file", "profile", "state", "reason"),
            [(f.path, f.profile, f.state.replace("_", " "), f.reason) for f in files],
            empty="",
        )


def show_demo(id_prefix: str, *, as_json: bool) -> None:
    """Both halves, whole."""
    store = _store()
    profile, found = store.demonstration(id_prefix)
    store.close()
    if as_json:
        print_json({"profile": profile, **asdict(found)})
        return
    out.print(f"id       {found.id}\nprofile  {profile}\nwritten  {day(found.written_at)}\n", markup=False)
    out.print("prompt", style="bold")
    out.print(found.prompt + "\n", markup=False, soft_wrap=True)
    out.print("completion", style="bold")
    out.print(found.completion, markup=False, soft_wrap=True)


def _store() -> Store:
    place = home()
    place.create()
    return Store(place.store)
