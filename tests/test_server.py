"""benchmark.py --server against a server that fails in every way: nothing lost, nothing scored twice."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
import tiny
from chat_server import ChatServer, completion, echo, error, question_of
from conftest import REPOSITORY
from hypothesis import example, given, settings
from hypothesis import strategies as st

import benchmark
import chat
import config
from legalqa.chat.dialogue import Question, Turn
from legalqa.chat.remarks import status_rows
from legalqa.chat.served import ServedDialogue
from legalqa.data import records
from legalqa.errors import UserError
from legalqa.model import prompt, server
from legalqa.model.answers import Answers
from legalqa.model.generate import Answer
from legalqa.model.settings import Decoding

KEY = "sk-secret-0123456789"
GREEDY = Decoding(temperature=0.0, top_p=1.0, repetition_penalty=1.0, max_new_tokens=64)


@pytest.fixture(autouse=True)
def quick_and_keyed(monkeypatch, tmp_path):
    """Back-off in milliseconds, no certificates (every client reads them, none is asked for one), and a key
    that must be nowhere."""
    from openai import _base_client

    monkeypatch.setattr(_base_client, "INITIAL_RETRY_DELAY", 0.001)
    monkeypatch.setattr(_base_client, "MAX_RETRY_DELAY", 0.01)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def rows():
    return tiny.make_rows(24)


@pytest.fixture
def flags(rows, tmp_path):
    tiny.write_rows(tmp_path / "rows.jsonl", rows)
    names = ("validation-file", "train-file", "num-samples", "logs-dir")
    values = (tmp_path / "rows.jsonl", tmp_path / "none.jsonl", "all", tmp_path / "logs")
    return [str(part) for name, value in zip(names, values) for part in (f"--{name}", value)]


def bench(url, flags, *more):
    return benchmark.main(["--server", url, *flags, *map(str, more)])


def result_of(tmp_path):
    (path,) = (tmp_path / "logs").glob("benchmark_*.json")
    return json.loads(path.read_text("utf-8"))


def questions(rows):
    return {records.user_turn(row) for row in rows}


def assert_each_has_its_own_answer(result, rows):
    assert len(result["samples"]) == len(rows) == len({sample["id"] for sample in result["samples"]})
    for sample in result["samples"]:
        assert sample["prediction"] == f"Ответ: {records.user_turn(sample)}"


@pytest.mark.slow
def test_a_served_model_is_scored_like_any_other(rows, flags, tmp_path, capsys):
    with ChatServer(echo) as fake:
        assert bench(fake.url, flags, "--system-prompt", "Ты юрист.", "--concurrency", 3) == 0
    result = result_of(tmp_path)
    assert_each_has_its_own_answer(result, rows)
    meta, generation = result["meta"], result["summary"]["generation"]
    assert (meta["model"], meta["kind"], meta["engine"]) == ("fake-8b", "server", "server")
    assert meta["server"] == {
        "url": fake.url,
        "template": "the server's own",
        "concurrency": 3,
        "answered_by": ["fake-8b"],
    }
    assert generation["new_tokens"] == 3 * len(rows)
    assert generation["served"]["prompt_tokens"] == 7 * len(rows)
    assert generation["served"]["mean_latency_sec"] > generation["mean_sec_per_sample"] > 0
    body = fake.asked[0]
    assert body["messages"][0] == {"role": "system", "content": "Ты юрист."}
    assert (body["max_tokens"], body["temperature"]) == (512, 0) and "top_p" not in body  # the CPU's profile
    assert {question_of(body) for body in fake.asked} == questions(rows)
    out = capsys.readouterr()
    assert "the template around them is the server's own" in out.err and "prompt tokens" in out.out
    assert not list((tmp_path / "logs").glob("answers_*"))
    assert fake.keys == {f"Bearer {KEY}"}
    everything = out.out + out.err + "".join(p.read_text("utf-8") for p in (tmp_path / "logs").iterdir())
    assert KEY not in everything


def test_seconds_are_shares_of_the_time(monkeypatch):
    now = iter((0.0, 0.0, 2.0, 6.0, 7.0))
    monkeypatch.setattr(server.time, "monotonic", lambda: next(now))
    clock = server.Clock()
    clock.start("a")  # alone for 2 s, beside b for 4, then b alone for 1
    clock.start("b")
    assert clock.stop("a") == 2 + 4 / 2 and clock.stop("b") == 4 / 2 + 1


@pytest.mark.slow
def test_whatever_fails_is_asked_again(rows, flags, tmp_path):
    """Half of the replies are failures of all kinds; every row ends with its own answer, once."""
    rng, ways = random.Random(7), Counter()
    failures = {
        "500": error(500, "worker died"),
        "429": error(429, "slow down"),
        "close": "close",
        "hang": "hang",
        "broken JSON": b'{"choices": [{"mess',
        "nothing": b"",
        "no choices": {"choices": []},
        "null choices": {"choices": None},
        "no message": {"choices": [{"finish_reason": "stop"}]},
        "not an object": [1, 2],
        "text as message": {"choices": [{"message": "Ответ"}]},
    }
    first_time = set()

    def behave(number, body):
        question = question_of(body)
        if question in first_time or rng.random() < 0.2:
            return echo(number, body)
        first_time.add(question)
        way = rng.choice(sorted(failures))
        ways[way] += 1
        return failures[way]

    with ChatServer(behave) as fake:
        assert bench(fake.url, flags, "--server-timeout-sec", 2, "--server-retries", 3) == 0
    assert_each_has_its_own_answer(result_of(tmp_path), rows)
    assert len(ways) >= 6, ways
    asked = Counter(question_of(body) for body in fake.asked)
    assert asked.keys() == questions(rows) and max(asked.values()) == 2  # none again that was answered


def test_what_is_answered_is_kept_when_a_row_is_not(rows, flags, tmp_path):
    """A row that the server cannot take ends the command with one line; the next start asks for it alone."""
    longest = max(questions(rows), key=len)
    too_long = error(400, "the request exceeds the available context size", type="exceed_context_size_error")

    def behave(number, body):
        return too_long if question_of(body) == longest else echo(number, body)

    with ChatServer(behave) as fake, pytest.raises(UserError) as caught:
        bench(fake.url, flags, "--model", "fake-8b")
    assert str(caught.value).startswith(
        f"1 of 24 rows have no answer; the first: {fake.url}: a prompt and its"
    )
    assert "longer than the model's context" in str(caught.value)
    assert str(caught.value).endswith("23 answers are kept: the same command asks for the others")
    assert not list((tmp_path / "logs").glob("benchmark_*"))
    port = fake.url
    with ChatServer(echo) as fake:
        file = next((tmp_path / "logs").glob("answers_*"))
        wanted = server.answers_file(tmp_path / "logs", endpoint(fake.url), with_limit(512), 0)
        file.rename(wanted)  # the second server has another port
        assert port != fake.url and bench(fake.url, flags, "--model", "fake-8b") == 0
    assert [question_of(body) for body in fake.asked] == [longest]
    assert_each_has_its_own_answer(result_of(tmp_path), rows)


def endpoint(url):
    return server.Endpoint(url, "fake-8b", 5, 0, ("fake-8b",))


def with_limit(max_new_tokens):
    return Decoding(0.0, 1.0, 1.0, max_new_tokens)


def start(url, flags, **options):
    command = [sys.executable, str(REPOSITORY / "benchmark.py"), "--server", url, *flags]
    return subprocess.Popen(command, cwd=REPOSITORY, text=True, **options)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_goes_on_where_it_was_ended(rows, flags, tmp_path, how):
    """Ended in the middle by kill -9 or Ctrl-C: the second start asks only what has no answer."""
    answered = []

    def behave(number, body):
        if number > 10:
            return "hang"
        answered.append(question_of(body))
        return echo(number, body)

    with ChatServer(behave) as fake:
        process = start(fake.url, flags, stderr=subprocess.PIPE)
        file = wait_for(lambda: next((tmp_path / "logs").glob("answers_*"), None))
        wait_for(lambda: file.read_bytes().count(b"\n") == 10)
        process.send_signal(how)
        _, stderr = process.communicate(timeout=20)
        assert process.returncode == (130 if how == signal.SIGINT else -9), stderr
        assert "Traceback" not in stderr
        first, fake.behave = len(fake.asked), echo
        assert bench(fake.url, flags) == 0
    assert_each_has_its_own_answer(result_of(tmp_path), rows)
    again = {question_of(body) for body in fake.asked[first:]}
    assert again == questions(rows) - set(answered) and len(fake.asked) - first == 14


def wait_for(condition, seconds=20):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("waited in vain")


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (error(401, f"Incorrect API key provided: {KEY}"), "the key in OPENAI_API_KEY is refused"),
        (
            error(403, f"project of {KEY} has no access"),
            "may not use 'fake-8b' (project of *** has no access)",
        ),
        (error(404, "The model `fake-8b` does not exist"), "no model 'fake-8b', or no chat, at this address"),
        (error(500, "out\x1b[2J of order"), "error 500 (out[2J of order)"),
        (error(429, "You exceeded your current quota"), "nothing left on the account (You exceeded"),
        (error(400, "max_tokens is too large", param="other"), "error 400 (max_tokens is too large)"),
        ((418, b"<html>no JSON</html>"), "error 418"),
        ("close", "cannot be reached, or hung up"),
        ("hang", "no answer within 0.1 s; raise --server-timeout-sec"),
        (b"{", "the reply is no chat completion"),
        ({"choices": []}, "the reply is no chat completion (a reply without choices)"),
        (completion(["parts"]), "a message whose content is no text"),
    ],
)
def test_every_failure_is_one_line(flags, tmp_path, reply, message):
    seconds = 0.1 if reply == "hang" else 20  # a busy machine is slow to answer
    with ChatServer(lambda *_: reply) as fake, pytest.raises(UserError) as caught:
        bench(fake.url, flags, "--server-timeout-sec", seconds, "--server-retries", 1, "--concurrency", 1)
    assert message in str(caught.value) and "\n" not in str(caught.value) and KEY not in str(caught.value)
    assert fake.url in str(caught.value)
    assert len(fake.asked) <= 5 * 3  # it gives up after five rows
    assert not list((tmp_path / "logs").glob("*.json"))


def test_without_a_key(flags, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with ChatServer(lambda *_: error(401, "no key")) as fake:
        with pytest.raises(UserError, match="a key is wanted: export OPENAI_API_KEY"):
            bench(fake.url, flags)
        fake.behave = echo
        assert bench(fake.url, flags) == 0


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("127.0.0.1:8080", "an address is expected"),
        ("ftp://127.0.0.1", "an address is expected"),
        ("http://127.0.0.1:port/v1", "an address is expected"),
        ("http://user:password@127.0.0.1/v1", "the address goes into the logs"),
        ("http://127.0.0.1/v1?api-key=1", "the address goes into the logs"),
        ("http://127.0.0.1:9/v1", "cannot be reached, or hung up"),
    ],
)
def test_wrong_addresses(flags, url, message):
    with pytest.raises(UserError, match=message) as caught:
        bench(url, flags, "--model", "x")
    assert "password" not in str(caught.value).replace("user, password, '?'", "")


def test_the_only_model_need_not_be_named(rows, flags, tmp_path, capsys):
    with ChatServer(echo, models=("small", "large")) as fake:
        with pytest.raises(UserError, match="name a model with --model; it serves: small, large"):
            bench(fake.url, flags)
        assert bench(fake.url, flags, "--model", "lagre") == 0
    assert "lists small, large, not 'lagre'; did you mean large?" in capsys.readouterr().err
    no_list = ChatServer(echo, models=None)
    with no_list as fake, pytest.raises(UserError, match="it lists none"):
        bench(fake.url, flags)


def test_no_api_there(flags):
    with ChatServer(echo) as fake:
        fake.send = lambda handler, _: ChatServer.send(fake, handler, b"<html></html>")
        with pytest.raises(UserError, match="no OpenAI-compatible API there; most end in /v1"):
            bench(fake.url, flags)


def test_reasoning_refusals_and_empty_answers_are_scored(rows, flags, tmp_path, capsys):
    replies = [
        completion("<think>Статья 1?</think>\n\nОтвет"),
        completion("Статья 2?\n</think>Ответ"),  # the template had opened the block
        completion("<think>Статья 3, или", "length"),
        completion("Ответ", message={"reasoning_content": "Статья 4?"}),
        completion("Ответ", message={"reasoning": "Статья 5?"}),
        completion(None, message={"refusal": "Не могу ответить."}),
        completion(None, "content_filter"),
        error(400, "filtered", code="content_filter"),
        completion(""),
        {**completion("Ответ"), "usage": None},
    ]
    with ChatServer(lambda number, _: replies[number - 1]) as fake:
        assert bench(fake.url, flags, "--num-samples", 10, "--concurrency", 1) == 0
    samples = result_of(tmp_path)["samples"]
    assert [sample["prediction"] for sample in samples] == [
        *("Ответ", "Ответ", "", "Ответ", "Ответ", "Не могу ответить.", "", "", "", "Ответ")
    ]
    assert [sample["reasoning"] for sample in samples] == [
        *("Статья 1?", "Статья 2?", "Статья 3, или", "Статья 4?", "Статья 5?", "", "", "", "", "")
    ]
    assert [sample["refused"] for sample in samples] == [*[False] * 5, True, True, True, False, False]
    assert [sample["cut_off"] for sample in samples] == [index == 2 for index in range(10)]
    assert all(sample["scores"]["overall"] is not None for sample in samples)
    summary = result_of(tmp_path)["summary"]
    assert summary["metrics"]["empty_rate"]["mean"] == 0.4 and summary["generation"] is None
    assert summary["metrics"]["think_leak_rate"]["mean"] == 0
    assert "1 answers ended within their reasoning; raise --max-new-tokens" in capsys.readouterr().err


def test_reasoning_tokens_are_counted(rows, flags, tmp_path, capsys):
    thought = completion(
        "Ответ", message={"reasoning": "Так."}, completion_tokens_details={"reasoning_tokens": 2}
    )
    with ChatServer(lambda *_: thought) as fake:
        assert bench(fake.url, flags) == 0
    served = result_of(tmp_path)["summary"]["generation"]["served"]
    assert (served["reasoning_rate"], served["reasoning_tokens"]) == (1, 48)
    assert "with reasoning 100.0 % (48 tokens), refused 0.0 %" in capsys.readouterr().out


@settings(deadline=None)
@given(st.booleans(), st.text("аб \n<"), st.text("аб \n<"))
def test_split_reasoning(opened, thought, answer):
    content = f"{'<think>' if opened else ''}{thought}</think>{answer}"
    assert server.split_reasoning(content) == (thought.strip(), answer.strip())
    assert server.split_reasoning(answer) == ("", answer.strip())


def test_settings_travel(flags):
    """Sampling, the repetition penalty under both servers' names, the newer name of the token limit."""

    def behave(number, body):
        if "max_tokens" in body:
            return error(400, "Unsupported parameter", param="max_tokens", code="unsupported_parameter")
        return echo(number, body)

    changed = ("--temperature", 0.7, "--top-p", 0.9, "--seed", 5, "--repetition-penalty", 1.1)
    with ChatServer(behave) as fake:
        assert bench(fake.url, flags, *changed, "--num-samples", 1) == 0
    body = fake.asked[-1]
    assert body["max_completion_tokens"] == 512 and "max_tokens" not in body
    assert (body["temperature"], body["top_p"], body["seed"]) == (0.7, 0.9, 5)
    assert (body["repetition_penalty"], body["repeat_penalty"], body["repeat_last_n"]) == (1.1, 1.1, 2**15)


