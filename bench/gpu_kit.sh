#!/usr/bin/env bash
# Gathers into gpu_kit/ (git-ignored, under 60 MiB) what a machine lacks that has torch, transformers, pandas and pyarrow, but no
# network: Unsloth, trl, peft, bitsandbytes, datasets and their small needs, without what CUDA 13 does not use.
#
#   bench/gpu_kit.sh                          for this machine's Python
#   PYTHON_VERSION=3.12 bench/gpu_kit.sh      for another; PYTHON names the interpreter that runs pip
#   CUDA_LIBRARIES=128 LIMIT_MIB=90 bench/gpu_kit.sh      for CUDA 12.8
#
# There:  python bench/gpu_check.py           (finds gpu_kit/ by itself)
#         PYTHONPATH=gpu_kit python train_8b.py
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
PYTHON_VERSION=${PYTHON_VERSION:-$($PYTHON -c 'import sys; print("%d.%d" % sys.version_info[:2])')}
CUDA_LIBRARIES=${CUDA_LIBRARIES:-"130 132"}  # of torch.version.cuda there; bitsandbytes has one for each (128 alone takes 26 MiB)
LIMIT_MIB=${LIMIT_MIB:-60}

# Versions of requirements*.txt, and of what those packages need beyond the list above.
pin() { grep -hE "^$1==" requirements.txt requirements-unsloth.txt | cut -d' ' -f1; }
pinned=$(for name in unsloth unsloth_zoo trl peft accelerate bitsandbytes datasets tyro msgspec structlog nest-asyncio json5 pydantic \
    einops psutil protobuf sacrebleu; do pin "$name"; done)
needs="dill==0.4.1 multiprocess==0.70.19 xxhash==4.1.0 docstring_parser==0.18.0 typeguard==4.6.0 pydantic_core==2.50.4
    annotated_types==0.8.0 typing_inspection==0.4.2 absl_py==2.5.1 nltk==3.10.4 six==1.17.0 joblib==1.6.0 portalocker==4.4.2
    tabulate==0.10.0 colorama==0.4.6"

rm -rf gpu_kit
platforms=$(for glibc in 2_17 2_24 2_27 2_28 2_34; do echo "--platform manylinux_${glibc}_x86_64"; done; echo "--platform manylinux2014_x86_64")
$PYTHON -m pip install -q --no-deps --no-compile --only-binary=:all: --implementation cp --python-version "$PYTHON_VERSION" $platforms \
    --target gpu_kit $pinned $needs
$PYTHON -m pip install -q --no-deps --no-compile --target gpu_kit --upgrade "$(pin rouge_score)"  # pure Python, published as source alone

# Qwen's vocabulary, for bench/gpu_check.py; optional: without it the tiny tokenizer stands in.
download=$(mktemp -d)
trap 'rm -rf "$download"' EXIT
if $PYTHON -m pip download -q --no-deps --only-binary=:all: -d "$download" dashscope; then
    $PYTHON -m zipfile -e "$download"/dashscope-*.whl "$download/x" && cp "$download/x/dashscope/resources/qwen.tiktoken" gpu_kit/
fi

keep=" $CUDA_LIBRARIES "
for library in gpu_kit/bitsandbytes/libbitsandbytes_*.so; do
    version=${library##*cuda}; version=${version%.so}
    case "$library" in
        *_cpu.so) ;;
        *cuda*) [[ "$keep" == *" $version "* ]] || rm "$library" ;;
        *) rm "$library" ;;  # ROCm, XPU
    esac
done
find gpu_kit \( -name __pycache__ -o -name tests -o -name '*.dist-info' -path '*/licenses' \) -prune -exec rm -rf {} +
find gpu_kit \( -name '*.pyi' -o -name '*.md' -o -name RECORD \) -not -path '*/trl/*' -delete
find gpu_kit/unsloth_zoo/mlx -type f -not -name __init__.py -not -name runtime.py -delete  # Apple Silicon; the two are imported everywhere
rm -rf gpu_kit/bin gpu_kit/share gpu_kit/studio gpu_kit/unsloth_cli gpu_kit/nltk/app gpu_kit/nltk/test

size=$(du -sm --apparent-size gpu_kit | cut -f1)
echo "gpu_kit: $size MiB, for Python $PYTHON_VERSION and CUDA libraries $CUDA_LIBRARIES"
[ "$size" -lt "$LIMIT_MIB" ] || { echo "error: gpu_kit has $size MiB, over $LIMIT_MIB; name fewer CUDA_LIBRARIES" >&2; exit 2; }
