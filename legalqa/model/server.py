"""Answers of a model behind an OpenAI-compatible server: vLLM, Ollama, llama.cpp, a paid API.

The messages are the project's, the template around them is the server's own. The library `openai` asks, and
asks again after 429, 5xx, a time-out or a closed connection; the key stays in OPENAI_API_KEY.
"""

import asyncio
import dataclasses
import difflib
import json
import os
import re
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from legalqa.errors import UserError, first_line
from legalqa.files import text_sha256
from legalqa.model.answers import Answers, Line, file_of, without_answer
from legalqa.model.generate import Answer
from legalqa.model.settings import Decoding

KEY_VARIABLE = "OPENAI_API_KEY"
TEMPLATE = "the server's own"
LOOK_SEC = 10  # the list of models is there at once, or nothing is
UNREADABLE_TRIES = 3  # of a reply that is no chat completion
PENALIZED_TOKENS = (
    2**15
)  # the whole text, as elsewhere; llama.cpp keeps a list of that length, and takes no -1
GIVE_UP_AFTER = 5  # rows in a row without an answer: the server is down, not the row

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Endpoint:
    """A model of a server, and how it is asked."""

    url: str  # without user, password and query: it goes into the logs
    model: str
    timeout_sec: float  # of one answer
    retries: int  # by the library, with back-off
    served: tuple[str, ...] = ()  # the models that the server lists; none if it has no list


@dataclass(frozen=True)
class Reply:
    """What the server made of one chat. None where it does not say."""

    text: str  # the refusal where there is one; empty if there is nothing
    reasoning: str  # of a thinking model
    cut_off: bool  # the token limit ended it
    refused: bool
    prompt_tokens: int | None
    new_tokens: int | None  # those of the reasoning count
    reasoning_tokens: int | None
    answered_by: str | None  # the server's name of the model


class Unreadable(ValueError):
    """What the server sent is no chat completion; the text says why."""


# ------------------------------------------------------------------------------------------ before the first


def find_endpoint(url: str, model: str | None, config: Mapping[str, Any]) -> Endpoint:
    """The endpoint at `url`, after a look at the models it lists; `model` may be left out where it is one."""
    endpoint = Endpoint(checked_url(url), model or "", config["server_timeout_sec"], config["server_retries"])
    served = list_models(endpoint)
    if not model and len(served) != 1:
        known = f"it serves: {shortened(served)}" if served else "it lists none"
        raise UserError(f"{endpoint.url}: name a model with --model; {known}")
    if model and served and model not in served:
        near = difflib.get_close_matches(model, served, 1, 0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        print(f"warning: {endpoint.url} lists {shortened(served)}, not '{model}'{hint}", file=sys.stderr)
    return dataclasses.replace(endpoint, model=model or served[0], served=tuple(served))


def checked_url(url: str) -> str:
    """`url` without a slash at its end; UserError for one that is no address, or that carries a secret."""
    try:
        parts = urllib.parse.urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1)
    except ValueError:
        is_address = False
    if not is_address:
        raise UserError(f"--server {url[:80]}: an address is expected, such as http://127.0.0.1:8080/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UserError(
            f"--server: user, password, '?' and '#' are not taken, the address goes into the logs; the key "
            f"comes from {KEY_VARIABLE}"
        )
    return url.rstrip("/")


def list_models(endpoint: Endpoint) -> list[str]:
    """The models that the server lists; none where it has no such list."""
    import openai

    look = dataclasses.replace(endpoint, timeout_sec=min(endpoint.timeout_sec, LOOK_SEC), retries=0)
    try:
        with openai.OpenAI(**client_options(look)) as client:
            return [printable(model.id) for model in client.models.list().data]
    except (openai.AuthenticationError, openai.PermissionDeniedError, openai.APIConnectionError) as error:
        raise UserError(explain(error, look)) from None
    except openai.APIStatusError:
        return []
    except (ValueError, TypeError, AttributeError):  # the library's, for a page that is no JSON, or another
        raise UserError(f"{look.url}: no OpenAI-compatible API there; most end in /v1") from None


def client_options(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "base_url": endpoint.url,
        "api_key": os.environ.get(KEY_VARIABLE) or "none",  # a server of one's own wants no key
        "timeout": endpoint.timeout_sec,
        "max_retries": endpoint.retries,
    }


def printable(text: str) -> str:
    """What a server says, without characters that move the cursor."""
    return "".join(letter for letter in text if letter.isprintable())


