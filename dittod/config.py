"""Settings: `dittod.toml` in the home, overridden by `DITTOD_*`, over the defaults below. Nothing else sets them.

Units and meaning stand on the field's own line. An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableVariable

from dittod.errors import SettingsError
from dittod.paths import Home

PREFIX = "DITTOD_"
LEAST_DISK_BUDGET = 16 * 2**20  # bytes: the logs alone may take 10 MiB
_WORDS = {  # for what pydantic calls a fault, with its limits
    "string_type": "give it in quotes",
    "path_type": 'give a path in quotes, such as "~/texts"',
    "bool_type": "give true or false",
    "bool_parsing": "give true or false",
    "int_type": "give a whole number",
    "int_parsing": "give a whole number",
    "int_from_float": "give a whole number",
    "float_type": "give a number",
    "float_parsing": "give a number",
    "dict_type": "give a table of names and numbers, such as {{ dpo_steps = 20 }}",
    "greater_than_equal": "give {ge:.15g} or more",
    "greater_than": "give more than {gt:.15g}",
    "less_than_equal": "give {le:.15g} or less",
    "literal_error": "give {expected}",
}

_SIZE = re.compile(r"\s*\d+(\.\d+)?\s*([kmgt]?i?b?)\s*", re.IGNORECASE)


def parse_bytes(given: object) -> int:
    """'6GiB' or '800MB' as a number of bytes. Raises ValueError with an example."""
    if isinstance(given, int) and not isinstance(given, bool):
        count = given
    elif isinstance(given, str) and _SIZE.fullmatch(given):  # ByteSize takes 1,5GiB for one byte
        count = int(TypeAdapter(ByteSize).validate_python(given))
    else:
        raise ValueError("give a size such as 6GiB, 1.5GiB or 800MB")
    if count <= 0:
        raise ValueError("give a size above 0, such as 6GiB or 800MB")
    return count


def _identity(given: str) -> str:
    """An address or a name. Raises ValueError with an example."""
    local, at, domain = given.strip().rpartition("@")
    if not (local and domain if at else re.search(r"[^\W\d_]{2}", given)) or len(given.splitlines()) > 1:
        raise ValueError(f"{given!r} is neither an address nor a name: give me@example.org or 'Ann Lee'")
    return given.strip()


def _secret(given: str) -> str:
    """Something that can be masked without masking everything. Raises ValueError."""
    if len(given.strip("- \t\n")) < 2:
        raise ValueError("a secret has two characters at least")
    return given


_HOURS = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)")


def _hours(given: str) -> str:
    """From one time of the day to another, over midnight if need be. Raises ValueError with an example."""
    match = _HOURS.fullmatch(given.strip().replace(" ", "").replace("–", "-"))
    if match is None or (match[1], match[2]) == (match[3], match[4]):
        raise ValueError("give two times of the day such as 22:00-07:30")
    return f"{int(match[1]):02}:{match[2]}-{int(match[3]):02}:{match[4]}"


_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")  # as cron counts them: 0 and 7 are Sunday
_DAY_RANGE = re.compile(r"(?:\*|([0-7]|[a-z]{3})(?:-([0-7]|[a-z]{3}))?)(?:/([1-7]))?")


def _crontab(given: str) -> str:
    """Five fields as cron has them, with names for the days of the week: APScheduler counts those from Monday. Raises
    ValueError with an example."""
    from apscheduler.triggers.cron import CronTrigger  # not for every command

    try:
        minute, hour, day, month, week = given.lower().split()
        if day != "*" and week != "*":  # cron means either of them, APScheduler both
            raise ValueError("days of the month and days of the week cannot be given together")
        found = " ".join((minute, hour, day, month, week if week == "*" else ",".join(_days_of_week(week))))
        if CronTrigger.from_crontab(found, timezone=UTC).get_next_fire_time(None, datetime.now(UTC)) is None:
            raise ValueError("that never comes")  # the 31st of February, say
    except ValueError as error:
        raise ValueError(
            "give minute, hour, day of the month, month and day of the week, such as 30 12 * * mon-fri; '*' for one of"
            " the two kinds of days"
        ) from error
    return found


def _days_of_week(field: str) -> list[str]:
    """The names of the days in cron's field. Raises ValueError."""
    days: set[int] = set()
    for part in field.split(","):
        match = _DAY_RANGE.fullmatch(part)
        if match is None:
            raise ValueError(part)
        first, last, step = match[1], match[2], int(match[3] or 1)
        begin, end = (0, 6) if first is None else (_day(first), _day(last or ("6" if match[3] else first)))
        days.update(each % 7 for each in range(begin, end + (7 if end < begin else 0) + 1, step))
    return [_DAYS[each] for each in sorted(days)]


def _day(given: str) -> int:
    return int(given) if given.isdigit() else _DAYS.index(given)


_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?|[0-9a-f]*:[0-9a-f:.]+")
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\*|[a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}  # which browsers leave out


