"""Choosing a base model by what this machine can learn with, and bringing it here.

Knows the catalogue, the plan's arithmetic and the download; shows tables and a bar. Does not write settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from dittod import download
from dittod.catalogue import MODELS, STARTER, KnownModel, starter
from dittod.cli.side_by_side import printable
from dittod.cli.terminal import err, one_line, out, print_table
from dittod.config import Settings
from dittod.errors import DittodError, SettingsError
from dittod.learner.memory import Device
from dittod.learner.plan import BEFORE_TEXTS, make_plan, size
from dittod.learner.preset import preset
from dittod.model.shape import ModelShape

MOST_PARAMETERS_ON_A_PROCESSOR = 2_000_000_000  # recommended: of more, an update takes most of a night


@dataclass(frozen=True, slots=True)
class Choice:
    """A model of the catalogue, and what it comes to on this machine."""

    model: KnownModel
    is_here: bool
    learning_bytes: int | None  # at the peak; None: more than the budget
    needs: str  # where it is too much, what it would need
    four_bits: bool


def choices(settings: Settings, device: Device) -> list[Choice]:
    """The whole catalogue, smallest first, by the budget that is in force."""
    budget = device.budget(settings.memory_budget)
    return [_choice(each, settings, device, budget) for each in (starter(), *MODELS)]


def recommended(found: list[Choice], device: Device, free_bytes: int) -> str:
    """The largest that fits, is there or fits onto the disk, and asks for no account; what is here comes before it."""
    fitting = [each for each in found if each.learning_bytes is not None and each.model.name != STARTER]
    if device.kind == "cpu":
        fitting = [each for each in fitting if each.model.parameters <= MOST_PARAMETERS_ON_A_PROCESSOR]
    here = [each for each in fitting if each.is_here]
    open_ones = [each for each in fitting if not each.model.accept and each.model.weights_bytes < free_bytes]
    return max(here or open_ones, key=lambda each: each.model.parameters).model.name if here or open_ones else STARTER


def show(found: list[Choice], best: str) -> list[Choice]:
    """A numbered table of those that fit, and a line on the others. Returns them in its order."""
    fitting = [each for each in found if each.learning_bytes is not None]
    print_table(
        ("", "model", "disk", "learning", "context", "licence", "state"),
        [
            (
                number,
                _short(each.model),
                _gigabytes(each.model.weights_bytes),
                _gigabytes(each.learning_bytes or 0),
                f"{each.model.shape.context_tokens // 1024}k",
                each.model.licence,
                _state(each, best),
            )
            for number, each in enumerate(fitting, start=1)
        ],
        empty="no model of the catalogue fits the memory budget",
    )
    out.print("accept first: its licence, at its page on the hub. 4 bits: of a weight, so that learning fits.")
    if missed := [each for each in found if each.learning_bytes is None]:
        said = ", ".join(f"{_short(each.model)} ({each.needs})" for each in missed)
        out.print(f"too much for the memory budget: {said}", markup=False)
    return fitting


def learning_fault(shape: ModelShape, settings: Settings, device: Device, budget_bytes: int | None) -> str | None:
    """Why learning would not fit a budget; None: it would."""
    try:
        _peak(shape, settings, device, device.budget(budget_bytes))
    except SettingsError as error:
        return f"{error.title}: {error.hint}"
    return None


def is_missing(model: str) -> bool:
    """Whether it is one of the hub's that is not here, or not whole."""
    return download.is_hub_id(model) and not download.is_downloaded(model)


def look_up(model: str, settings: Settings) -> download.Listing:
    """What there is to download, shown with its exact size. Raises DittodError: not to be had, or no room."""
    listing = download.look_up(model)
    missing, free = download.bytes_missing(listing), download.free_bytes(model)
    if missing > free - settings.min_free_disk:
        kept = f", of which {size(settings.min_free_disk)} are to stay free (min_free_disk)"
        raise DittodError(
            f"{model} takes {size(missing)} more; the disk has {size(free)}{kept}",
            "make room, choose a smaller model, or set HF_HUB_CACHE to a folder on another disk",
        )
    licence = one_line(printable(listing.licence)) or "not stated"
    out.print(
        f"{model}, licence {licence}: {missing:,} bytes to download, {size(free)} free",
        markup=False,
        soft_wrap=True,
    )
    return listing


def fetch(listing: download.Listing) -> None:
    """With a bar that says how fast and how long. Ctrl-C keeps what is there."""
    missing = download.bytes_missing(listing)
    err.print(
        f"downloading {listing.model}: {size(missing)} to {download.cache_folder(listing.model).parent}",
        markup=False,
        soft_wrap=True,
    )
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), DownloadColumn(), TransferSpeedColumn())
    try:
        with Progress(*columns, TimeRemainingColumn(), console=err) as bars:
            task = bars.add_task(listing.model.partition("/")[2], total=listing.size, completed=listing.size - missing)
            download.fetch(listing, lambda more: bars.advance(task, more))
    except KeyboardInterrupt:
        err.print(f"stopped; what came is kept. To go on: dittod init --model {listing.model}", soft_wrap=True)
        raise
    err.print(f"{listing.model} is here, checked against the hub's hashes (revision {listing.commit[:12]}).")
    err.print("dittod itself is offline from now on: it loads these files and asks nobody.")


def local_name(given: str) -> str:
    """A model as the settings should have it: a folder from where it was named to where it lies."""
    folder = Path(given).expanduser()
    return str(folder.absolute()) if folder.is_dir() and given != STARTER else given


def _choice(model: KnownModel, settings: Settings, device: Device, budget: int) -> Choice:
    is_here = model.name == STARTER or download.is_downloaded(model.name)
    try:
        peak, four_bits = _peak(model.shape, settings, device, budget)
    except SettingsError as error:
        needs = error.title.partition(" needs ")[2].partition(" at least")[0]
        return Choice(model, is_here, None, needs or "does not fit", False)
    return Choice(model, is_here, peak, "", four_bits)


def _peak(shape: ModelShape, settings: Settings, device: Device, budget: int) -> tuple[int, bool]:
    """Bytes, and whether the weights are in four bits then. Raises SettingsError where nothing fits."""
    wanted = None if settings.quantisation == "auto" else settings.quantisation
    numbers = preset(settings.preset, settings.learner)
    plan = make_plan(shape, device, budget, numbers, quantisation=wanted, need=BEFORE_TEXTS).plan
    return plan.peak_bytes, plan.quantisation == "nf4"


def _state(choice: Choice, best: str) -> str:
    said = {
        "recommended": choice.model.name == best,
        "to see it work": choice.model.name == STARTER,
        "is here": choice.is_here and choice.model.name != STARTER,
        "accept first": choice.model.accept and not choice.is_here,
        "4 bits": choice.four_bits,
    }
    return ", ".join(words for words, is_so in said.items() if is_so)


def _short(model: KnownModel) -> str:
    """So that the table fits a terminal of 80 columns."""
    return model.name.rpartition("/")[2].replace("-Instruct", "")


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
