"""The page and what it consists of: files of this package, and the chart library where it was installed to.

Only names that are in these folders are served. Nothing in them is the user's, so nobody is asked for a token. A
browser asks each time whether it still has the right ones: after an upgrade none is stale. Knows nothing of a home.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

INDEX = "index.html"
CHART = "chart.js"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def shipped() -> dict[str, Path]:
    """Every file by the name under which it is served."""
    folder = Path(__file__).parent / "static"
    ours = {path.name: path for path in folder.iterdir() if path.suffix in KINDS}
    chart = distribution("chartkick").locate_file("chartkick/django/static/chartkick/Chart.bundle.js")
    return ours | {CHART: Path(str(chart))}


class Pages:
    """The files, read anew at each request: no process keeps a megabyte of them."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._index = files[INDEX]
        self._files = {name: path for name, path in files.items() if name != INDEX}

    async def index(self, request: Request) -> Response:
        """The page, which is one for all that there is to see."""
        return await _served(self._index, request, {"content-security-policy": POLICY, "vary": "Accept"})

    async def file(self, request: Request) -> Response:
        """What the page consists of."""
        path = self._files.get(request.path_params["name"])
        if path is None:
            raise HTTPException(404)
        return await _served(path, request, {})


def asks_for_page(request: Request) -> bool:
    """Browsers name the type when a person opens an address; clients that look for a server do not."""
    return "text/html" in request.headers.get("accept", "").lower()


async def _served(path: Path, request: Request, headers: Mapping[str, str]) -> Response:
    body = await asyncio.to_thread(path.read_bytes)
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    told = {**headers, "etag": tag, "cache-control": "no-cache", "content-type": KINDS[path.suffix]}
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    return Response(status_code=304, headers=told) if tag in known else Response(body, headers=told)
