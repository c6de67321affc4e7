"""The report of a run: one self-contained HTML page, from plain data. No network, no storage, no engine."""
