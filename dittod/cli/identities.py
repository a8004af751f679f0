"""identities: whose mail counts, as guessed from the folder or as the user says."""

from __future__ import annotations

import json
from collections import Counter

from dittod.cli.making import change_settings
from dittod.cli.terminal import err, out, print_json, print_table
from dittod.config import Settings, load_settings
from dittod.errors import DittodError
from dittod.ingest.identity import OTHER_SENDERS, is_identity
from dittod.paths import Home, home
from dittod.store import Store
from dittod.views.voices import current_identities

MOST_SENDERS = 20  # shown


def show_identities(*, confirm: bool, as_json: bool) -> None:
    """The senders of the folder's mails, and who of them is the user; `confirm` puts the guess into dittod.toml."""
    place = home()
    place.create()
    settings = load_settings(place)
    store = Store(place.store)
    files = store.files().values()
    store.close()
    senders = Counter[str]()
    for file in files:
        senders.update(file.senders)
    del senders[OTHER_SENDERS]
    identities = current_identities(files, settings)
    if confirm:
        _confirm(place, settings, identities)
    elif as_json:
        mails = [{"address": name, "mails": count} for name, count in senders.most_common()]
        print_json({"identities": identities, "guessed": not settings.identities, "senders": mails})
    else:
        _show(senders, identities, guessed=not settings.identities)


def _show(senders: Counter[str], identities: list[str], *, guessed: bool) -> None:
    print_table(
        ("sender", "mails", "is you"),
        [
            (name, count, "yes" if is_identity(name, identities) else "no")
            for name, count in senders.most_common(MOST_SENDERS)
        ],
        empty="no mail has been read yet: put some into the watched folder, then: dittod ingest",
    )
    if guessed and senders:
        if identities:
            out.print(
                "guessed from the mails: dittod identities --confirm keeps it, identities in dittod.toml changes it"
            )
        else:
            out.print("nobody has written most of the mails: name your addresses in dittod.toml, identities = [...]")


def _confirm(place: Home, settings: Settings, identities: list[str]) -> None:
    path = place.settings
    if settings.identities:
        raise DittodError(f"the identities are set already: {', '.join(settings.identities)}", f"change them in {path}")
    if not identities:
        raise DittodError(
            "there is nobody to confirm: no sender has written most of the mails", f"set identities in {path}"
        )
    change_settings(place, {"identities": identities})
    err.print(f"{path} now has: identities = {json.dumps(identities)}", markup=False, soft_wrap=True)
