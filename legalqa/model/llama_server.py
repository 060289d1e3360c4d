"""Questions on stdin, replies on stdout, by llama.cpp's own server; legalqa/model/llama_cpp.py starts it.

The chat goes the way of every client's: the file's template by llama.cpp's jinja, its tokenizer, greedy
tokens until an end token.
"""

import json
import sys
import urllib.error
import urllib.request
from typing import Any


def start_server(gguf_file: str, context: int) -> Any:
    import xllamacpp  # pyright: ignore[reportMissingImports]

    parameters = xllamacpp.CommonParams()
    parameters.model.path = gguf_file
    parameters.n_ctx, parameters.n_parallel = context, 1
    parameters.use_jinja, parameters.warmup, parameters.ui, parameters.fit_params = True, False, False, False
    parameters.port = 0  # a free one
    return xllamacpp.Server(parameters)


def post(server: Any, path: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        server.listening_address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        sys.exit(f"{path}: {error.read().decode()}")


def token_ids(server: Any, text: str) -> list[int]:
    return post(server, "/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]


def ask(
    server: Any, messages: list[dict[str, str]], asked: dict[str, Any]
) -> tuple[list[int], list[int], str]:
    """(ids it read, ids it wrote, their text) of one chat."""
    prompt = post(server, "/apply-template", {"messages": messages})["prompt"]
    made = post(
        server,
        "/completion",
        {
            "prompt": prompt,
            "n_predict": asked["max_new_tokens"],
            "temperature": 0,
            "repeat_penalty": asked["repetition_penalty"],
            "repeat_last_n": asked["context"],
            "return_tokens": True,
            "cache_prompt": False,
        },
    )
    return token_ids(server, prompt), made["tokens"], made["content"].strip()


def stops_at(server: Any, token_id: int) -> bool:
    """Whether generation ends when the model writes this token: it is made to."""
    forced = {"prompt": "1", "n_predict": 2, "temperature": 0, "logit_bias": [[token_id, 1000.0]]}
    return post(server, "/completion", forced)["stop_type"] == "eos"


def main() -> None:
    asked = json.load(sys.stdin)
    server = start_server(sys.argv[1], asked["context"])
    replies = [ask(server, messages, asked) for messages in asked["chats"]]
    ends = [token_id for token_id in asked["end_ids"] if stops_at(server, token_id)]
    print(json.dumps({"replies": replies, "end_ids": ends}))


if __name__ == "__main__":
    main()
