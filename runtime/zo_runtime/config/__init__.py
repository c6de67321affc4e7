"""Typed configuration: from a manifest to validated models. Imports pydantic and YAML only, so that the
operator can share it."""
