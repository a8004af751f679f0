"""What settings become when others are merged into them. Pure data: no text, no file."""

from __future__ import annotations

from dittod.clients.shape import Settings

_NAMES = ("name", "model_id", "model_name", "id")  # by which the items of a list are told apart


def combined(old: Settings, wanted: Settings) -> Settings:
    """Everything of `old`, and what is wanted where both have something. Items of lists are the same where they have
    the same name."""
    if isinstance(old, dict) and isinstance(wanted, dict):
        return old | {key: combined(old[key], each) if key in old else each for key, each in wanted.items()}
    if isinstance(old, list) and is_named(wanted):
        whole = list(old)
        for each in wanted:
            place = place_of(each, whole)
            if place < len(whole):
                whole[place] = combined(whole[place], each)
            else:
                whole.append(each)
        return whole
    return wanted


def is_named(wanted: Settings) -> bool:
    """Whether a list's items have names, so that it can be merged item by item."""
    return isinstance(wanted, list) and all(_name(each) is not None for each in wanted)


def place_of(item: Settings, items: list[Settings]) -> int:
    """Where the item of that name is; behind the last where there is none."""
    return next((place for place, each in enumerate(items) if _name(each) == _name(item)), len(items))


def value_at(settings: Settings, way: tuple[str, ...]) -> Settings:
    """The value at the end of a way: keys, and names of items. Raises LookupError."""
    for step in way:
        if isinstance(settings, list):
            settings = settings[int(step) if step.isdigit() else place_of({_NAMES[0]: step}, settings)]
        elif isinstance(settings, dict):
            settings = settings[step]
        else:
            raise LookupError(step)
    return settings


def _name(item: Settings) -> object:
    if not isinstance(item, dict):
        return None
    return next((item[key] for key in _NAMES if key in item), None)
