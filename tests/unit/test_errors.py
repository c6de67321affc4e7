"""The table of exit codes, which the operator and the documentation both stand on."""

import re
from pathlib import Path

from zo_runtime.errors import ZOError, by_exit_code

DOCS = Path(__file__).parents[2] / "docs" / "exit-codes.md"


def test_every_error_has_its_own_code_and_reason() -> None:
    classes = by_exit_code()
    reasons = {cls.reason for cls in classes.values()}
    assert len(reasons) == len(classes)
    assert ZOError.exit_code not in classes


def test_the_documented_table_is_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| (\w+) \| .* \| (yes|no) \|$", DOCS.read_text(), re.MULTILINE)
    documented = {int(code): (reason, retry == "yes") for code, reason, retry in rows}
    known = {code: (cls.reason, cls.retryable) for code, cls in by_exit_code().items()}
    assert documented == {1: (ZOError.reason, ZOError.retryable), **known}
