"""The desired state and the answer of a replica: strict to read, the same text for the same state, light."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zo_runtime.config.storage import S3
from zo_runtime.errors import InvalidSpec
from zo_runtime.serving.contract import Canary, DesiredState, ServedAdapters, Target, target_for

HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)
NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,30}[A-Za-z0-9])?", fullmatch=True)
TARGETS = st.builds(Target, version=st.integers(1, 10**6), sha256=HASHES, step=st.none() | st.integers(0, 10**9))
STATES = st.builds(
    DesiredState,
    formatVersion=st.just(1),
    name=NAMES,
    uri=st.text(min_size=1, max_size=50),
    s3=st.builds(S3, endpoint=st.none() | st.text(), pathStyle=st.booleans()),
    target=TARGETS,
    canary=st.none() | st.builds(Canary, target=TARGETS, members=st.lists(NAMES, min_size=1, max_size=4).map(tuple)),
)
SOUND = {"formatVersion": 1, "name": "n", "uri": "u", "target": {"version": 1, "sha256": "a" * 64}}


@given(STATES)
def test_a_desired_state_survives_the_wire(state: DesiredState) -> None:
    assert DesiredState.parse(state.to_json(), "x") == state
    assert DesiredState.parse(state.to_json(), "x").to_json() == state.to_json()


@given(STATES, NAMES)
def test_members_of_the_canary_have_its_target(state: DesiredState, pod: str) -> None:
    members = state.canary.members if state.canary else ()
    for name in (*members, pod):
        wanted = state.canary.target if state.canary and name in members else state.target
        assert target_for(state, name) == wanted


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"targt": 1}, "f: targt: unknown field: did you mean target?"),
        ({"formatVersion": 2}, "f: formatVersion: 2 is not allowed: must be 1"),
        ({"name": "a/b"}, 'f: name: "a/b" is not allowed: must match'),
        ({"uri": ""}, 'f: uri: "" is not allowed: must have 1 or more characters'),
        ({"target": {"version": "1", "sha256": "a" * 64}}, "must be a whole number, without quotes"),
        ({"target": {"version": 1, "sha256": "a" * 63}}, "f: target.sha256:"),
        ({"target": {"version": 1, "sha256": "a" * 64, "step": -1}}, "f: target.step: -1 is not allowed"),
        ({"target": None}, "f: target: nothing is not allowed"),
        ({"s3": {"secretRef": "s"}}, "f: s3: a replica reads no Secret: leave secretRef and caSecretRef out"),
        ({"s3": {"access_key": "s"}}, "f: s3.access_key: unknown field"),
        ({"canary": {"target": SOUND["target"], "members": []}}, "f: canary.members: an empty list is not allowed"),
    ],
)
def test_a_mistake_is_refused_with_its_path(change: dict, sentence: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        DesiredState.parse(json.dumps(SOUND | change), "f")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(("text", "sentence"), [("{", "f: this is not JSON"), ("[]", "f: an empty list")])
def test_what_is_no_document_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(InvalidSpec, match=sentence):
        DesiredState.parse(text, "f")


def test_an_answer_of_a_newer_replica_is_read() -> None:
    answer = {"formatVersion": 2, "pod": "p", "mood": 1, "adapters": [{"name": "n", "state": "Serving", "x": 1}]}
    assert ServedAdapters.model_validate(answer).adapters[0].state == "Serving"


def test_the_contract_is_light() -> None:
    program = "import sys, zo_runtime.serving.contract; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert not {"torch", "vllm", "numpy", "pyarrow", "boto3", "fastapi", "numba"} & set(found.stdout.split())
