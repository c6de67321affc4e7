"""The main job on one machine: `zo run`, `zo verify`, `zo replay`, and the replayed adapter held against the run.

The last line of stdout is one line of JSON.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml

KEYS = ("accuracy_before", "accuracy_after", "steps", "seconds", "bytes_per_step", "digest")


def main() -> None:
    manifest = sys.argv[1]
    uri = yaml.safe_load(Path(manifest).read_text())["spec"]["storage"]["uri"]
    adapter = f"{uri}-adapter"
    start = time.monotonic()
    for old in (uri, adapter):  # a demonstration starts anew; a real run would go on
        shutil.rmtree(old, ignore_errors=True)
    result = json.loads(zo("run", manifest).splitlines()[-1])
    zo("verify", uri)
    replayed = json.loads(zo("replay", uri, "--out", adapter, "--json").splitlines()[-1])
    if replayed["digest"] != result["digest"]:
        sys.exit(f"the replayed bank {replayed['digest']} is not the run's {result['digest']}")
    zo("report", uri, "--out", f"{uri}.html")
    seconds = round(time.monotonic() - start, 1)
    print(f"[demo] the adapter is in {adapter}, the report in {uri}.html", file=sys.stderr)
    print(json.dumps({k: seconds if k == "seconds" else result[k] for k in KEYS}))


def zo(*arguments: str) -> str:
    """Run the `zo` command of this environment; its progress goes to our stderr. End with it if it fails."""
    print(f"[demo] zo {' '.join(arguments)}", file=sys.stderr)
    command = [str(Path(sys.executable).with_name("zo")), *arguments]
    result = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if result.returncode:
        sys.exit(result.returncode)
    return result.stdout


if __name__ == "__main__":
    main()
