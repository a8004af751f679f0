"""How long a client may read nothing of what it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from unittest.mock import Mock

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from dittod_service.connections import Connection, Patience


@pytest.fixture
def swept() -> Callable[..., bool]:
    """Whether a client is hung up on of which so many bytes were unread at those seconds."""

    def run(unread: dict[float, int], *, closing: bool = False) -> bool:
        async def scenario() -> bool:
            transport = Mock(**{"get_extra_info.return_value": None, "is_closing.return_value": closing})
            connection = Connection(Config(_nothing), ServerState(), {}, Patience(head_seconds=1e9, deaf_seconds=30))
            connection.connection_made(transport)
            if not closing:  # what is sent at last may be less than uvicorn stops for
                connection.pause_writing()
            for second, size in unread.items():
                transport.get_write_buffer_size.return_value = size
                connection.sweep(second)
            return bool(transport.abort.called)

        return asyncio.run(scenario())

    return run


async def _nothing(scope: object, receive: object, send: Callable[..., Awaitable[None]]) -> None:
    raise AssertionError


@pytest.mark.parametrize("closing", [False, True])
def test_a_client_that_reads_nothing_is_hung_up_on(swept: Callable[..., bool], closing: bool) -> None:
    assert not swept({0: 10**6, 29: 10**6}, closing=closing)
    assert swept({0: 10**6, 29: 10**6, 31: 10**6}, closing=closing)


@pytest.mark.parametrize("closing", [False, True])
def test_a_client_that_reads_anything_gets_all_the_time_again(swept: Callable[..., bool], closing: bool) -> None:
    assert not swept({0: 10**6, 20: 10**6 - 1, 45: 10**6 - 2, 70: 10**6 - 2}, closing=closing)
    assert swept({0: 10**6, 20: 10**6 - 1, 51: 10**6 - 1}, closing=closing)
