"""The official Mistral SDK, plain and streamed; the base URL is the origin, an event carries its chunk as `data`."""

from calls import API_KEY, BASE_URL, QUESTION, plain, run, streamed
from mistralai.client import Mistral

client = Mistral(server_url=BASE_URL, api_key=API_KEY)

run(
    {
        "plain": lambda: plain(client.chat.complete(**QUESTION)),
        "stream": lambda: streamed(event.data for event in client.chat.stream(**QUESTION)),
    }
)
