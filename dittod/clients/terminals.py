"""Programs of the terminal: llm, aider, Codex, opencode."""

from __future__ import annotations

from dittod.clients.shape import EXPORT, VARIABLE, Client, Endpoint, Part, Proof

AIDERS = "~/.aider.dittod.conf.yml"


def llm(endpoint: Endpoint, token: str) -> Client:
    """Its keys lie beside its models, in a file of their own."""
    shared = {"model_name": endpoint.model, "api_base": endpoint.v1, "api_key_name": "dittod"}
    completion = f"{endpoint.model}-completion"
    return Client(
        name="llm",
        title="llm",
        about="Prompts and chats in the terminal.",
        parts=(
            Part(
                "yaml",
                "{llm}/extra-openai-models.yaml",
                [
                    {"model_id": endpoint.model, **shared, "supports_schema": True, "supports_tools": True},
                    {"model_id": completion, **shared, "completion": True},
                ],
            ),
            Part("json", "{llm}/keys.json", {"dittod": token}),
        ),
        proof=Proof((0, (endpoint.model, "api_base")), (0, (endpoint.model, "model_name")), (1, ("dittod",))),
        steps=(f"llm -m {endpoint.model} 'Write to Ann'", f"llm chat -m {endpoint.model}"),
        tried=True,
    )


def aider(endpoint: Endpoint, token: str) -> Client:
    """A configuration of its own, so that aider without it works as before."""
    model = f"openai/{endpoint.model}"
    answer = min(1000, endpoint.answer_tokens)
    limits = {
        "max_input_tokens": endpoint.context_tokens,
        "max_output_tokens": answer,
        "litellm_provider": "openai",
        "mode": "chat",
    }
    return Client(
        name="aider",
        title="aider",
        about="Edits files of a git repository.",
        parts=(
            Part(
                "yaml",
                AIDERS,
                {
                    "model": model,
                    "openai-api-base": endpoint.v1,
                    "openai-api-key": token,
                    "show-model-warnings": False,
                },
            ),
            Part(
                "yaml",
                "~/.aider.model.settings.yml",
                [{"name": model, "edit_format": "whole", "extra_params": {"max_tokens": answer}}],
            ),
            Part("json", "~/.aider.model.metadata.json", {model: limits}),
        ),
        proof=Proof((0, ("openai-api-base",)), (0, ("model",)), (0, ("openai-api-key",)), prefix="openai/"),
        steps=(f"aider --config {AIDERS}",),
        tried=True,
        least_tokens=400,
    )


def codex(endpoint: Endpoint, token: str) -> Client:
    """A profile of its own, so that Codex without it works as before."""
    return Client(
        name="codex",
        title="Codex CLI",
        about="Coding agent, from version 0.134.",
        parts=(
            Part(
                "toml",
                "{codex}/dittod.config.toml",
                {
                    "model": endpoint.model,
                    "model_provider": "dittod",
                    "model_context_window": endpoint.context_tokens,
                    "model_providers": {
                        "dittod": {
                            "name": "dittod",
                            "base_url": endpoint.v1,
                            "env_key": VARIABLE,
                            "wire_api": "responses",
                        }
                    },
                },
            ),
        ),
        proof=Proof(
            (0, ("model_providers", "dittod", "base_url")),
            (0, ("model",)),
            (0, ("model_providers", "dittod", "env_key")),
            route="responses",
        ),
        steps=(EXPORT, "codex --profile dittod"),
        tried=True,
        least_tokens=9000,
    )


def opencode(endpoint: Endpoint, token: str) -> Client:
    """Where it finds no file of its own it asks a model on the internet: a fresh one allows this provider alone."""
    way = ("provider", "dittod")
    return Client(
        name="opencode",
        title="opencode",
        about="Coding agent of the terminal.",
        parts=(
            Part(
                "json",
                "{xdg}/opencode/opencode.json",
                {
                    "provider": {
                        "dittod": {
                            "npm": "@ai-sdk/openai-compatible",
                            "name": "dittod",
                            "options": {"baseURL": endpoint.v1, "apiKey": f"{{env:{VARIABLE}}}"},
                            "models": {
                                endpoint.model: {
                                    "name": endpoint.model,
                                    "limit": {"context": endpoint.context_tokens, "output": endpoint.answer_tokens},
                                }
                            },
                        }
                    }
                },
                fresh={
                    "$schema": "https://opencode.ai/config.json",
                    "model": f"dittod/{endpoint.model}",
                    "enabled_providers": ["dittod"],
                },
            ),
        ),
        proof=Proof(
            (0, (*way, "options", "baseURL")),
            (0, (*way, "models", endpoint.model, "name")),
            (0, (*way, "options", "apiKey")),
        ),
        steps=(EXPORT, f"opencode --model dittod/{endpoint.model}"),
        tried=True,
        least_tokens=10500,
    )
