"""The official Groq SDK, plain and streamed."""

from calls import API_KEY, BASE_URL, QUESTION, plain, run, streamed
from groq import Groq

client = Groq(base_url=BASE_URL, api_key=API_KEY, max_retries=0)

run(
    {
        "plain": lambda: plain(client.chat.completions.create(**QUESTION)),
        "stream": lambda: streamed(client.chat.completions.create(**QUESTION, stream=True)),
    }
)
