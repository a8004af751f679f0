"""A base model, from a hub as Hugging Face's into its cache on this disk: after that, nothing is asked of the network.

Taken are weights in safetensors, tokenizer, config and licence: no program, no pickle. A file is written beside its
place, goes on where an earlier try has ended, and gets its name when its hash is the one that the hub states; a model
gets its name when all of its files have theirs. Knows two addresses of the hub (what a model consists of, and a file)
and the layout of its cache. Does not know settings or memory, nor what is in the files.

Why the library's own download is not used: docs/decisions/0016-a-download-of-our-own.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dittod.errors import AlreadyRunning, ModelError
from dittod.machine.lock import held

OnBytes = Callable[[int], None]  # so many more are here; fewer than none where a file had to begin anew

WANTED = re.compile(
    r"(generation_)?config\.json|model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json"
    r"|tokenizer\.(json|model)|(tokenizer_config|special_tokens_map|added_tokens|vocab)\.json|merges\.txt"
    r"|chat_template\.jinja|(LICEN[SC]E|NOTICE)(\.(txt|md))?"
)
WHOLE_WEIGHTS = "model.safetensors"  # where it is, shards of the same are not needed
INDEX = "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
BRANCH = "main"
PIECE_BYTES = 1 << 20
ANSWER_SECONDS = 30.0  # until a connection stands, or the next bytes come
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before the next try of a file; any progress begins them anew
_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a model."""

    name: str
    size: int  # bytes
    digest: str  # sha256 of a large file; of a small one the sha1 that git gives it. The cache calls it by that

    def hash_of(self, path: Path) -> str:
        """What a file on this disk comes to, in the same way."""
        if len(self.digest) == 64:
            digest = hashlib.sha256()
        else:
            digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Listing:
    """What a model consists of at one commit, as far as it is needed."""

    model: str
    commit: str
    files: tuple[HubFile, ...]
    licence: str  # as its page says; '' where it does not

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)


class _Passing(Exception):
    """Something that may be over in a moment."""


def is_hub_id(name: str) -> bool:
    """Whether a base model's name can be one of the hub's: 'org/model', and no folder here."""
    return _ID.fullmatch(name) is not None and ".." not in name and not Path(name).exists()


def is_downloaded(model: str) -> bool:
    """Whether it can be loaded without the network. Asks nobody."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(model, "config.json")
    if not isinstance(config, str):
        return False
    folder = Path(config).parent
    shards = _shards(folder / INDEX)
    whole = (folder / WHOLE_WEIGHTS).is_file()
    weights = whole or (bool(shards) and all((folder / each).is_file() for each in shards))
    return weights and any((folder / each).is_file() for each in TOKENIZERS)


def cache_folder(model: str) -> Path:
    """Where the hub's cache keeps a model."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}"


def look_up(model: str) -> Listing:
    """Ask the hub what there is to download, without downloading. Raises ModelError."""
    try:
        with _answer(model, f"{_endpoint()}/api/models/{model}/revision/{BRANCH}?blobs=true") as response:
            response.read()
            listing = _listing(model, response.json())
    except _Passing as error:
        raise ModelError(
            f"the hub at {_endpoint()} does not answer: {error}",
            "look at the network (a proxy is set with HTTPS_PROXY), or give a model that lies in a folder here",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"what the hub says of {model} cannot be understood", "try again later") from error
    if not any(file.name.endswith(".safetensors") for file in listing.files):
        raise ModelError(f"{model} has no weights in safetensors", "choose another model: pickles are never loaded")
    return listing


def bytes_missing(listing: Listing) -> int:
    """What is still to come of it."""
    return listing.size - sum(_bytes_here(listing, file) for file in listing.files)


