"""A tiny Qwen3 with Qwen3's own chat template, made in seconds: what the tests, bench/chaos.py and
bench/gpu_check.py train."""

import json
import random
from pathlib import Path

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
ADDED = ("<think>", "</think>", "<tool_call>", "</tool_call>")
ACTS = ("Трудового кодекса", "Гражданского кодекса", "Земельного кодекса", "Налогового кодекса")
TOPICS = (
    "отпуск",
    "договор",
    "участок",
    "налог",
    "срок",
    "штраф",
    "заявление",
    "шарт",
    "еңбек",
    "құқық",
    "жер",
    "мерзім",
)


def make_rows(count, seed=0):
    """`count` different records, Russian and Kazakh, of varied length."""
    rng, rows = random.Random(seed), []
    for number in range(count):
        topic, act, article = rng.choice(TOPICS), rng.choice(ACTS), rng.randint(1, 200)
        words = " ".join(rng.choice(TOPICS) for _ in range(rng.randint(1, 20)))
        kazakh = number % 4 == 0
        rows.append(
            {
                "instruction": f"Сұрақ {number}: {topic} қандай?"
                if kazakh
                else f"Вопрос {number}: каков {topic}?",
                "input": "" if number % 3 else f"Дело {number}",
                "output": f"Еңбек кодексінің {article}-бабы: {words}."
                if kazakh
                else f"Статья {article} {act}: {words}.",
            }
        )
    return rows


def write_rows(path, rows):
    Path(path).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def make_model(folder, seed=0):
    """Save a random two-layer Qwen3 (hidden size 64, the least bitsandbytes takes on a CPU) and its tokenizer
    in `folder`."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
    from trl.chat_template_utils import qwen3_chat_template

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    texts = [" ".join(row.values()) for row in make_rows(200, seed)]
    backend.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=600,
            special_tokens=list(SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    backend.add_tokens([AddedToken(token, special=False, normalized=False) for token in ADDED])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=qwen3_chat_template,
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=2048,
            tie_word_embeddings=False,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
        )
    )
    model.save_pretrained(folder)
    return folder
