"""XML out of the zip files that `.docx` and `.odt` are, without trusting what they say of their size.

Knows zip bombs, and XML that expands or points elsewhere: there is no document type in an office file, so one with a
declaration of that is refused. Does not know what the elements mean.
"""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from dittod.errors import FileSetAside

LARGEST_XML_BYTES = 64 * 2**20
# What zipfile and expat raise for bytes that are not as they should be: also compressions and encodings nobody uses.
_DAMAGES = (
    zipfile.BadZipFile,
    expat.ExpatError,
    LookupError,
    zlib.error,
    lzma.LZMAError,
    ValueError,
    OSError,
    EOFError,
    struct.error,
    NotImplementedError,
)
_MOST_ENTRIES = 10_000
_PIECE_BYTES = 2**16
_DEEPEST = 500  # elements within each other


@dataclass(frozen=True, slots=True)
class Node:
    """The beginning or end of an element, or text. Names are without their namespace."""

    name: str  # '' for text
    is_end: bool = False
    text: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])


def open_zip(raw: bytes) -> zipfile.ZipFile:
    """The archive, with few enough entries. Raises FileSetAside for what is none."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(raw))
    except _DAMAGES as error:
        raise _damaged(error) from error
    if len(archive.infolist()) > _MOST_ENTRIES:
        raise FileSetAside(f"the file has {len(archive.infolist())} parts", f"at most {_MOST_ENTRIES} are looked at")
    return archive


def nodes(archive: zipfile.ZipFile, name: str) -> Iterator[Node]:
    """The XML of one entry, piece by piece; nothing when there is no such entry."""
    if name not in archive.NameToInfo:
        return
    found: list[Node] = []
    parser = _parser(found)
    try:
        with archive.open(name) as entry:
            size = 0
            while piece := entry.read(_PIECE_BYTES):
                size += len(piece)
                if size > LARGEST_XML_BYTES:
                    raise FileSetAside(
                        f"the file unpacks to more than {LARGEST_XML_BYTES // 2**20} MiB of text", "split it"
                    )
                parser.Parse(piece)
                yield from found
                found.clear()
            parser.Parse(b"", True)
        yield from found
    except _DAMAGES as error:
        raise _damaged(error) from error
    except RuntimeError as error:
        raise FileSetAside("the file is protected by a password", "save it without one") from error


def without(document: Iterator[Node], left_out: set[str]) -> Iterator[Node]:
    """The same without these elements and what is in them."""
    depth = 0
    for node in document:
        if node.name in left_out:
            depth += -1 if node.is_end else 1
        elif not depth:
            yield node


def first_bytes(archive: zipfile.ZipFile, name: str) -> bytes:
    """The beginning of an entry that may be missing or damaged."""
    try:
        with archive.open(name) as entry:
            return entry.read(100)
    except (*_DAMAGES, RuntimeError):
        return b""


def properties(archive: zipfile.ZipFile, name: str) -> dict[str, str]:
    """What an entry of plain elements says of the document: the text of each by its name."""
    found: dict[str, str] = {}
    element = ""
    for node in nodes(archive, name):
        if node.name:
            element = "" if node.is_end else node.name
        elif element:
            found[element] = found.get(element, "") + node.text
    return found


def _damaged(error: Exception) -> FileSetAside:
    return FileSetAside(
        f"the file is damaged ({type(error).__name__})", "open it in its program and save it again; it is then read"
    )


def _parser(found: list[Node]) -> expat.XMLParserType:
    parser = expat.ParserCreate(namespace_separator=" ")
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise FileSetAside("the file's parts are nested too deeply", f"at most {_DEEPEST} levels are read")
        found.append(Node(_local(name), attributes={_local(key): value for key, value in attributes.items()}))

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        found.append(Node(_local(name), is_end=True))

    def refuse(*_: object) -> None:
        raise FileSetAside("the file declares a document type", "no office program writes that; save it again from one")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda text: found.append(Node("", text=text))
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.buffer_text = True
    return parser


def _local(name: str) -> str:
    return name.rpartition(" ")[2]
