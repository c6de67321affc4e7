"""The drift story: `make story`."""

import sys
from pathlib import Path

# The cluster is the tests' own: API server, Job controller, node, S3.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
