"""Editors and what lives in them: Continue, Zed, VS Code's chat."""

from __future__ import annotations

from dittod.clients.shape import VARIABLE, Client, Endpoint, Part, Proof

FROM_SECRETS = f"${{{{ secrets.{VARIABLE} }}}}"  # Continue looks into its .env and the environment for it


def continue_(endpoint: Endpoint, token: str) -> Client:
    """Tried as `cn`; its extensions read the same file."""
    model = {
        "name": endpoint.model,
        "provider": "openai",
        "model": endpoint.model,
        "apiBase": endpoint.v1,
        "apiKey": FROM_SECRETS,
        "roles": ["chat", "edit", "apply"],
        "defaultCompletionOptions": {
            "contextLength": endpoint.context_tokens,
            "maxTokens": min(1000, endpoint.answer_tokens),
        },
    }
    way = ("models", endpoint.model)
    return Client(
        name="continue",
        title="Continue",
        about="Assistant in VS Code and JetBrains; cn.",
        parts=(
            Part(
                "yaml",
                "~/.continue/config.yaml",
                {"models": [model]},
                fresh={"name": "dittod", "version": "0.0.1", "schema": "v1"},
            ),
            Part("env", "~/.continue/.env", {VARIABLE: token}),
        ),
        proof=Proof((0, (*way, "apiBase")), (0, (*way, "model")), (0, (*way, "apiKey"))),
        steps=(
            f"Choose {endpoint.model} below the chat's input field.",
            "In the terminal: cn --config ~/.continue/config.yaml -p 'Write to Ann'",
        ),
        tried=True,
        least_tokens=2000,
    )


def zed(endpoint: Endpoint, token: str) -> Client:
    """The key is not for its file: it says so itself."""
    model = {
        "name": endpoint.model,
        "display_name": endpoint.model,
        "max_tokens": endpoint.context_tokens,
        "max_output_tokens": endpoint.answer_tokens,
        "capabilities": {"tools": True, "images": False},
    }
    way = ("language_models", "openai_compatible", "dittod")
    return Client(
        name="zed",
        title="Zed",
        about="Editor with an agent panel.",
        parts=(
            Part(
                "json",
                "{xdg}/zed/settings.json",
                {
                    "language_models": {
                        "openai_compatible": {"dittod": {"api_url": endpoint.v1, "available_models": [model]}}
                    }
                },
            ),
        ),
        proof=Proof((0, (*way, "api_url")), (0, (*way, "available_models", endpoint.model, "name")), None),
        steps=(
            "Give it the key, which dittod token prints: agent: open settings › LLM Providers › dittod. "
            "It goes into the system's keychain.",
            f"Choose {endpoint.model} in the agent panel.",
        ),
    )


def vscode(endpoint: Endpoint, token: str) -> Client:
    """The file may be synchronised to other machines, so it holds a reference to the key; VS Code asks for the key."""
    model = {
        "id": endpoint.model,
        "name": endpoint.model,
        "url": f"{endpoint.v1}/chat/completions",
        "toolCalling": True,
        "vision": False,
        "maxInputTokens": endpoint.context_tokens - endpoint.answer_tokens,
        "maxOutputTokens": endpoint.answer_tokens,
    }
    way = ("dittod", "models", endpoint.model)
    return Client(
        name="vscode",
        title="VS Code",
        about="Copilot's chat, from version 1.122.",
        parts=(
            Part(
                "json",
                "{config}/Code/User/chatLanguageModels.json",
                [
                    {
                        "name": "dittod",
                        "vendor": "customendpoint",
                        "apiKey": "${input:dittod}",
                        "apiType": "chat-completions",
                        "models": [model],
                    }
                ],
            ),
        ),
        proof=Proof((0, (*way, "url")), (0, (*way, "id")), None),
        steps=(
            "Run Developer: Reload Window.",
            "Run Chat: Manage Language Models, click the gear beside dittod, and enter what dittod token prints. "
            "It goes into the system's keychain.",
            f"Choose {endpoint.model} below the chat's input field.",
        ),
    )
