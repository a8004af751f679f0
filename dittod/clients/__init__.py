"""Ready settings for the programs that people use the endpoint with: what `dittod connect` prints and writes, and what
the Connect page shows. Knows nothing of the daemon; only `files` touches the disk, only
`git` asks a program, only `proving` the network."""

from __future__ import annotations

from typing import Any

from dittod.clients import editors, pages, programs, terminals
from dittod.clients.formats import text_of
from dittod.clients.places import shown
from dittod.clients.shape import ROOMY, TOKEN, Client, Endpoint

_MAKERS = (
    programs.environment,
    programs.openai,
    terminals.llm,
    terminals.aider,
    terminals.codex,
    terminals.opencode,
    editors.continue_,
    editors.zed,
    editors.vscode,
    pages.open_webui,
    pages.librechat,
    pages.thunderai,
    pages.obsidian,
    programs.langchain,
    programs.litellm,
)


def all_clients(address: str, model: str = "ditto", context_tokens: int = ROOMY, token: str = TOKEN) -> list[Client]:
    """Set up for the endpoint at this address, with or without '/v1'."""
    endpoint = Endpoint(address.rstrip("/").removesuffix("/v1"), model, context_tokens)
    return [make(endpoint, token) for make in _MAKERS]


def documents(address: str) -> dict[str, Any]:
    """All of them, for an endpoint at this address (without '/v1'), and the one that most of them want."""
    return {"url": Endpoint(address).v1, "clients": [document(each) for each in all_clients(address)]}


def document(client: Client) -> dict[str, Any]:
    """Ready to become JSON."""
    return {
        "name": client.name,
        "title": client.title,
        "about": client.about,
        "tried": client.tried,
        "parts": [
            {"path": each.path and shown(each.path), "language": each.language, "text": text_of(each)}
            for each in client.parts
        ],
        "steps": list(client.steps),
        "origins": list(client.origins),
        "least_tokens": client.least_tokens,
        "command": command(client),
    }


def command(client: Client) -> str:
    """What sets it up."""
    folder = " --folder FOLDER" if client.wants_folder else ""
    return f"dittod connect {client.name}{f'{folder} --write' if client.is_written else ''}"
