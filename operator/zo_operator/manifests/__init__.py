"""Builders of the objects that a resource owns: pure functions from the spec to plain dictionaries."""
