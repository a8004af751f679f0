"""Programs with pages and windows of their own: Open WebUI, LibreChat, ThunderAI, Obsidian's Copilot."""

from __future__ import annotations

from dittod.clients.shape import VARIABLE, Client, Endpoint, Part, Proof

LIBRECHAT_VERSION = "1.2.1"  # of the layout of its file
IN_A_CONTAINER = (
    "In a container this machine has another name: docs/clients.md says what to set for http://host.docker.internal."
)


def open_webui(endpoint: Endpoint, token: str) -> Client:
    """It keeps its settings in a database: variables count at its first start only. The shell asks for the key, so that
    its history does not keep it."""
    return Client(
        name="open-webui",
        title="Open WebUI",
        about="Chats in a page.",
        parts=(
            Part(
                "sh",
                text=f'OPENAI_API_BASE_URL={endpoint.v1} OPENAI_API_KEY="$(dittod token)" \\\n'
                f"  DEFAULT_MODELS={endpoint.model} "
                """DEFAULT_MODEL_PARAMS='{"function_calling": "legacy"}' open-webui serve\n""",
            ),
        ),
        proof=Proof((0, ("OPENAI_API_BASE_URL",)), (0, ("DEFAULT_MODELS",)), None),
        steps=(
            "Before its first start: as above. Later: Admin Panel › Settings › Connections › OpenAI API, "
            "with the same address, and the key that dittod token prints.",
            IN_A_CONTAINER,
        ),
        tried=True,
    )


def librechat(endpoint: Endpoint, token: str) -> Client:
    """Its file lies where it was unpacked."""
    way = ("endpoints", "custom", "dittod")
    return Client(
        name="librechat",
        title="LibreChat",
        about="Chats in a page.",
        parts=(
            Part(
                "yaml",
                "{folder}/librechat.yaml",
                {
                    "endpoints": {
                        "custom": [
                            {
                                "name": "dittod",
                                "apiKey": f"${{{VARIABLE}}}",
                                "baseURL": endpoint.v1,
                                "models": {"default": [endpoint.model], "fetch": True},
                                "titleConvo": False,
                                "modelDisplayLabel": "dittod",
                            }
                        ]
                    }
                },
                fresh={"version": LIBRECHAT_VERSION},
            ),
            Part("env", "{folder}/.env", {VARIABLE: token}),
        ),
        proof=Proof((0, (*way, "baseURL")), (0, (*way, "models", "default", "0")), (0, (*way, "apiKey"))),
        steps=("Restart LibreChat, and choose dittod.", IN_A_CONTAINER),
    )


def thunderai(endpoint: Endpoint, token: str) -> Client:
    """An add-on of Thunderbird: it keeps its settings where only Thunderbird can write."""
    return Client(
        name="thunderai",
        title="ThunderAI",
        about="Add-on of Thunderbird: drafts, replies.",
        parts=(_typed(endpoint, token),),
        proof=_of_typed(),
        steps=(
            "Add-ons and Themes › ThunderAI › Options: choose OpenAI Compatible API, and enter the three.",
            "Let it fetch the models, and choose yours.",
        ),
        origins=("moz-extension://*",),
    )


def obsidian(endpoint: Endpoint, token: str) -> Client:
    """A plug-in of Obsidian: its keys are in the system's keychain."""
    return Client(
        name="obsidian",
        title="Copilot for Obsidian",
        about="Plug-in of Obsidian: chats about notes.",
        parts=(_typed(endpoint, token),),
        proof=_of_typed(),
        steps=(
            "Settings › Copilot › BYOK › Add a provider: one that is OpenAI-compatible, and enter the three.",
            "Basic › Agents › Quick Chat: enable the model, and make it the default.",
        ),
        origins=("app://obsidian.md",),
    )


def _typed(endpoint: Endpoint, token: str) -> Part:
    return Part("text", text=f"address: {endpoint.v1}\nkey: {token}\nmodel: {endpoint.model}\n")


def _of_typed() -> Proof:
    return Proof((0, ("address",)), (0, ("model",)), (0, ("key",)))
