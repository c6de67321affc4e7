"""The bank on a GPU: directions drawn and added there, to the bits of `zo`. Knows torch and Triton, not vLLM."""
