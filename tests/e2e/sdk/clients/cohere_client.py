"""The official Cohere SDK: reranking by both versions of its API; the base URL is the origin."""

import cohere
from calls import API_KEY, BASE_URL, MODEL, run

ASKED = {"model": MODEL, "query": "hello", "documents": ["a", "b"], "top_n": 2}
OPTIONS = {"api_key": API_KEY, "base_url": BASE_URL}


def ranked(answer):
    return {
        "order": [each.index for each in answer.results],
        "scores": [each.relevance_score for each in answer.results],
    }


run(
    {
        "rerank": lambda: ranked(cohere.Client(**OPTIONS).rerank(**ASKED)),
        "rerank_v2": lambda: ranked(cohere.ClientV2(**OPTIONS).rerank(**ASKED)),
    }
)