def fetch(listing: Listing, on_bytes: OnBytes = lambda more: None) -> None:
    """Bring what is missing, small files first: a model that is not given away says so before its gigabytes.

    Can be called again after any end. Raises ModelError where the hub refuses, breaks off, or sends something else.
    """
    folder = cache_folder(listing.model)
    with _alone(listing.model):
        for file in sorted(listing.files, key=lambda file: file.size):
            if not _is_here(listing, file):
                _bring(listing, file, on_bytes)
            _give_name(folder, listing.commit, file)
        reference = folder / "refs" / BRANCH
        reference.parent.mkdir(exist_ok=True)
        reference.write_text(listing.commit, encoding="ascii")


def free_bytes(model: str) -> int:
    """On the disk of the cache."""
    folder = cache_folder(model)
    return shutil.disk_usage(next(each for each in folder.parents if each.is_dir())).free


# --- what the hub says ---


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _listing(model: str, said: Mapping[str, Any]) -> Listing:
    """Raises ValueError, KeyError or TypeError for what is not as it must be."""
    files = [_file(each) for each in said["siblings"] if WANTED.fullmatch(each["rfilename"])]
    if any(file.name == WHOLE_WEIGHTS for file in files):
        files = [file for file in files if file.name != INDEX and not file.name.startswith("model-")]
    commit = said["sha"]
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise ValueError(commit)
    about = said.get("cardData") or {}
    licence = about.get("license_name") or about.get("license") or ""
    return Listing(model, commit, tuple(files), licence if isinstance(licence, str) else "")


def _file(said: Mapping[str, Any]) -> HubFile:
    large = said.get("lfs")
    digest, size = (large["sha256"], large["size"]) if large else (said["blobId"], said["size"])
    if not _DIGEST.fullmatch(digest) or not isinstance(size, int) or size < 0:
        raise ValueError(said["rfilename"])
    return HubFile(said["rfilename"], size, digest)


@contextmanager
def _answer(model: str, url: str, headers: Mapping[str, str] = {}) -> Iterator[Any]:
    """A response of the hub that is no refusal. Raises ModelError with what to do, and what `_try` knows to repeat."""
    import httpx2
    from huggingface_hub import get_session, get_token
    from huggingface_hub.errors import OfflineModeIsEnabled

    token = get_token()
    sent = {"user-agent": "dittod", "accept-encoding": "identity", **headers}
    if token:
        sent["authorization"] = f"Bearer {token}"
    try:
        with get_session().stream("GET", url, headers=sent, timeout=ANSWER_SECONDS) as response:
            _refuse(model, response)
            yield response
    except OfflineModeIsEnabled as error:
        raise ModelError("HF_HUB_OFFLINE forbids any download", "unset it for this one command") from error
    except (httpx2.TransportError, httpx2.DecodingError, httpx2.TooManyRedirects) as error:
        raise _Passing(type(error).__name__) from error


def _refuse(model: str, response: Any) -> None:
    """Says what a status means."""
    status, code = response.status_code, response.headers.get("x-error-code", "")
    if status < 400:
        return
    if status in (408, 425, 429) or status >= 500:
        raise _Passing(f"status {status}")
    if "Invalid" in response.headers.get("x-error-message", ""):
        raise ModelError("the hub does not know your token", "make a new one and set it as HF_TOKEN, or unset HF_TOKEN")
    if code == "GatedRepo" or status == 403:
        raise ModelError(
            f"{model} is given to those alone who have accepted its licence",
            f"1. accept it at {_endpoint()}/{model}; 2. make a token that may read at {_endpoint()}/settings/tokens; "
            f"3. HF_TOKEN=... dittod init --model {model}",
        )
    if status in (401, 404):
        raise ModelError(f"the hub has no {model}, or not for you", "look its name up; HF_TOKEN opens private ones")
    raise ModelError(f"the hub refuses {model} with status {status}", "try again later")


# --- what is on the disk ---


def _blob(listing: Listing, file: HubFile) -> Path:
    return cache_folder(listing.model) / "blobs" / file.digest


def _partial(listing: Listing, file: HubFile) -> Path:
    return cache_folder(listing.model) / "blobs" / f"{file.digest}.incomplete"