def test_answers_are_of_one_model_and_one_way(tmp_path):
    """Another model, another limit, another server: another file."""
    ways = [
        (endpoint("http://a/v1"), GREEDY),
        (endpoint("http://b/v1"), GREEDY),
        (endpoint("http://a/v1"), with_limit(8)),
        (server.Endpoint("http://a/v1", "other", 5, 0), GREEDY),
        (server.Endpoint("http://a/v1", "fake-8b", 5, 0, ("another.gguf",)), GREEDY),
    ]
    assert len({server.answers_file(tmp_path, *way, 0) for way in ways}) == len(ways)
    patient = server.Endpoint("http://a/v1", "fake-8b", 500, 9, ("fake-8b",))
    assert server.answers_file(tmp_path, patient, GREEDY, 1) == server.answers_file(tmp_path, *ways[0], 0)


def test_equal_questions_are_asked_once(tmp_path):
    chat = server.as_key(prompt.chat_messages({"instruction": "Что?", "input": ""}))
    answers = Answers(tmp_path / "answers.jsonl")
    with ChatServer(echo) as fake:
        server.answer_all(endpoint(fake.url), [chat, chat], GREEDY, 0, 2, answers)
    assert len(fake.asked) == 1 and len(answers.made) == 1


def test_server_and_predictions_exclude_each_other(flags):
    with pytest.raises(UserError, match="give one of them"):
        bench("http://127.0.0.1:9", flags, "--predictions", "x.jsonl")


