"""What runs inside vLLM's own processes: the worker extension and the CPU LoRA kernel. Stock vLLM, no patch."""

from zo_runtime.vllm_ext.compat import shield_llvmlite

# Every process that hosts a worker imports this package before the worker starts.
shield_llvmlite()
