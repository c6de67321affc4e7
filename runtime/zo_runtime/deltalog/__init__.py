"""The delta log: every update of a run as a seed's worth of scalars, append-only, hashed and fenced.

```
run.json                        what the run is: model, shapes, method, settings; written once
segments/<first>-<last>.parquet one row per step and direction; immutable
versions/<n>.json               a published version, chained to the one before by SHA-256; immutable
LATEST.json                     the head: newest version, last durable step, who writes; compare-and-swap only
metrics/<first>-<last>.parquet  time and tokens of each step, beside the segments
metrics/report.html             the report, if one was made
```

**What is true** is what `LATEST.json` says and nothing else. It names the newest version and its hash; each
version names the one before and its own segments with their hashes; segments that no version holds yet stand in
`LATEST.json` itself. An object that none of them names is litter of a crash and means nothing.

**Growing.** Objects are never changed. A flush writes all steps since the last full segment into a new object,
commits the head, then deletes the shorter object that it replaces, so files stay few and an old head stays
readable until a new one is durable. A segment is complete at `SEGMENT_STEPS` steps, or when a version takes it.

**Integrity.** Segments are verified against their recorded hash before they are parsed; JSON objects carry the
hash of their own content and must be canonical to the byte. So any flipped bit in any object is found.

Rooms: `documents` (the JSON objects), `checked_json`, `rows` and `parquet` (the tables), `names` (keys), `chain`
(versions and ranges), `lease`, `owner` and `heartbeat` (fencing), `writer`, `reader`, `verify`.
"""
