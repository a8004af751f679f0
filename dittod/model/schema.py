"""JSON schemas and tools to grammars, as text for llguidance; and the limits to their size.

Knows how families write calls; knows nothing of tokenizers but the ids of their markers, which it is given.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from urllib.parse import unquote

from dittod.errors import RequestError
from dittod.model.dialect import ARGUMENTS, CallSyntax
from dittod.types import Tool

SCHEMA_BYTES = 64 * 1024
SCHEMA_DEPTH = 64  # of lists and objects within each other
REFERENCES_DEPTH = 1000  # the same along all references, each once; llguidance's stack ends at 2000
PROPERTIES_MOST = 1000  # of one object; the time that compiling takes grows with their square (2000: 0.7 s)
PATTERNS_MOST = 64  # in one patternProperties; each is compared with each (128: 0.4 s)
INTERSECTIONS_MOST = 8  # of patterns and formats that one string must fit; time doubles with each (16: 2.7 s)
MULTIPLE_MOST = 10_000  # digits of multipleOf as a whole number; time grows with it (99,991: 2.4 s, 999,999: 28 s)
TOOLS_MOST = 128
TOOLS_BYTES = 256 * 1024
_COMPOSING = frozenset({"allOf", "anyOf", "oneOf", "$ref", "patternProperties"})  # properties may stand elsewhere
CALLS_MOST = 16  # in one answer that must call: a weak model would go on for ever

Markers = Mapping[str, int]  # text → token id, of those that are tokens of their own


def check_schema(schema: object, param: str, most_bytes: int = SCHEMA_BYTES) -> None:
    """Raises RequestError where it is too large or too deep, before anything walks through it."""
    if not _is_shallow(schema, SCHEMA_DEPTH):
        raise RequestError(f"{param} is nested more than {SCHEMA_DEPTH} deep", "flatten the schema", param=param)
    objects = list(_objects(schema))
    if max(map(len, objects), default=0) > PROPERTIES_MOST:
        raise RequestError(f"{param} has more than {PROPERTIES_MOST} properties in one object", param=param)
    if any(len(each) > PATTERNS_MOST for each in _mappings(objects, "patternProperties")):
        raise RequestError(f"{param} has more than {PATTERNS_MOST} patternProperties in one object", param=param)
    if _depth_along_references(schema, objects) > REFERENCES_DEPTH:
        raise RequestError(f"$ref in {param} leads too deep", "define fewer schemas in it", param=param)
    if _intersected(schema) > INTERSECTIONS_MOST:
        raise RequestError(f"{param} binds one text by more than {INTERSECTIONS_MOST} pattern or format", param=param)
    if math.lcm(*(_digits(each["multipleOf"]) for each in objects if "multipleOf" in each)) > MULTIPLE_MOST:
        raise RequestError(f"multipleOf in {param} is too fine", "leave it out, or use a rounder number", param=param)
    size = len(json.dumps(schema, ensure_ascii=False).encode("utf-8", "replace"))
    if size > most_bytes:
        raise RequestError(f"{param} has {size} bytes; at most {most_bytes} are taken", "shorten it", param=param)


def check_tools(tools: Sequence[Tool]) -> None:
    """The same for all tools of a request."""
    if len(tools) > TOOLS_MOST:
        raise RequestError(f"{len(tools)} tools are given; at most {TOOLS_MOST} are taken", param="tools")
    for tool in tools:
        check_schema(tool.parameters, "tools")
    check_schema([[tool.name, tool.description, tool.parameters] for tool in tools], "tools", TOOLS_BYTES)


def answer_rule(schema: Mapping[str, object]) -> str:
    """The rule `answer`: a JSON document that fits the schema."""
    return f"answer: %json {_json(schema, strict=True)}"


def calls_rules(tools: Sequence[Tool], syntax: CallSyntax, markers: Markers, *, several: bool) -> str:
    """The rule `calls`: one call after the other, or just one; and `opened`: what follows the opening of one."""
    gap = _literal(syntax.gap)
    opening, closing = _marker(syntax.opening, markers), _marker(syntax.closing, markers)
    more = f"{{0,{CALLS_MOST - 1}}}"
    match syntax.form:
        case "tagged":
            opened = f"{gap} call {gap} {closing}"
            calls = f"{opening} opened" + (f" ({gap} {opening} opened){more}" if several else "")
        case "listed":
            opened = '"[" call' + (f' (", " call){more}' if several else "") + ' "]"'
            calls = f"{opening} opened"
        case "named":
            opened = "call"
            calls = f"{opening} call" + (f" ({opening} call){more}" if several else "")
        case "bare":
            opened = calls = "call"
    kinds = " | ".join(f"call_{number}" for number in range(len(tools)))
    rules = [f"calls: {calls}", f"opened: {opened}", f"call: {kinds}"]
    for number, tool in enumerate(tools):
        rules += _call_rules(number, tool, syntax, markers)
    return "\n".join(rules)


def _call_rules(number: int, tool: Tool, syntax: CallSyntax, markers: Markers) -> list[str]:
    arguments = f"arguments_{number}: %json {_json(_arguments_schema(tool), strict=tool.strict)}"
    if syntax.form == "named":
        return [f"call_{number}: {_literal(tool.name)} {_marker(ARGUMENTS, markers)} arguments_{number}", arguments]
    before = f'{{"name": {json.dumps(tool.name, ensure_ascii=False)}, "{syntax.arguments}": '
    return [f'call_{number}: {_literal(before)} arguments_{number} "}}"', arguments]


def _arguments_schema(tool: Tool) -> Mapping[str, object]:
    """Arguments that nobody described are allowed by JSON schema, but a weak model would make them up for ever."""
    kind = tool.parameters.get("type", "object")
    if not tool.parameters:
        return {"type": "object"}
    if kind not in ("object", ["object"]):
        raise RequestError("the parameters of a tool must be of type object", param="tools")
    closed = {} if _COMPOSING & set(tool.parameters) else {"additionalProperties": False}
    return {**closed, **tool.parameters, "type": "object"}


def _json(schema: Mapping[str, object], *, strict: bool) -> str:
    """With one space at most after a comma or colon: a weak model would pad with white space for ever."""
    options = {
        "whitespace_flexible": False,
        "item_separator": ", ?",
        "key_separator": ": ?",
        "lenient": not strict,
        "coerce_one_of": not strict,
    }
    return json.dumps({**schema, "x-guidance": options})


def _literal(text: str) -> str:
    return json.dumps(text) if text else ""


def _marker(text: str, markers: Markers) -> str:
    return f"<[{markers[text]}]>" if text in markers else _literal(text)


def _objects(value: object) -> Iterator[Mapping[str, object]]:
    """Every object in it."""
    if isinstance(value, Mapping):
        yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _objects(each)


def _mappings(objects: Iterable[Mapping[str, object]], key: str) -> Iterator[Mapping[str, object]]:
    yield from (value for each in objects if isinstance(value := each.get(key), Mapping))


def _intersected(schema: object) -> int:
    """How many patterns and formats one text may have to fit at once, at most. A loop of references counts once."""
    known: dict[int, int] = {}  # of lists and objects by their ids; 0 until what they lead to is known
    path = [schema]
    while path:
        if id(path[-1]) in known:
            value = path.pop()
            known[id(value)] = _intersected_in(value, schema, known)
        else:
            known[id(path[-1])] = 0
            path += [each for each in _led_to(path[-1], schema) if id(each) not in known]
    return known[id(schema)]


def _intersected_in(value: object, root: object, known: Mapping[int, int]) -> int:
    """Of one list or object, from what is known of those it leads to."""
    if not isinstance(value, Mapping):
        return max((known.get(id(each), 0) for each in _inner(value)), default=0)
    own = sum(isinstance(value.get(key), str) for key in ("pattern", "format"))
    inner = max((known.get(id(each), 0) for key, each in value.items() if key != "allOf"), default=0)
    together = sum(known.get(id(each), 0) for each in _inner(value.get("allOf")))
    return own + inner + together + known.get(id(_target(value, root)), 0)


def _led_to(value: object, root: object) -> Iterator[object]:
    """The lists and objects in a value, and the one that it refers to."""
    target = _target(value, root) if isinstance(value, Mapping) else None
    yield from (each for each in (*_inner(value), target) if isinstance(each, Mapping | list | tuple))


def _inner(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def _depth(value: object) -> int:
    """Of lists and objects within each other, where that is known to be little."""
    return 1 + max(map(_depth, inner), default=0) if (inner := _inner(value)) else 0


def _depth_along_references(schema: object, objects: Iterable[Mapping[str, object]]) -> int:
    """At most: if one path led through all that references point to, those unknown here as deep as can be."""
    referring = {pointer: each for each in objects if isinstance(pointer := each.get("$ref"), str)}
    targets = [_target(each, schema) for each in referring.values()]
    return _depth(schema) + sum(SCHEMA_DEPTH if target is None else _depth(target) for target in targets)


def _target(value: Mapping[str, object], root: object) -> object:
    """What a reference within the schema points to."""
    pointer = value.get("$ref")
    target = root
    for name in unquote(pointer.partition("#")[2]).split("/")[1:] if isinstance(pointer, str) else ():
        named = target if isinstance(target, Mapping) else {str(at): each for at, each in enumerate(_inner(target))}
        target = named.get(name.replace("~1", "/").replace("~0", "~"))
    return None if target is root else target


def _digits(number: object) -> int:
    """125 for 125 and for 0.0125; 1 for what is no number."""
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        return 1
    return int("".join(map(str, Decimal(str(number)).normalize().as_tuple().digits))) or 1


def _is_shallow(value: object, depth: int) -> bool:
    if not isinstance(value, Mapping | list | tuple):
        return True
    inner = value.values() if isinstance(value, Mapping) else value
    return depth > 0 and all(_is_shallow(each, depth - 1) for each in inner)
