"""From a spec and what is observed to actions and a status: pure, but for `reconciler.py`, which calls it."""
