"""Generation throughput: all rows in batches, as benchmark.py makes them, against one at a time. Same model, same rows, greedy.

Prints tokens/s of both, the share of identical answers and the peak memory; last, the same as JSON.

  python bench/generation_throughput.py --model finetuned_demo --rows 64
"""
import argparse
import json
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))


def timed(language_model, tokenizer, prompts, decoding, batch_size):
    """(answers in order, {"sec", "new_tokens", "tokens_per_second", ...})."""
    from legalqa import model
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]), reverse=True)
    answers, started = [None] * len(prompts), time.monotonic()
    for start in range(0, len(order), batch_size):
        chosen = order[start:start + batch_size]
        for i, result in zip(chosen, model.generate(language_model, tokenizer, [prompts[i] for i in chosen], decoding)):
            answers[i] = result
        print(f"  batch size {batch_size}: {start + len(chosen)}/{len(order)}", end="\r", file=sys.stderr)
    seconds, tokens = time.monotonic() - started, sum(new_tokens for _, new_tokens, _ in answers)
    return answers, {"batch_size": batch_size, "sec": seconds, "new_tokens": tokens, "tokens_per_second": tokens / seconds,
                     "peak_memory_bytes": model.peak_memory_bytes()}


def main():
    import config
    from legalqa import model, prompt, records, runlog
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--model", default="finetuned_demo")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--max-new-tokens", type=int, default=96)
    parser.add_argument("--validation-file", default=config.CONFIG["validation_file"])
    args = parser.parse_args()
    settings = {**config.CONFIG, **config.PROFILES[args.profile]}
    language_model, tokenizer, saved = model.load_for_inference(args.model, settings)
    rows = records.read_records(args.validation_file)[:args.rows]
    prompts = [prompt.render_prompt(row, tokenizer, saved["system_prompt"]) for row in rows]
    decoding = {"temperature": 0.0, "top_p": 1.0, "repetition_penalty": 1.0, "max_new_tokens": args.max_new_tokens}
    model.generate(language_model, tokenizer, prompts[:1], {**decoding, "max_new_tokens": 4})  # the first call is slower
    single, one = timed(language_model, tokenizer, prompts, decoding, 1)
    batched, many = timed(language_model, tokenizer, prompts, decoding, settings["generation_batch_size"])
    identical = sum(a[0] == b[0] for a, b in zip(single, batched)) / len(rows)
    print(f"{'':16}{'tokens/s':>10}{'seconds':>10}{'peak GB':>9}")
    for label, result in (("one at a time", one), (f"batches of {many['batch_size']}", many)):
        print(f"{label:16}{result['tokens_per_second']:10.1f}{result['sec']:10.1f}{result['peak_memory_bytes'] / 1e9:9.2f}")
    ratio = many["tokens_per_second"] / one["tokens_per_second"]
    print(f"ratio {ratio:.1f}, identical answers {100 * identical:.1f} % of {len(rows)}")
    print(json.dumps({"ratio_tokens_per_second": ratio, "identical_share": identical, "rows": len(rows), "model": args.model,
                      "one_at_a_time": one, "batched": many, "device": model.device_facts(),
                      "versions": runlog.package_versions()}, ensure_ascii=False))


if __name__ == "__main__":
    main()