# ------------------------------------------------------------------------------------------- chat.py --server


@pytest.mark.slow
def test_chat_with_a_served_model(run_script):
    """The answer alone on stdout, its citations checked as any other's; a think block is not shown."""
    text = "<think>Какая статья?</think>\n\nСогласно ст. 92 Трудового кодекса РК отпуск длится 24 дня."
    with ChatServer(lambda *_: completion(text)) as fake:
        done = run_script("chat.py", "--server", fake.url, "--question", "Сколько длится отпуск?")
        assert done.returncode == 0, done.stderr
        assert done.stdout == "Согласно ст. 92 Трудового кодекса РК отпуск длится 24 дня.\n"
        assert "+ ст. 92" in done.stderr and "не юридическая консультация" in done.stderr
        assert f"Отвечает модель на сервере {fake.url}" in done.stderr and KEY not in done.stderr
        asked = ("--system-prompt", "Ты юрист.", "--max-new-tokens", 9, "--json")
        done = run_script("chat.py", "--server", fake.url, *asked, stdin="Первый?\nЕкінші сұрақ?\n")
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["model"], first["question"], second["language"]) == ("fake-8b", "Первый?", "kk")
    assert (first["prompt_tokens"], first["new_tokens"], first["cut_off"]) == (7, 3, False)
    assert first["citations"][0]["article"] == "92"
    body = fake.asked[-1]
    assert body["messages"] == [
        {"role": "system", "content": "Ты юрист."},
        {"role": "user", "content": "Екінші сұрақ?"},
    ]
    assert body["stream"] and body["max_tokens"] == 9


