"""Every title of an error that a user can meet, read from the code without running it: what is filled in stands as '…'.

It does not know what is passed on from elsewhere: those places are listed in `PASSED_ON`, each with the reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .pages import ROOT

KINDS = {  # what an error is made by, and the place of its title
    "DittodError": 0,
    "SettingsError": 0,
    "FileSetAside": 0,
    "NotNow": 0,
    "NotFound": 0,
    "ModelError": 0,
    "RequestError": 0,
    "TooFewDemonstrations": 0,
    "EngineUnavailable": 0,
    "AlreadyRunning": 0,
    "NoKey": 0,
    "Failed": 1,  # of the engine, for a request
    "Failure": 1,  # of the endpoint, before the daemon hears of a request
    "refusing": 1,
}
OWN = {  # likewise, of one file alone
    ("dittod/cli/__init__.py", "_fail"): 0,  # errors of the system
    ("dittod/ingest/process.py", "_Died"): 0,  # why a file could not be read to its end
    ("dittod/ingest/process.py", "_end"): 0,
    ("dittod/sealing.py", "_NoKeyring"): 0,
    ("service/dittod_service/dashboard/session.py", "signed_out"): 0,
    ("service/dittod_service/security.py", "_unauthorised"): 0,
}
PASSED_ON = {  # the file and what stands there for a title: why it is no title of its own
    ("dittod/backend.py", "failed.title"): "what the engine said",
    ("dittod/backend.py", "error.title"): "why the model cannot be loaded",
    ("dittod/cli/__init__.py", "error.title"): "any error, on stderr",
    ("dittod/cli/answers.py", "title"): "what the endpoint said",
    ("dittod/config.py", "f'{error}'"): "pydantic-settings' words for a variable that is no JSON",
    ("dittod/cli/plan.py", "*found['error']"): "what the engine's own look at the model said",
    ("dittod/engine/client.py", "self._refused.title"): "why the model could not be loaded",
    ("dittod/engine/worker.py", "error.title"): "any error, through the pipe",
    ("dittod/sealing.py", "str(error)"): "of the keyring: _NoKeyring has it",
    ("dittod/ingest/process.py", "last"): "of the process that reads: _Died has it",
    ("dittod/ingest/process.py", "why"): "of the process that reads: _why_to_end has it",
    ("service/dittod_service/connections.py", "msg"): "what h11 says of a request that is no HTTP",
    ("service/dittod_service/dashboard/routes.py", "message"): "any error, as an answer",
    ("service/dittod_service/feedback.py", "message"): "any error, as an answer",
    ("service/dittod_service/generation.py", "error.title.replace(error.param, name)"): "with another name in it",
    ("service/dittod_service/openai/errors.py", "message"): "any error, as an answer",
    ("service/dittod_service/security.py", "message"): "of those who call it",
}

UNHEARD = {"closed", "not needed"}  # why the process that reads files is ended when nobody waits for it


@dataclass(frozen=True, slots=True)
class Title:
    """One, and where it is made."""

    words: str
    path: str
    line: int


def all_titles() -> list[Title]:
    """Of the whole of the code, in the order of the files."""
    return [Title(words, path, line) for path, line, told, found in _everywhere() for words in found]


def passed_on() -> set[tuple[str, str]]:
    """The places that have no words of their own, as PASSED_ON lists them."""
    return {(path, told) for path, _, told, found in _everywhere() if not found}


def _everywhere() -> Iterator[tuple[str, int, str, list[str]]]:
    for root in ("dittod", "service/dittod_service"):
        for path in sorted((ROOT / root).rglob("*.py")):
            yield from _told_in(path)


def _told_in(path: Path) -> Iterator[tuple[str, int, str, list[str]]]:
    """Of one file: where an error is made, what stands there for its title, and what that can be."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    name = str(path.relative_to(ROOT))
    for scope, call in _calls(module, module):
        called = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        place = KINDS.get(called, OWN.get((name, called)))
        if place is not None and len(call.args) > place:
            found = {words for words in _words(call.args[place], scope, module) if re.search("[a-z]", words)}
            if not found or found - UNHEARD:
                yield name, call.lineno, ast.unparse(call.args[place]), sorted(found - UNHEARD)


