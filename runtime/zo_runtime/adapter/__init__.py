"""From a delta log to an adapter: `replay` rebuilds the bank, `export` writes it as PEFT safetensors."""
