"""What programs are written with, and what they read from the environment."""

from __future__ import annotations

from dittod.clients.shape import EXPORT, VARIABLE, Client, Endpoint, Part, Proof


def environment(endpoint: Endpoint, token: str) -> Client:
    """For programs that cannot be changed."""
    variables = {
        "OPENAI_BASE_URL": endpoint.v1,
        "OPENAI_API_BASE": endpoint.v1,  # older ones
        "OPENAI_API_KEY": token,
        "OPENAI_MODEL": endpoint.model,
    }
    return Client(
        name="env",
        title="Environment variables",
        about="Programs that read OpenAI's variables.",
        parts=(Part("env", "{folder}/.env", variables),),
        proof=Proof((0, ("OPENAI_BASE_URL",)), (0, ("OPENAI_MODEL",)), (0, ("OPENAI_API_KEY",))),
        steps=('In a shell: set -a; eval "$(dittod connect env)"; set +a',),
        tried=True,
    )


def openai(endpoint: Endpoint, token: str) -> Client:
    """For Python and Node."""
    return Client(
        name="openai",
        title="OpenAI's packages",
        about="Your own programs, in Python and Node.",
        parts=(
            Part(
                "python",
                text="import os\n"
                "\n"
                "import openai\n"
                "\n"
                f'client = openai.OpenAI(base_url="{endpoint.v1}", api_key=os.environ["{VARIABLE}"])\n'
                f'answer = client.responses.create(model="{endpoint.model}", input="Write to Ann")\n'
                "print(answer.output_text)\n",
            ),
            Part(
                "js",
                text="import OpenAI from 'openai';\n"
                "\n"
                f"const client = new OpenAI({{ baseURL: '{endpoint.v1}', apiKey: process.env.{VARIABLE} }});\n"
                f"const asked = {{ model: '{endpoint.model}', input: 'Write to Ann' }};\n"
                "const answer = await client.responses.create(asked);\n"
                "console.log(answer.output_text);\n",
            ),
        ),
        proof=Proof((0, ("base_url",)), (0, ("model",)), (0, ("api_key",)), route="responses"),
        steps=(EXPORT,),
        tried=True,
    )


def langchain(endpoint: Endpoint, token: str) -> Client:
    """Of its package for OpenAI."""
    return Client(
        name="langchain",
        title="LangChain",
        about="Your own programs: langchain-openai.",
        parts=(
            Part(
                "python",
                text="import os\n"
                "\n"
                "from langchain_openai import ChatOpenAI\n"
                "\n"
                "model = ChatOpenAI(\n"
                f'    model="{endpoint.model}",\n'
                f'    base_url="{endpoint.v1}",\n'
                f'    api_key=os.environ["{VARIABLE}"],\n'
                "    stream_usage=True,\n"
                ")\n"
                'print(model.invoke("Write to Ann").content)\n',
            ),
        ),
        proof=Proof((0, ("base_url",)), (0, ("model",)), (0, ("api_key",))),
        steps=(EXPORT,),
        tried=True,
    )


def litellm(endpoint: Endpoint, token: str) -> Client:
    """Its proxy."""
    parameters = {
        "model": f"openai/{endpoint.model}",
        "api_base": endpoint.v1,
        "api_key": f"os.environ/{VARIABLE}",
    }
    way = ("model_list", endpoint.model, "litellm_params")
    return Client(
        name="litellm",
        title="LiteLLM's proxy",
        about="One endpoint in front of several.",
        parts=(
            Part(
                "yaml",
                "{folder}/config.yaml",
                {"model_list": [{"model_name": endpoint.model, "litellm_params": parameters}]},
            ),
        ),
        proof=Proof((0, (*way, "api_base")), (0, (*way, "model")), (0, (*way, "api_key")), prefix="openai/"),
        steps=(
            EXPORT,
            "export LITELLM_MASTER_KEY=sk-$(openssl rand -hex 32)   # what its own clients send; it wants one",
            "litellm --config config.yaml",
        ),
        tried=True,
    )
