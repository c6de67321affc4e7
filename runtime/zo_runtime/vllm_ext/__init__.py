"""What runs inside vLLM's own processes: the worker extension and the CPU LoRA kernel. Stock vLLM, no patch."""
