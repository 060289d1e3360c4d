"""Generation throughput, greedy: rows in batches, as benchmark.py makes answers, against one at a time.

One at a time twice: as the reference run did it, 4-bit weights and the adapter beside them (every eighth row,
on a CPU it is slow), and with all that chat.py does for speed (on a CPU weights unpacked once, the adapter
merged into float32 ones, in bfloat16 heads grouped by their keys). The last two again with torch's attention
(sdpa), which legalqa/model/attention.py stands in for in bfloat16. Prints tokens/s, the share of answers
identical to the batches' and the peak memory; last, the same as JSON. UNSLOTH_CPU_BF16=0 or 1 before the
command chooses the arithmetic of a CPU: float32 or bfloat16.

  python bench/generation_throughput.py --model finetuned_demo --rows 64
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))


def timed(language_model, tokenizer, prompts, decoding, batch_size):
    """(answers in order, {"sec", "new_tokens", "tokens_per_second", ...})."""
    from legalqa.model.device import peak_memory_bytes
    from legalqa.model.generate import generate_batch

    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]), reverse=True)
    answers, started = [None] * len(prompts), time.monotonic()
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        for i, result in zip(
            chosen, generate_batch(language_model, tokenizer, [prompts[i] for i in chosen], decoding)
        ):
            answers[i] = result
        print(f"  batch size {batch_size}: {start + len(chosen)}/{len(order)}", end="\r", file=sys.stderr)
    seconds, tokens = time.monotonic() - started, sum(answer.new_tokens for answer in answers)
    return answers, {
        "batch_size": batch_size,
        "sec": seconds,
        "new_tokens": tokens,
        "tokens_per_second": tokens / seconds,
        "peak_memory_bytes": peak_memory_bytes(),
    }


def load_packed(name, settings):
    """(language model, tokenizer) as Unsloth and PEFT load them, no weight unpacked or merged."""
    from legalqa.model.adapter import check_adapter, is_adapter
    from legalqa.model.base import import_unsloth, load_base

    base = check_adapter(name) if is_adapter(name) else name
    unsloth = import_unsloth(base)
    language_model, tokenizer = load_base(base, settings.max_seq_length, settings.load_in_4bit)
    if base != name:
        from peft import PeftModel

        language_model = PeftModel.from_pretrained(language_model, name)
    unsloth.FastLanguageModel.for_inference(language_model)
    return language_model.eval(), tokenizer


def parse_args():
    import config

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--model", default="finetuned_demo")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--max-new-tokens", type=int, default=96)
    parser.add_argument("--validation-file", default=config.CONFIG["validation_file"])
    return parser.parse_args()


def measure(args):
    """({label: (measured, answers, the batches' answers of the same rows)}, data type of the weights)."""
    import config
    from legalqa.data import records
    from legalqa.model import prompt
    from legalqa.model.adapter import answer_settings
    from legalqa.model.base import load_for_inference
    from legalqa.model.generate import generate_batch
    from legalqa.model.settings import Decoding

    rows = records.read_records(args.validation_file)[: args.rows]
    wanted = config.CONFIG | config.PROFILES[args.profile]
    settings, size = answer_settings(args.model, wanted), wanted["generation_batch_size"]
    decoding = Decoding(0.0, 1.0, 1.0, args.max_new_tokens)
    packed, tokenizer = load_packed(args.model, settings)
    prompts = [prompt.render_prompt(row, tokenizer, settings.system_prompt) for row in rows]
    generate_batch(packed, tokenizer, prompts[:1], replace(decoding, max_new_tokens=4))  # the first is slower
    plain_answers, plain = timed(packed, tokenizer, prompts[::8], decoding, 1)
    del packed
    language_model, tokenizer = load_for_inference(args.model, settings)
    generate_batch(language_model, tokenizer, prompts[:1], replace(decoding, max_new_tokens=4))
    single_answers, single = timed(language_model, tokenizer, prompts, decoding, 1)
    batch_answers, batched = timed(language_model, tokenizer, prompts, decoding, size)
    results = {
        "one at a time, 4-bit weights": (plain, plain_answers, batch_answers[::8]),
        "one at a time, as chat.py": (single, single_answers, batch_answers),
        f"batches of {size}": (batched, batch_answers, batch_answers),
    }
    base = language_model.get_base_model() if hasattr(language_model, "get_base_model") else language_model
    dtype = str(base.dtype).removeprefix("torch.")
    if dtype == "bfloat16":
        base.set_attn_implementation("sdpa")
        answers, measured = timed(language_model, tokenizer, prompts[::8], decoding, 1)
        results["one at a time, sdpa"] = (measured, answers, batch_answers[::8])
        answers, measured = timed(language_model, tokenizer, prompts, decoding, size)
        results[f"batches of {size}, sdpa"] = (measured, answers, batch_answers)
    for measured, answers, expected in results.values():
        measured["ratio_tokens_per_second"] = batched["tokens_per_second"] / measured["tokens_per_second"]
        measured["identical_share"] = sum(a.text == b.text for a, b in zip(answers, expected)) / len(answers)
    return results, dtype


def main():
    args = parse_args()
    results, dtype = measure(args)
    from legalqa import runlog
    from legalqa.model.device import find_device

    print(f"{dtype:30}{'tokens/s':>10}{'seconds':>9}{'peak GB':>9}{'ratio':>7}{'identical':>11}")
    for label, (measured, _, _) in results.items():
        print(
            f"{label:30}{measured['tokens_per_second']:10.1f}{measured['sec']:9.1f}"
            f"{measured['peak_memory_bytes'] / 1e9:9.2f}{measured['ratio_tokens_per_second']:7.1f}"
            f"{100 * measured['identical_share']:9.1f} %"
        )
    summary = {
        "model": args.model,
        "rows": args.rows,
        "max_new_tokens": args.max_new_tokens,
        "dtype": dtype,
        "results": {label: measured for label, (measured, _, _) in results.items()},
        "device": asdict(find_device()),
        "versions": runlog.package_versions(),
    }
    print(json.dumps(summary, ensure_ascii=False))


if __name__ == "__main__":
    main()