def shortened(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


# ------------------------------------------------------------------------------------------------ one answer


def request_of(endpoint: Endpoint, messages: Messages, decoding: Decoding, seed: int) -> dict[str, Any]:
    """Arguments of the library's `chat.completions.create`."""
    request: dict[str, Any] = {
        "model": endpoint.model,
        "messages": messages,
        "max_tokens": decoding.max_new_tokens,
        "temperature": decoding.temperature,
    }
    if decoding.temperature > 0:
        request |= {"top_p": decoding.top_p, "seed": seed}
    if decoding.repetition_penalty != 1.0:  # no part of OpenAI's API: vLLM's name, then llama.cpp's
        request["extra_body"] = {
            "repetition_penalty": decoding.repetition_penalty,
            "repeat_penalty": decoding.repetition_penalty,
            "repeat_last_n": PENALIZED_TOKENS,  # its default is the last 64
        }
    return request


async def ask(client: Any, request: dict[str, Any]) -> Reply:
    """The server's reply; an error of the library, or Unreadable, where there is none."""
    import openai

    try:
        return await read_reply(client, request)
    except openai.BadRequestError as error:
        if error.code == "content_filter":  # Azure's way to refuse a question
            return Reply("", "", False, True, None, None, None, None)
        if error.param != "max_tokens":
            raise
        limit = request.pop("max_tokens")  # its name in newer APIs:
        return await read_reply(client, {**request, "max_completion_tokens": limit})


async def read_reply(client: Any, request: dict[str, Any]) -> Reply:
    """The reply; asked for again where it cannot be read, which the library does not do by itself."""
    problem = ""
    for _ in range(UNREADABLE_TRIES):
        try:
            return reply_of(await client.chat.completions.create(**request))
        except ValueError as error:  # Unreadable, and the library's own where the text is no JSON
            problem = first_line(error)
    raise Unreadable(problem)


def reply_of(completion: Any) -> Reply:
    """A chat completion, checked: the library takes whatever JSON comes."""
    choices = getattr(completion, "choices", None)
    choice: Any = choices[0] if isinstance(choices, list) and choices else None
    message: Any = getattr(choice, "message", None)
    if not hasattr(message, "model_extra"):
        raise Unreadable("a choice without a message" if choice else "a reply without choices")
    content, refusal = message.content or "", message.refusal or ""
    if not (isinstance(content, str) and isinstance(refusal, str)):
        raise Unreadable("a message whose content is no text")
    reasoning, text = split_reasoning(content)
    extra = message.model_extra or {}
    apart = extra.get("reasoning_content") or extra.get("reasoning") or ""
    usage = completion.usage
    details = getattr(usage, "completion_tokens_details", None)
    return Reply(
        text=text or refusal.strip(),
        reasoning="\n".join(filter(None, (apart.strip() if isinstance(apart, str) else "", reasoning))),
        cut_off=choice.finish_reason == "length",
        refused=bool(refusal) or choice.finish_reason == "content_filter",
        prompt_tokens=count_of(usage, "prompt_tokens"),
        new_tokens=count_of(usage, "completion_tokens"),
        reasoning_tokens=count_of(details, "reasoning_tokens"),
        answered_by=completion.model if isinstance(completion.model, str) else None,
    )


def split_reasoning(content: str) -> tuple[str, str]:
    """(reasoning, answer) of a text that begins with a think block. The template may have opened the block,
    and the token limit may have kept it open."""
    if not content.lstrip().startswith("<think>") and "</think>" not in content:
        return "", content.strip()
    reasoning, _, text = content.partition("</think>")
    return reasoning.strip().removeprefix("<think>").strip(), text.strip()


def count_of(usage: Any, name: str) -> int | None:
    count = getattr(usage, name, None)
    return count if type(count) is int and count >= 0 else None


class StreamedText:
    """A streamed answer: `add` gives the new pieces to `on_text`, without a think block at its beginning."""

    def __init__(self, on_text: Callable[[str], object]):
        self.on_text, self.content, self.shown = on_text, "", ""

    def add(self, piece: str) -> None:
        self.content += piece
        begun = self.content.lstrip()
        undecided = "</think>" not in begun and any(
            tag.startswith(begun[: len(tag)]) for tag in ("<think>", "</think>")
        )
        if not undecided:
            self.show(split_reasoning(self.content)[1])

    def show(self, text: str) -> None:
        """A text that is not what was shown and more is of a template that had opened the block."""
        if text.startswith(self.shown) and len(text) > len(self.shown):
            self.on_text(text[len(self.shown) :])
            self.shown = text


def ask_stream(
    endpoint: Endpoint,
    messages: Messages,
    decoding: Decoding,
    seed: int,
    on_text: Callable[[str], object],
    stop: Callable[[], bool],
) -> Answer:
    """The answer to one chat, handed to `on_text` as it comes; `stop` is asked at each piece."""
    import openai

    started, first_token_sec, num_pieces = time.monotonic(), None, 0
    text, usage, reason, stopped = StreamedText(on_text), None, None, False
    request = request_of(endpoint, messages, decoding, seed)
    try:
        with (
            openai.OpenAI(**client_options(endpoint)) as client,
            client.chat.completions.create(
                **request, stream=True, stream_options={"include_usage": True}
            ) as chunks,
        ):
            for chunk in chunks:
                usage = chunk.usage or usage
                for choice in (chunk.choices or [])[:1]:
                    reason = choice.finish_reason or reason
                    piece = choice.delta.content or choice.delta.refusal or ""
                    num_pieces += 1
                    first_token_sec = first_token_sec or time.monotonic() - started
                    text.add(piece)
                if stop():
                    stopped = True
                    break
        if not num_pieces and not stopped:
            raise Unreadable("no piece of an answer")
    except (openai.OpenAIError, ValueError, AttributeError) as error:  # the last two: of what is no stream
        raise UserError(explain(error, endpoint)) from None
    _, answer = split_reasoning(text.content)
    text.show(answer)
    return Answer(
        text=answer,
        new_tokens=count_of(usage, "completion_tokens") or num_pieces,
        cut_off=reason == "length" and not stopped,
        stopped=stopped,
        prompt_tokens=count_of(usage, "prompt_tokens"),
        first_token_sec=round(first_token_sec or 0.0, 4),
        generation_sec=round(time.monotonic() - started, 4),
    )


# ----------------------------------------------------------------------------------------------- many answers


class Clock:
    """Deals the time that passes out among the requests in flight, so that their shares add up to it."""

    def __init__(self):
        self.shares: dict[str, float] = {}
        self.last = time.monotonic()

    def tick(self) -> None:
        now = time.monotonic()
        for key in self.shares:
            self.shares[key] += (now - self.last) / len(self.shares)
        self.last = now

    def start(self, key: str) -> None:
        self.tick()
        self.shares[key] = 0.0

    def stop(self, key: str) -> float:
        """Seconds: its share."""
        self.tick()
        return self.shares.pop(key)


class Questioner:
    """Asks the questions `todo`, some at a time, and keeps each answer as it lands."""

    def __init__(self, endpoint: Endpoint, decoding: Decoding, seed: int, answers: Answers, todo: list[str]):
        self.endpoint, self.decoding, self.seed, self.answers = endpoint, decoding, seed, answers
        self.todo: Iterator[str] = iter(todo)
        self.clock = Clock()
        self.problems: list[str] = []
        self.num_failed_in_a_row = 0

    async def run(self, concurrency: int, bar: Any) -> None:
        import openai

        async with openai.AsyncOpenAI(**client_options(self.endpoint)) as client:
            await asyncio.gather(*(self.work(client, bar) for _ in range(concurrency)))

    async def work(self, client: Any, bar: Any) -> None:
        """Ask the next question until there is none, beside others that do the same."""
        import openai

        for chat in self.todo:
            try:
                line = await self.line_of(client, chat)
            except (openai.OpenAIError, Unreadable) as error:
                self.fail(error)
                continue
            self.answers.append([line])
            self.num_failed_in_a_row = 0
            bar.update()

    async def line_of(self, client: Any, chat: str) -> Line:
        started = time.monotonic()
        self.clock.start(chat)
        try:
            request = request_of(self.endpoint, from_key(chat), self.decoding, self.seed)
            reply = await ask(client, request)
        finally:
            share = self.clock.stop(chat)
        return Line(
            prompt_sha256=text_sha256(chat),
            prediction=reply.text,
            new_tokens=reply.new_tokens,
            cut_off=reply.cut_off,
            generation_sec=round(share, 4),
            latency_sec=round(time.monotonic() - started, 4),
            prompt_tokens=reply.prompt_tokens,
            reasoning=reply.reasoning,
            reasoning_tokens=reply.reasoning_tokens,
            refused=reply.refused,
            answered_by=reply.answered_by,
        )

    def fail(self, error: Exception) -> None:
        """Note it and go on with the other rows; UserError where they would fail as well."""
        self.problems.append(explain(error, self.endpoint))
        self.num_failed_in_a_row += 1
        if is_final(error) or self.num_failed_in_a_row == GIVE_UP_AFTER:
            raise UserError(self.problems[-1] + self.kept())

    def kept(self) -> str:
        made = len(self.answers.made)
        return f"; {made} answers are kept: the same command asks for the others" if made else ""


def answer_all(
    endpoint: Endpoint, chats: list[str], decoding: Decoding, seed: int, concurrency: int, answers: Answers
) -> None:
    """Ask for every chat (`chat_messages` as JSON) that has no answer yet, appending each to `answers`.

    A row without an answer does not keep the others from theirs; UserError at the end names it.
    """
    from tqdm import tqdm

    todo = without_answer(chats, answers)
    questioner = Questioner(endpoint, decoding, seed, answers, todo)
    interval_sec = 0.5 if sys.stderr.isatty() else 15
    with tqdm(total=len(todo), unit="answer", dynamic_ncols=True, mininterval=interval_sec) as bar:
        asyncio.run(questioner.run(concurrency, bar))
    if questioner.problems:
        raise UserError(
            f"{len(questioner.problems)} of {len(todo)} rows have no answer; the first: "
            f"{questioner.problems[0]}{questioner.kept()}"
        )


def as_key(messages: Messages) -> str:
    """A chat as the text that stands for it among the answers."""
    return json.dumps(messages, ensure_ascii=False)


def from_key(key: str) -> Messages:
    return json.loads(key)


def facts_of(line: Line) -> dict[str, Any]:
    """What a sample says more of a server's answer."""
    return {
        "latency_sec": line.latency_sec,
        "prompt_tokens": line.prompt_tokens,
        "reasoning": line.reasoning,
        "reasoning_tokens": line.reasoning_tokens,
        "refused": line.refused,
    }


def answers_file(logs_dir: str | Path, endpoint: Endpoint, decoding: Decoding, seed: int) -> Path:
    """Where the answers of this model, made in this way, are kept until all are there."""
    identity = {
        "server": endpoint.url,
        "model": endpoint.model,
        # A server of one model often takes any name: the one that it lists tells what it is.
        "served": endpoint.served if len(endpoint.served) == 1 else None,
        "decoding": dataclasses.asdict(decoding),
        "seed": seed if decoding.temperature else None,
    }
    return file_of(logs_dir, identity)


# --------------------------------------------------------------------------------------------------- failures


def is_final(error: Exception) -> bool:
    """Whether every other row would meet the same."""
    import openai

    return isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError | openai.NotFoundError)


