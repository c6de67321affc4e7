"""Serving: a replica follows a desired state and switches to each version. The engine's side is in `vllm_ext`."""
