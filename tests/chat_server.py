"""A small OpenAI-compatible server for tests, which fails as it is told."""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "fake-8b"


def completion(text, reason="stop", message=None, **usage):
    counts = {"prompt_tokens": 7, "completion_tokens": 3, **usage}
    choice = {"message": {"role": "assistant", "content": text, **(message or {})}, "finish_reason": reason}
    return {"object": "chat.completion", "model": MODEL, "choices": [choice], "usage": counts}


def error(status, message, **fields):
    return status, {"error": {"message": message, **fields}}


def question_of(body):
    return body["messages"][-1]["content"]


class ChatServer:
    """`behave(number, body)` makes the reply to the number-th question: a JSON object, (status, JSON object),
    raw bytes, "hang" or "close". `asked`: the bodies of all questions, in order of arrival."""

    def __init__(self, behave, models=(MODEL,)):
        self.behave, self.models = behave, models
        self.asked, self.keys, self.lock = [], set(), threading.Lock()
        self.released = threading.Event()
        self.pace_sec = 0.0  # between the pieces of a streamed answer

    @property
    def url(self):
        return f"http://127.0.0.1:{self.httpd.server_port}/v1"

    def __enter__(self):
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                if owner.models is None:
                    owner.send(self, error(404, "not found"))
                else:
                    owner.send(self, {"object": "list", "data": [{"id": name} for name in owner.models]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with owner.lock:
                    owner.asked.append(body)
                    owner.keys.add(self.headers.get("Authorization"))
                    number = len(owner.asked)
                reply = owner.behave(number, body)
                if body.get("stream") and isinstance(reply, dict) and "choices" in reply:
                    owner.stream(self, reply)
                else:
                    owner.send(self, reply)

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        threading.Thread(target=self.httpd.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self.httpd.shutdown()
        self.httpd.server_close()

    def stream(self, handler, reply):
        """The text of a completion as server-sent events, three letters each, and the usage at the end."""
        choice = reply["choices"][0]
        text = choice["message"]["content"]
        deltas = [{"content": text[start : start + 3]} for start in range(0, len(text), 3)]
        events = [{"choices": [{"delta": delta, "finish_reason": None}]} for delta in deltas]
        events += [{"choices": [{"delta": {}, "finish_reason": choice["finish_reason"]}]}]
        events += [{"choices": [], "usage": reply["usage"]}]
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        handler.close_connection = True
        with contextlib.suppress(OSError):
            for event in events:
                handler.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                handler.wfile.flush()
                time.sleep(self.pace_sec)
            handler.wfile.write(b"data: [DONE]\n\n")

    def send(self, handler, reply):
        if reply == "hang":
            self.released.wait(30)
            reply = "close"
        if reply == "close":
            handler.close_connection = True
            handler.connection.close()
            return
        status, content = reply if isinstance(reply, tuple) else (200, reply)
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        with contextlib.suppress(OSError):  # the client has gone
            handler.send_response(status)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(data)))
            handler.send_header("retry-after-ms", "1")
            handler.end_headers()
            handler.wfile.write(data)


def echo(number, body):
    """Each question's own answer, after a moment in which others are asked."""
    time.sleep(0.005)
    return completion(f"Ответ: {question_of(body)}")