def _calls(node: ast.AST, scope: ast.AST) -> Iterator[tuple[ast.AST, ast.Call]]:
    """Every call with the function, or else the module, in which it stands."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield scope, child
        yield from _calls(child, child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else scope)


def _words(node: ast.AST, scope: ast.AST, module: ast.Module) -> Iterator[str]:
    """What an expression can be, as words."""
    match node:
        case ast.Constant(value=str(text)):
            yield normal(text)
        case ast.JoinedStr(values=parts):
            yield normal("".join(str(each.value) if isinstance(each, ast.Constant) else "…" for each in parts))
        case ast.IfExp(body=one, orelse=other) | ast.BoolOp(values=[one, other]):
            yield from [*_words(one, scope, module), *_words(other, scope, module)]
        case ast.Call(func=ast.Attribute(value=whole, attr="partition")):  # of a title and a hint
            yield from _words(whole, scope, module)
        case ast.Call(func=ast.Name(id=name)):
            yield from (text for made, home in _returned(name, module) for text in _words(made, made, home))
        case ast.Name(id=name):
            yield from (text for value in _values(name, scope, module) for text in _words(value, scope, module))
        case ast.Starred():  # a pair out of a table that the function looks into
            names = {each.id for each in ast.walk(scope) if isinstance(each, ast.Name)}
            yield from (text for each in names for table in _values(each, module, module) for text in _heads(table))


def _values(name: str, scope: ast.AST, module: ast.Module) -> Iterator[ast.AST]:
    """What a name is given: in the function, else in the module, else where it is imported from."""
    inside = [] if scope is module else [node for node in ast.walk(scope) if _is_given(node, name)]
    if isinstance(scope, ast.FunctionDef):
        defaults = zip(reversed(scope.args.args), reversed(scope.args.defaults), strict=False)
        yield from (default for argument, default in defaults if argument.arg == name)
    given = inside or [node for node in module.body if _is_given(node, name)]
    yield from (
        node.value for node in given if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and node.value
    )
    if not given and (source := _source(name, module)):
        yield from _values(name, source, source)


def _is_given(node: ast.AST, name: str) -> bool:
    match node:
        case ast.Assign(targets=[ast.Name(id=found)]) | ast.AnnAssign(target=ast.Name(id=found)):
            return found == name
        case ast.Assign(targets=[ast.Tuple(elts=[ast.Name(id=found), *_])]) | ast.NamedExpr(target=ast.Name(id=found)):
            return found == name
    return False


def _source(name: str, module: ast.Module) -> ast.Module | None:
    """The module that a name is imported from."""
    for node in module.body:
        if isinstance(node, ast.ImportFrom) and any(each.name == name for each in node.names):
            path = ROOT / Path(*str(node.module).split(".")).with_suffix(".py")
            return ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else None
    return None


def _returned(function: str, module: ast.Module) -> Iterator[tuple[ast.AST, ast.Module]]:
    """What a function of ours returns, and the module in which it does."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            yield from ((each.value, module) for each in ast.walk(node) if isinstance(each, ast.Return) and each.value)
            return
    if source := _source(function, module):
        yield from _returned(function, source)


def _heads(node: ast.AST) -> Iterator[str]:
    """The titles in a pair of title and hint, or in a table of such: the texts that are last but one."""
    match node:
        case ast.Tuple(elts=[*_, ast.Constant(value=str(text)), ast.Constant(value=str()) | ast.Name()]):
            yield normal(text)
        case ast.Tuple(elts=values) | ast.Dict(values=values):
            yield from (text for value in values for text in _heads(value))


def normal(words: str) -> str:
    """With one '…' for what is filled in, whatever it is, and in one line."""
    return re.sub(r"…+", "…", " ".join(words.split()))