def _is_here(listing: Listing, file: HubFile) -> bool:
    """By its size: its hash was looked at when it came."""
    named = cache_folder(listing.model) / "snapshots" / listing.commit / file.name
    return file.size in (_size(_blob(listing, file)), _size(named))


def _bytes_here(listing: Listing, file: HubFile) -> int:
    if _is_here(listing, file):
        return file.size
    return min(file.size, max(0, _size(_partial(listing, file))))


def _size(path: Path) -> int:
    """-1 where there is none."""
    return path.stat().st_size if path.is_file() else -1


def _shards(index: Path) -> set[str]:
    if not index.is_file():
        return set()
    try:
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()


@contextmanager
def _alone(model: str) -> Iterator[None]:
    """No other process brings the same model meanwhile."""
    folder = cache_folder(model)
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    locks = folder.parent / ".locks" / folder.name
    locks.mkdir(parents=True, exist_ok=True)
    try:
        with held(locks / "dittod.lock"):
            yield
    except AlreadyRunning as error:
        raise AlreadyRunning(f"{model} is being downloaded by another process", "wait for it") from error


def _give_name(folder: Path, commit: str, file: HubFile) -> None:
    """As a link to its content; where there are no links, as the content itself."""
    named, blob = folder / "snapshots" / commit / file.name, folder / "blobs" / file.digest
    if _size(named) == file.size:
        return
    named.parent.mkdir(parents=True, exist_ok=True)
    named.unlink(missing_ok=True)
    try:
        named.symlink_to(os.path.relpath(blob, named.parent))
    except OSError:
        blob.replace(named)


# --- a file on its way ---


def _bring(listing: Listing, file: HubFile, on_bytes: OnBytes) -> None:
    """One file, with its hash looked at."""
    partial = _partial(listing, file)
    if _size(partial) > file.size:
        partial.unlink()
    if _size(partial) < file.size:
        _try(listing, file, on_bytes)
    if file.hash_of(partial) != file.digest:
        on_bytes(-min(file.size, partial.stat().st_size))
        partial.unlink()
        raise ModelError(
            f"{file.name} of {listing.model} is not what the hub says that it is: it was removed",
            "try again; if it stays so, something between the hub and you changes what you get",
        )
    with partial.open("rb+") as written:
        os.fsync(written.fileno())
    partial.replace(_blob(listing, file))


def _try(listing: Listing, file: HubFile, on_bytes: OnBytes) -> None:
    """Until it is whole or nothing has come for all the pauses. Raises ModelError then; what came is kept."""
    tries = 0
    while True:
        before = _size(_partial(listing, file))
        try:
            _receive(listing, file, on_bytes)
            return
        except _Passing as error:
            tries = 0 if _size(_partial(listing, file)) > before else tries + 1
            if tries > len(PAUSES):
                raise ModelError(
                    f"the download of {listing.model} has stopped: {error}",
                    f"what came is kept; to go on: dittod init --model {listing.model}",
                ) from error
            time.sleep(PAUSES[max(0, tries - 1)])


def _receive(listing: Listing, file: HubFile, on_bytes: OnBytes) -> None:
    """What one answer brings, behind what is here already."""
    partial = _partial(listing, file)
    here = max(0, _size(partial))
    url = f"{_endpoint()}/{listing.model}/resolve/{listing.commit}/{file.name}"
    with _answer(listing.model, url, {"range": f"bytes={here}-"} if here else {}) as response:
        goes_on = response.status_code == 206 and response.headers.get("content-range", "").startswith(f"bytes {here}-")
        if here and not goes_on:
            on_bytes(-here)
            here = 0
        with partial.open("ab" if here else "wb") as out:
            for piece in response.iter_raw():
                out.write(piece)
                on_bytes(len(piece))
                here += len(piece)
                if here > file.size:
                    return
    if here < file.size:
        raise _Passing("the connection was closed")
