"""When so much would be forgotten at once that it looks like an accident: a disk that is not there, a mailbox that a
program emptied, an address that was mistyped; or however little it is, where another folder is watched than before.
Then the user is asked first. Pure."""

from __future__ import annotations

from collections.abc import Mapping

MANY = 8  # texts; with fewer, little is lost
LARGE_SHARE = 0.5  # of a profile's texts

# The note in the store: {"profile", "files", "demonstrations", "of", "sentence", "since", "is_guess"}, else {}. What
# came after `since` (POSIX seconds) does not count.
BRAKE = "brake"


def stopped_by(going: Mapping[str, int], having: Mapping[str, int], *, is_elsewhere: bool = False) -> str | None:
    """The profile that would lose too much, by how many texts each would lose and has; '' where each loses little, but
    all of them all they have. None: nothing speaks against it. `is_elsewhere`: another folder is watched than before,
    and any text is too much."""
    for profile, count in going.items():
        if count >= MANY and count > LARGE_SHARE * having.get(profile, 0):
            return profile
    if is_elsewhere and (losing := [profile for profile, count in going.items() if count]):
        return losing[0] if len(losing) == 1 else ""
    everything = sum(going.values())
    return "" if everything >= MANY and everything >= sum(having.values()) else None


def sentence(profile: str, count: int, of: int, *, is_guess: bool = False, is_elsewhere: bool = False) -> str:
    """What the user is told, and asked. `is_guess`: most mails are somebody else's by now, so who the user is was
    guessed anew. `is_elsewhere`: as for `stopped_by`."""
    whose = f"of profile {profile}" if profile else "of all profiles"
    if is_guess:
        return (
            f"most mails are from another address than before: {count} texts {whose} would count as somebody else's."
            " Nothing is forgotten until you set identities, or say so with dittod forget"
        )
    if is_elsewhere:
        return (
            f"another folder is watched than before, and {count} of {of} texts {whose} are not in it:"
            " nothing is forgotten until you say so with dittod forget, or set watched_folder back"
        )
    return (
        f"{count} of {of} texts {whose} are no longer in the watched folder:"
        " nothing is forgotten until you say so with dittod forget"
    )