def test_what_a_served_dialogue_has_not():
    """No law, no base to compare with, no 4 bits of its own; the rest of /status is there."""
    dialogue = ServedDialogue(endpoint("http://a/v1"), config.CONFIG, {})
    dialogue.load()
    with pytest.raises(UserError, match="Модели на сервере текст закона не передаётся"):
        dialogue.switch_law(True)
    rows = status_rows(dialogue)
    assert rows["device"] == "http://a/v1" and rows["base"] is None and "load_in_4bit" not in rows["settings"]
    history = [Turn(Question("Раз?"), Answer("Да.", 2, False), [])]
    assert len(server.from_key(dialogue.prepare(Question("Два?"), history).text)) == 1
    dialogue.history_on = True
    said = server.from_key(dialogue.prepare(Question("Два?"), history).text)
    assert [turn["content"] for turn in said] == ["Раз?", "Да.", "Два?"]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (error(500, "out of order"), "error 500 (out of order)"),
        (error(401, KEY), "the key in OPENAI_API_KEY is refused"),
        (b"{}", "the reply is no chat completion"),
        ("close", "cannot be reached, or hung up"),
    ],
)
def test_an_error_ends_a_turn_of_the_chat(run_stage, reply, message):
    with ChatServer(lambda number, body: echo(number, body) if number > 1 else reply) as fake:
        flags = ("--server-retries", 0, "--server-timeout-sec", 20)
        done = run_stage(chat, "--server", fake.url, *flags, stdin="Первый?\nВторой?\n")
    assert done.returncode == 2 and f"error: {fake.url}: " in done.stderr and message in done.stderr
    assert done.stdout == "Ответ: Второй?\n" and "Traceback" not in done.stderr


