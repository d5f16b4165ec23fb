"""The official OpenAI SDK: synchronous, asynchronous, streamed, left mid-stream, and its error classes."""

import asyncio

import openai
from calls import API_KEY, BASE_URL, QUESTION, plain, run, streamed

# No second tries: a test wants to see what the first one brought.
OPTIONS = {"base_url": BASE_URL, "max_retries": 0}

client = openai.OpenAI(api_key=API_KEY, **OPTIONS)


async def async_plain():
    async with openai.AsyncOpenAI(api_key=API_KEY, **OPTIONS) as client:
        return plain(await client.chat.completions.create(**QUESTION))


async def async_stream():
    async with openai.AsyncOpenAI(api_key=API_KEY, **OPTIONS) as client:
        return streamed([chunk async for chunk in await client.chat.completions.create(**QUESTION, stream=True)])


def leave():
    """Read two chunks of a long answer, then hang up."""
    long = QUESTION | {"max_tokens": 2000}
    with client.chat.completions.create(**long, stream=True) as stream:
        return {"chunks": len([chunk for chunk, _ in zip(stream, range(2), strict=False)])}


def wrong_key():
    with openai.OpenAI(api_key="sk-wrong", **OPTIONS) as client:
        return plain(client.chat.completions.create(**QUESTION))


run(
    {
        "plain": lambda: plain(client.chat.completions.create(**QUESTION)),
        "stream": lambda: streamed(client.chat.completions.create(**QUESTION, stream=True)),
        "async_plain": lambda: asyncio.run(async_plain()),
        "async_stream": lambda: asyncio.run(async_stream()),
        "models": lambda: [model.id for model in client.models.list()],
        "leave": leave,
        "wrong_key": wrong_key,
    }
)