def _host(given: str) -> str:
    """A name or address of this machine. Raises ValueError with an example."""
    host = given.strip().lower().removeprefix("[").removesuffix("]")
    if not _HOST.fullmatch(host):
        raise ValueError("give a name or an address without scheme and port, such as desk.local or 192.168.1.5")
    return host


def _origin(given: str) -> str:
    """An origin as browsers write it, or all of a scheme. Raises ValueError with an example."""
    match = _ORIGIN.fullmatch(given.strip().lower().rstrip("/"))
    if match is None:
        raise ValueError("give an origin such as app://obsidian.md or https://chat.example.org, or moz-extension://*")
    scheme, host, port = match[1], match[2], match[3] or ""
    if host == "*" and (scheme in _DEFAULT_PORTS or port):
        raise ValueError("every web site could ask then: list the origins of http and https one by one")
    return f"{scheme}://{host}" + ("" if port == _DEFAULT_PORTS.get(scheme) else port)


class Settings(BaseSettings):
    """What the user may decide. Frozen: a change takes effect at the next start."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)

    watched_folder: Path | None = None  # its sub-folders are the profiles; None: `watched` in DITTOD_HOME, or ~/dittod
    identities: tuple[
        Annotated[str, AfterValidator(_identity)], ...
    ] = ()  # the user's own addresses and names; empty: learnt from the folder's From lines
    secrets: tuple[
        Annotated[str, AfterValidator(_secret)], ...
    ] = ()  # words and numbers that are masked wherever they stand, besides what looks secret
    improve_prompts: bool = True  # whether the base model may add to the prompts what the text says, when idle
    base_model: str = "starter"  # a folder, a hub id that was downloaded, or the embedded model
    memory_budget: Annotated[int, BeforeValidator(parse_bytes)] | None = (
        None  # bytes, or '6GiB'; None: see docs/settings.md
    )
    quantisation: Literal["auto", "none", "nf4"] = "auto"  # of the base model's weights; auto: as the budget asks
    host: str = "127.0.0.1"  # address of the endpoint
    port: int = Field(default=3488, ge=0, le=65535)  # of the endpoint; 0: any free one
    allowed_hosts: tuple[
        Annotated[str, AfterValidator(_host)], ...
    ] = ()  # names and addresses by which clients reach this machine, besides `host` and the loopback's
    allowed_origins: tuple[
        Annotated[str, AfterValidator(_origin)], ...
    ] = ()  # web pages, extensions and programs in a browser that may ask; see docs/security.md
    require_token: bool = True  # whether clients must know the token
    tls_certificate: Path | None = None  # PEM file, with its chain; None: no encryption
    tls_key: Path | None = None  # PEM file of the certificate's key
    unix_socket: Path | None = None  # where the endpoint listens besides the port; relative to the home
    max_waiting_answers: int = Field(default=128, ge=1)  # waiting and running together; more are told to come later
    request_seconds: float = Field(default=1800.0, gt=0.0)  # for one request, from its first byte to its last
    preset: Literal["clean", "as_released"] = "clean"  # which numbers DITTO runs with; see docs/ditto.md
    demonstrations: int = Field(default=12, ge=1, le=64)  # learnt from in one update, at most
    min_demonstrations: int = Field(default=6, ge=1)  # of a profile, before its first update; 6 hold 2 out, to judge by
    new_demonstrations: int = Field(default=4, ge=1)  # since the last update, before the next one
    settle_seconds: float = Field(default=2.0, ge=0.0)  # a file is read when it has not changed for so long
    rescan_seconds: float = Field(default=300.0, gt=0.0)  # between two looks at the whole watched folder
    consider_seconds: float = Field(default=30.0, gt=0.0)  # between two looks at whether to learn now
    consider_at: Annotated[str, AfterValidator(_crontab)] | None = (
        None  # minute, hour, day, month, day of the week: looks at whether to learn only then, instead
    )
    idle_unload_seconds: float = Field(default=600.0, gt=0.0)  # without work until the engine gives its memory back
    quiet_hours: tuple[
        Annotated[str, AfterValidator(_hours)], ...
    ] = ()  # '22:00-07:30', local time: nothing is learnt within
    idle_seconds: float = Field(default=300.0, ge=0.0)  # without a hand on keyboard and mouse before anything is learnt
    quiet_seconds: float = Field(default=60.0, ge=0.0)  # without a request before an update starts
    rest_seconds: float = Field(default=6 * 3600.0, ge=0.0)  # from the end of a profile's update to the next one
    learn_on_battery: bool = False  # whether anything is learnt without mains power
    min_battery_percent: float = Field(default=30.0, ge=0.0, le=100.0)  # below that nothing is learnt on battery
    learn_with_lid_closed: bool = False
    max_temperature_celsius: float = Field(default=90.0, gt=0.0)  # of processor and graphics card
    max_gpu_use_percent: float = Field(default=20.0, ge=0.0, le=100.0)  # by other programs
    min_free_memory: Annotated[int, BeforeValidator(parse_bytes)] = 512 * 2**20  # bytes, left to other programs
    min_free_gpu_memory: Annotated[int, BeforeValidator(parse_bytes)] = 256 * 2**20  # bytes, left to other programs
    min_free_disk: Annotated[int, BeforeValidator(parse_bytes)] = 2**30  # bytes, on the disk of the home
    disk_budget: Annotated[int, BeforeValidator(parse_bytes)] = 4 * 2**30  # bytes, for adapters, runs and logs
    examples: int = Field(default=3, ge=0, le=8)  # demonstrations in the prompt, in candidates that have any
    confidence: float = Field(default=0.95, ge=0.5, le=0.99)  # that a new version is better than what is served
    max_ability_loss: float = Field(default=0.1, gt=0.0)  # share by which general texts may become dearer, in bits
    keep_interactions: dict[str, Annotated[float, Field(gt=0.0)]] = Field(
        default_factory=dict
    )  # days, by profile, for which what was asked and answered is kept; a profile that is not named keeps nothing
    learn_accepted: bool = False  # whether answers that were rated up are learnt from
    encrypt: bool = False  # whether texts lie encrypted on the disk, their key in the system's keyring
    learner: dict[str, float] = Field(default_factory=dict)  # overrides of the preset's numbers, by their names

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth_for_numbers(cls, given: object, info: ValidationInfo) -> object:
        """pydantic takes true for 1."""
        is_number = cls.model_fields[str(info.field_name)].annotation in (int, float, dict[str, float])
        values = given.values() if isinstance(given, dict) else [given]
        if is_number and any(isinstance(each, bool) for each in values):
            raise ValueError("give a number")
        return given

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which is handed in as initial values."""
        return env_settings, init_settings


