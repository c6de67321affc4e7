"""Benchmarks: each is one command that prints both sides from one run as JSON and draws a picture."""
