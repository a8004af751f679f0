"""/openapi.json describes every route, and nothing else. That it does so truly is found by test_schemathesis."""

from __future__ import annotations

import json

import schemathesis
from schemathesis.config import SchemathesisConfig
from starlette.applications import Starlette
from starlette.routing import Route

from dittod_service.openapi import document

from .conftest import Ask

PATH = "/openapi.json"


def test_it_describes_the_routes_that_there_are(app: Starlette) -> None:
    """HEAD, which comes with every GET, is left out."""
    described = {(path, method.upper()) for path, item in document()["paths"].items() for method in item}
    routes = [route for route in app.routes if isinstance(route, Route)]
    assert len(routes) == len(app.routes)
    there = {
        (route.path.replace(":path}", "}"), method)
        for route in routes
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert described == there


def test_it_is_a_valid_description(ask: Ask) -> None:
    answer = ask("GET", PATH)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    schemathesis.openapi.from_dict(answer.json(), config=SchemathesisConfig()).validate()


def test_every_definition_that_it_refers_to_is_there() -> None:
    written = json.dumps(document())
    for kind, named in document()["components"].items():
        for name in named:
            refers = f'"#/components/{kind}/{name}"'
            assert kind == "securitySchemes" or refers in written
            written = written.replace(refers, "")
    assert '"#/' not in written


def test_whoever_has_no_token_does_not_get_it_nor_what_it_says_needs_one(ask: Ask) -> None:
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            answer = ask(method.upper(), path.replace("{id}", "x"), headers={"authorization": ""})
            assert (answer.status_code == 401) == (operation.get("security") != []), path


def test_paths_without_v1_are_described_as_those_with_it() -> None:
    paths = document()["paths"]
    aliased = {path: item for path, item in paths.items() if path.startswith("/v1/")}
    assert len(aliased) > 8
    assert all(paths[path.removeprefix("/v1")] == item for path, item in aliased.items())


def test_it_is_made_once() -> None:
    assert document() is document()
