"""The operator's process is small: what it imports, and what it does not."""

import json
import subprocess
import sys

HEAVY = ("torch", "vllm", "numpy", "numba", "pyarrow", "boto3", "transformers", "safetensors")

PROGRAM = """
import json, pathlib, sys

import zo_operator.__main__
loaded = sorted({name.partition(".")[0] for name in sys.modules})
peak = pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
print(json.dumps({"loaded": loaded, "megabytes": int(peak) / 1024}))
"""


def test_nothing_heavy_is_imported():
    answer = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=120)
    found = json.loads(answer.stdout)
    assert not set(HEAVY) & set(found["loaded"])
    assert found["megabytes"] < 120
