"""What a run will need, said before anything runs: arithmetic on a manifest, a model's shapes and a GPU type."""
