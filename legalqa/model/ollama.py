"""Ollama's Modelfile: the trained prompt as a Go template, its end tokens and its decoding."""

import re
from typing import Any

from legalqa.model.adapter import AdapterSettings
from legalqa.model.prompt import render_prompt
from legalqa.model.settings import Decoding

SYSTEM, FIRST, ANSWER, SECOND = (f"\u00a7{word}\u00a7" for word in ("system", "first", "answer", "second"))


def go_template(tokenizer: Any) -> str:
    """The chat template as Ollama's: what stands between the turns, found by rendering prompts of marks.

    Turns come as .Messages: a system turn if any, then questions and answers by turns, a question last.
    """
    first, second = ({"instruction": mark, "input": ""} for mark in (FIRST, SECOND))
    begin_system, system_to_first, end = split(render_prompt(first, tokenizer, SYSTEM), SYSTEM, FIRST)
    begin, to_answer, to_second, _ = split(
        render_prompt(second, tokenizer, history=[(first, ANSWER)]), FIRST, ANSWER, SECOND
    )
    return (
        "{{ range $i, $_ := .Messages }}"
        f'{{{{ if eq .Role "system" }}}}{begin_system}{{{{ .Content }}}}{system_to_first}'
        f'{{{{ else if eq .Role "user" }}}}{{{{ if eq $i 0 }}}}{begin}{{{{ end }}}}{{{{ .Content }}}}'
        f"{{{{ else }}}}{to_answer}{{{{ .Content }}}}{to_second}{{{{ end }}}}{{{{ end }}}}{end}"
    )


def split(text: str, *marks: str) -> list[str]:
    return re.split("|".join(map(re.escape, marks)), text)


def modelfile(
    gguf_name: str, tokenizer: Any, end_tokens: list[str], settings: AdapterSettings, decoding: Decoding
) -> str:
    """The file for `ollama create NAME -f Modelfile`."""
    parameters = {
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "top_k": 1 if decoding.temperature == 0 else 0,
        "repeat_penalty": decoding.repetition_penalty,
        "repeat_last_n": -1,  # the whole text, as transformers does
        "num_predict": decoding.max_new_tokens,
        "num_ctx": (settings.max_seq_length or 2048) + decoding.max_new_tokens,
    }
    lines = [f"FROM ./{gguf_name}", f'TEMPLATE """{go_template(tokenizer)}"""']
    lines += [f'SYSTEM """{settings.system_prompt}"""'] if settings.system_prompt else []
    lines += [f"PARAMETER {name} {value}" for name, value in parameters.items()]
    lines += [f'PARAMETER stop "{token}"' for token in end_tokens]
    return "\n".join(lines) + "\n"
