"""Responses that are kept, as HTTP: looked at, deleted, and never cancelled, since none is made in the background."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from dittod_service.openai.errors import Failure, Refused
from dittod_service.openai.request import refusal, unsupported
from dittod_service.openai.responses.pages import Deleted, page
from dittod_service.openai.responses.store import Kept, Store
from dittod_service.replies import json_response


class StoredResponses:
    """The endpoints below `/responses/{id}`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def response(self, request: Request) -> Response:
        kept = self._kept(request)
        if request.method == "DELETE":
            self._store.drop(kept.response["id"])
            return json_response(Deleted(id=kept.response["id"], object="response", deleted=True))
        if request.query_params.get("stream") not in (None, "false"):
            raise unsupported("stream", "Streams of responses that have been made are")
        return json_response(kept.response)

    async def input_items(self, request: Request) -> Response:
        asked = request.query_params
        items = self._kept(request).input
        return json_response(page(items, asked.get("order"), asked.get("limit"), asked.get("after")))

    async def cancel(self, request: Request) -> Response:
        self._kept(request)
        raise refusal("response_id", "Only responses in the background can be cancelled")

    def _kept(self, request: Request) -> Kept:
        kept = self._store.find(request.path_params["id"])
        if kept is None:
            message = "There is no such response: it was never kept, or not for so long"
            raise Refused(Failure(404, message, param="response_id", code="not_found"))
        return kept
