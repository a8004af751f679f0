"""Parts and clients for tests of merging: the real ones, at an address that nobody has."""

from __future__ import annotations

from dittod.clients import all_clients
from dittod.clients.shape import Client, Part

ADDRESS = "http://127.0.0.1:3488"
KEY = "dittod-token-of-a-test"


def client(name: str, **given: str) -> Client:
    return next(each for each in all_clients(ADDRESS, token=KEY, **given) if each.name == name)


def part(name: str, number: int = 0, **given: str) -> Part:
    return client(name, **given).parts[number]
