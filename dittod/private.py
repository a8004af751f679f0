"""What keeps the user's texts from others on this machine: for a whole process, and for a whole home.

Knows processes, the home's folders and the store; not what a text is. What this protects from, and from whom it does
not, is in docs/security.md.
"""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import suppress

from dittod.errors import DittodError
from dittod.paths import Home
from dittod.store import Store

log = logging.getLogger("dittod")


def keep_to_itself() -> None:
    """Whatever this process and its children make is their user's alone, and if one crashes, no image of its memory,
    which holds texts, is left on the disk."""
    os.umask(0o077)
    try:
        import resource
    except ImportError:  # Windows
        return
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def keep_sealed(home: Home, store: Store, *, wanted: bool | None) -> None:
    """From now on texts and samples lie encrypted in the home, or in the open; what is there is converted. Nobody else
    may be writing. Raises DittodError, with everything as it was, where there is no key, and where nobody has said that
    a sealed store is to be opened (`wanted` None): settings may be lost.

    Checkpoints are not converted: an unfinished update begins anew."""
    if wanted is None and store.is_sealed:
        raise DittodError(
            "the texts in the home are encrypted, and no setting says whether they should be",
            f"set encrypt = true in {home.settings}, or encrypt = false to convert them back",
        )

    def forget_checkpoints() -> None:
        state = "sealed" if wanted else "in the open"
        log.warning("encrypt = %s: texts in the home lie %s from now on", str(bool(wanted)).lower(), state)
        for folder in home.runs.iterdir():
            shutil.rmtree(folder, ignore_errors=True)

    store.seal(bool(wanted), forget_checkpoints)