def load_settings(home: Home) -> Settings:
    """The settings in force. Raises SettingsError naming file or variable, the value and the remedy."""
    values = _read_toml(home.settings)
    _reject_unknown(values, "", str(home.settings))
    variables = (name.removeprefix(PREFIX).lower() for name in os.environ if name.startswith(PREFIX))
    _reject_unknown((name for name in variables if name != "home"), PREFIX, "the environment")
    try:
        settings = Settings(**values)
    except UnreadableVariable as error:  # its message names the field, not the value
        raise SettingsError(f"{error}", 'lists and tables are given as JSON: \'["one", "two"]\'') from error
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"] if not isinstance(part, int))
        if name == "secrets":  # which no error may quote: it may end in a journal
            raise SettingsError(
                "setting secrets cannot be what it is: give a list of texts of two characters or more",
                _where(home, name),
            ) from None
        shown = str(first["input"]).lower() if isinstance(first["input"], bool) else repr(first["input"])
        raise SettingsError(f"setting {name} cannot be {shown}: {_in_words(first)}", _where(home, name)) from error
    _refuse_what_does_not_work(settings, home)
    return settings.model_copy(update=_absolute(settings, home))


def _in_words(fault: Mapping[str, Any]) -> str:
    """What to give instead, of a fault as pydantic lists it."""
    if fault["type"] == "tuple_type":
        listed = [fault["input"]] if isinstance(fault["input"], str) else ["one", "two"]
        return f"give a list: {json.dumps(listed, ensure_ascii=False)}"
    words = _WORDS.get(fault["type"])
    return str(fault["msg"]).removeprefix("Value error, ") if words is None else words.format(**fault.get("ctx", {}))


def _where(home: Home, name: str) -> str:
    return f"change it in {home.settings} or in {PREFIX}{name.partition('.')[0].upper()}"


def _refuse_what_does_not_work(settings: Settings, home: Home) -> None:
    """Of values that can be settings by themselves."""
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        given, missing = ("tls_key", "tls_certificate") if settings.tls_key else ("tls_certificate", "tls_key")
        raise SettingsError(f"{given} is set without {missing}", f"set both in {home.settings}, or none")
    if settings.disk_budget < LEAST_DISK_BUDGET:
        title = f"setting disk_budget cannot be {settings.disk_budget} bytes: give 16MiB or more, such as 4GiB"
        raise SettingsError(title, _where(home, "disk_budget"))


def _absolute(settings: Settings, home: Home) -> dict[str, Path]:
    """The paths as they are meant: '~' is the user's folder; what belongs to the endpoint is relative to the home."""
    given = {name: getattr(settings, name) for name in ("tls_certificate", "tls_key", "unix_socket")}
    found = {name: home.root / path.expanduser() for name, path in given.items() if path is not None}
    watched = settings.watched_folder
    return {**found, "watched_folder": home.watched if watched is None else watched.expanduser().absolute()}


def watched_folder(settings: Settings) -> Path:
    """The watched folder of settings that came from `load_settings`."""
    assert settings.watched_folder is not None
    return settings.watched_folder


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}", "correct that line, or remove the file") from error
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read: {error.strerror}", "correct its permissions, or remove it"
        ) from error


def _reject_unknown(names: Iterable[str], prefix: str, place: str) -> None:
    known = list(Settings.model_fields)
    for name in names:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            shown, meant = (name.upper(), nearest.upper()) if prefix else (name, nearest)
            raise SettingsError(f"unknown setting {prefix}{shown} in {place}", f"did you mean {prefix}{meant}?")