@settings(deadline=None)
@given(st.text("<think>/аб \n", max_size=40), st.lists(st.integers(1, 5), min_size=1))
@example("</think>да", [1])  # of a block that the template had opened, and nothing in it
def test_streamed_pieces_are_the_answer(text, sizes):
    """However it is cut: nothing of a think block at the beginning, and the pieces joined are the answer."""
    pieces = []
    stream, place = server.StreamedText(pieces.append), 0
    while place < len(text):
        size = sizes[place % len(sizes)]
        stream.add(text[place : place + size])
        place += size
    reasoning, answer = server.split_reasoning(text)
    stream.show(answer)
    if text.lstrip().startswith("<think>") or not reasoning:
        assert "".join(pieces) == answer


def test_a_streamed_answer_can_be_stopped():
    with ChatServer(lambda *_: completion("слово " * 200)) as fake:
        fake.pace_sec, shown = 0.005, []
        answer = server.ask_stream(
            endpoint(fake.url),
            prompt.chat_messages({"instruction": "Что?", "input": ""}),
            GREEDY,
            0,
            shown.append,
            lambda: len(shown) > 3,
        )
    assert answer.stopped and not answer.cut_off and 0 < len(answer.text) < 100
    assert "".join(shown) == answer.text and answer.first_token_sec < answer.generation_sec
