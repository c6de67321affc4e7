"""Rounds on fresh data: what is fresh, what a round continues from, and whether its result may be served."""
