"""Settings that every test shares."""

from hypothesis import settings

# A slow moment of a shared machine is no failure; the whole test has pytest's time limit.
settings.register_profile("zofinetune", deadline=None)
settings.load_profile("zofinetune")

# The S3 server, the proxy that makes it fail, and the real model, for whoever needs them.
pytest_plugins = ["fixtures.seaweed", "fixtures.faulty", "fixtures.model"]
