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


def ask(server: Any, asked: dict[str, Any], messages: list[dict[str, str]], answer: list[int]) -> Any:
    """A legalqa.model.replay.Reply to one chat, as a list. `answer`: the first ids of the adapter's."""
    prompt = post(server, "/apply-template", {"messages": messages})["prompt"]
    prompt_ids = token_ids(server, prompt)
    made = complete(
        server,
        prompt,
        n_predict=asked["max_new_tokens"],
        repeat_penalty=asked["repetition_penalty"],
        repeat_last_n=asked["context"],
    )
    next_ids = [
        complete(server, prompt_ids + answer[:i], n_predict=1)["tokens"][0] for i in range(len(answer))
    ]
    return prompt_ids, made["tokens"], made["content"].strip(), next_ids


def complete(server: Any, prompt: str | list[int], **options: Any) -> dict[str, Any]:
    """Greedy tokens after a prompt."""
    return post(server, "/completion", {"prompt": prompt, "temperature": 0, "return_tokens": True, **options})


def stops_at(server: Any, token_id: int) -> bool:
    """Whether generation ends when the model writes this token: it is made to."""
    return complete(server, "1", n_predict=2, logit_bias=[[token_id, 1000.0]])["stop_type"] == "eos"


def main() -> None:
    asked = json.load(sys.stdin)
    server = start_server(sys.argv[1], asked["context"])
    replies = [ask(server, asked, *pair) for pair in zip(asked["chats"], asked["answers"])]
    ends = [token_id for token_id in asked["end_ids"] if stops_at(server, token_id)]
    print(json.dumps({"replies": replies, "end_ids": ends}))


if __name__ == "__main__":
    main()
