"""OpenAI's own client and LangChain's against a node, or against a proxy before it.

Everything is used as its documentation says; nothing of it knows of receipts. The receipts are
then taken from what the clients hand through, written to a folder and judged by the caller.

Usage: clients.py BASE_URL FOLDER [--raw]
--raw: the answers come from a node and carry their receipts; write them down.
"""

import base64
import json
import pathlib
import struct
import sys
from typing import Literal

import httpx
import openai
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

BASE, FOLDER = sys.argv[1], pathlib.Path(sys.argv[2])
client = openai.OpenAI(base_url=BASE, api_key="none", max_retries=0, timeout=120)
written = 0


def unbase64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def keep(member):
    """Joins a receipt and its openings as the bundle has them: the openings are its last value."""
    global written
    for each in member.get("receipts") or [member]:
        bare, openings = unbase64(each["receipt"]), unbase64(each["openings"])
        assert bare.endswith(b"\x04\xa0"), "a bare receipt ends in empty openings"
        written += 1
        (FOLDER / f"{written:03}.receipt").write_bytes(bare[:-1] + openings)


def expect(what, condition):
    if not condition:
        sys.exit(f"{what}: not so")
    print(f"ok  {what}")


MESSAGES = [{"role": "user", "content": "What is a lock?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "count": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["name", "count"],
    "additionalProperties": False,
}

# Models.
models = client.models.list()
expect("the default model is listed", any(model.id == "default" for model in models))
expect("a model can be retrieved", client.models.retrieve("default").id == "default")

# A chat.
chat = client.chat.completions.create(model="default", messages=MESSAGES, max_tokens=24, seed=7)
expect("a chat has text", chat.choices[0].message.content.strip() != "")
expect("usage adds up", chat.usage.total_tokens == chat.usage.prompt_tokens + chat.usage.completion_tokens)
expect("a chat carries its receipt", "receipt" in chat.tally)
keep(chat.tally)
again = client.chat.completions.create(model="default", messages=MESSAGES, max_tokens=24, seed=7)
expect("the same seed gives the same text", again.choices[0].message.content == chat.choices[0].message.content)
keep(again.tally)

# The raw answer's header.
raw = client.chat.completions.with_raw_response.create(model="default", messages=MESSAGES, max_tokens=4)
expect("the receipt's id is in the header", raw.headers["tally-receipt"] == raw.parse().tally["id"])
keep(raw.parse().tally)

# Several answers, log-probabilities, stop, penalties, biases.
several = client.chat.completions.create(
    model="default", messages=MESSAGES, max_tokens=12, n=3, seed=1, temperature=0.9, top_p=0.8,
    logprobs=True, top_logprobs=3, presence_penalty=0.5, frequency_penalty=0.25, stop=["\n\n", "zzz"],
    logit_bias={"5": -100},
)
expect("three answers", [choice.index for choice in several.choices] == [0, 1, 2])
expect("three receipts", len(several.tally["receipts"]) == 3)
first = several.choices[0].logprobs.content
expect("log-probabilities are negative", all(each.logprob <= 0 for each in first))
expect("alternatives are sorted", all(
    sorted((top.logprob for top in each.top_logprobs), reverse=True) == [top.logprob for top in each.top_logprobs]
    for each in first))
keep(several.tally)

# A stream.
text, last, finish = "", None, None
with client.chat.completions.create(
    model="default", messages=MESSAGES, max_tokens=24, seed=7, stream=True, stream_options={"include_usage": True}
) as stream:
    for chunk in stream:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
        last = chunk
expect("a stream says the same", text == chat.choices[0].message.content)
expect("a stream has a reason for its end", finish == chat.choices[0].finish_reason)
expect("a stream ends with its usage", last.usage.completion_tokens == chat.usage.completion_tokens)
keep(last.tally)

# Tools.
forced = client.chat.completions.create(
    model="default", messages=[{"role": "user", "content": "Weather in Oslo?"}], max_tokens=120, seed=3,
    tools=[WEATHER], tool_choice="required",
)
call = forced.choices[0].message.tool_calls[0]
expect("a forced call is one", forced.choices[0].finish_reason == "tool_calls" and call.function.name == "get_weather")
expect("its arguments have the schema", set(json.loads(call.function.arguments)) == {"city"})
keep(forced.tally)
answered = client.chat.completions.create(
    model="default", max_tokens=12, tools=[WEATHER],
    messages=[
        {"role": "user", "content": "Weather in Oslo?"},
        forced.choices[0].message,
        {"role": "tool", "tool_call_id": call.id, "content": "rain"},
    ],
)
expect("a tool's result is answered", answered.choices[0].message is not None)
keep(answered.tally)

# JSON of a schema.
formed = client.chat.completions.create(
    model="default", messages=MESSAGES, max_tokens=200, seed=5,
    response_format={"type": "json_schema", "json_schema": {"name": "thing", "schema": SCHEMA, "strict": True}},
)
thing = json.loads(formed.choices[0].message.content)
expect("an answer has its schema", set(thing) == {"name", "count"} and isinstance(thing["count"], int))
keep(formed.tally)

# A plain completion.
plain = client.completions.create(model="default", prompt=["A lock is", "A key is"], max_tokens=8, logprobs=2, seed=2)
expect("two prompts, two texts", len(plain.choices) == 2)
keep(plain.tally)
pieces = list(client.completions.create(model="default", prompt="A lock is", max_tokens=8, seed=2, stream=True))
expect("a completion streams", "".join(piece.choices[0].text for piece in pieces) == plain.choices[0].text)
keep(pieces[-1].tally)

# Embeddings.
encoder = next((model.id for model in models if model.id != "default"), None)
if encoder:
    made = client.embeddings.create(model=encoder, input=["A man is eating.", "Someone has lunch."])
    norm = sum(value * value for value in made.data[0].embedding)
    expect("a vector has length one", abs(norm - 1) < 1e-3)
    as_floats = client.embeddings.create(model=encoder, input="A man is eating.", encoding_format="float")
    single = [struct.unpack("<f", struct.pack("<f", value))[0] for value in as_floats.data[0].embedding]
    expect("both encodings agree", single == made.data[0].embedding)
    keep(made.tally)

# Errors.
def refused(what, kind, code, **request):
    try:
        client.chat.completions.create(**{"model": "default", "messages": MESSAGES, "max_tokens": 4, **request})
    except kind as error:
        expect(what, error.code == code)
    else:
        sys.exit(f"{what}: it was answered")


refused("an unknown model is not found", openai.NotFoundError, "model_not_found", model="gpt-4o")
refused("an unknown parameter is refused by name", openai.BadRequestError, "unsupported_parameter", extra_body={"min_p": 0.1})
refused("a temperature out of range is refused", openai.BadRequestError, "invalid_value", temperature=101)
refused("an empty chat is refused", openai.BadRequestError, "input/refused", messages=[])
refused("a too long chat is refused", openai.BadRequestError, "context/length",
        messages=[{"role": "user", "content": "word " * 20000}])

# LangChain.
model = ChatOpenAI(base_url=BASE, api_key="none", model="default", max_tokens=24, seed=7, temperature=1, max_retries=0)
said = model.invoke("What is a lock?")
expect("LangChain gets the same text", said.content == chat.choices[0].message.content)
expect("LangChain streams it", "".join(piece.content for piece in model.stream("What is a lock?")) == said.content)


@tool
def get_time(city: Literal["Oslo", "Rome"]) -> str:
    """The time in a city"""
    return "noon"


bound = ChatOpenAI(base_url=BASE, api_key="none", model="default", max_tokens=160, seed=1, max_retries=0)
bound = bound.bind_tools([get_time], tool_choice="get_time")
expect("LangChain calls a tool", bound.invoke("What time is it in Oslo?").tool_calls[0]["name"] == "get_time")

# Receipts again.
found = httpx.get(f"{BASE.removesuffix('/v1')}/v1/receipts/{chat.tally['id']}")
if found.status_code == 200:
    expect("a receipt can be fetched again", found.content.startswith(b"\xda\x54\x41\x4c\x59"))
print(f"{written} receipts")