def explain(error: Exception, endpoint: Endpoint) -> str:
    """What went wrong and what to do, in a line without the key."""
    import openai

    said = words_of(error)
    match error:
        case openai.APITimeoutError():
            what = f"no answer within {endpoint.timeout_sec:g} s; raise --server-timeout-sec, or lower "
            what += "--concurrency"
        case openai.APIConnectionError():
            what = f"cannot be reached, or hung up ({said}); see whether the server runs and the address is "
            what += "right (many end in /v1)"
        case openai.AuthenticationError() if os.environ.get(KEY_VARIABLE):
            what = f"the key in {KEY_VARIABLE} is refused"  # what the server says may quote the key
        case openai.AuthenticationError():
            what = f"a key is wanted: export {KEY_VARIABLE}=..."
        case openai.PermissionDeniedError():
            what = f"the key in {KEY_VARIABLE} may not use '{endpoint.model}' ({said})"
        case openai.NotFoundError():
            served = f"; it serves: {shortened(list(endpoint.served))}" if endpoint.served else ""
            what = f"no model '{endpoint.model}', or no chat, at this address ({said}){served}"
        case openai.RateLimitError():
            what = f"too many requests, or nothing left on the account ({said}); lower --concurrency or wait"
        case openai.BadRequestError() if "context" in said:
            what = f"a prompt and its answer are longer than the model's context ({said}); lower "
            what += "--max-new-tokens, or start the server with a longer one"
        case openai.APIStatusError():
            what = f"error {error.status_code} ({said})"
        case _:
            what = f"the reply is no chat completion ({said})"
    return f"{endpoint.url}: {what}"


def words_of(error: Exception) -> str:
    """The error's own words, cut to a line; the key taken out, should the server have quoted it."""
    cause = error.__cause__ if str(error) == "Connection error." else None
    text = printable(re.sub(r"^Error code: \d+ - ", "", first_line(cause or error)))
    key = os.environ.get(KEY_VARIABLE)
    return text.replace(key, "***") if key else text
