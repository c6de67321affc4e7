"""The Dockerfile, the wheel that both images install, and the versions of the operator's image.

There is no container engine in a test run, so the images are not built here; what they are made of is.
"""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from tools.chart import ROOT
from tools.pins import closure, pinned

DOCKERFILE = (ROOT / "Dockerfile").read_text()
BASE_IMAGES = re.findall(r"^ARG \w+_IMAGE=(.+)$", DOCKERFILE, re.MULTILINE)


def stages() -> dict[str, str]:
    """Name to text of each stage."""
    parts = re.split(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    return {parts[index + 1]: parts[index + 2] for index in range(1, len(parts), 3)}


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_base_images_are_pinned_and_can_be_replaced_by_digests():
    assert len(BASE_IMAGES) == 2
    for image in BASE_IMAGES:
        repository, _, tag = image.partition(":")
        assert re.fullmatch(r"v?\d+\.\d+\.\d+[a-z0-9.-]*", tag), image
        assert "." not in repository.split("/")[0], f"{image} names a registry's host"
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${PYTHON_IMAGE}", "${VLLM_IMAGE}"}


def test_the_vllm_image_is_the_version_that_the_project_is_made_for():
    (vllm,) = (image for image in BASE_IMAGES if "vllm" in image)
    assert f'"vllm=={vllm.rsplit(":v")[1]}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("target", ["operator", "runtime"])
def test_targets_run_as_a_numeric_user_without_an_entrypoint(target):
    text = stages()[target]
    (user,) = re.findall(r"^USER (.+)$", text, re.MULTILINE)
    assert all(int(part) > 0 for part in user.split(":"))
    # The last word on both: nothing after it runs as root.
    assert "RUN" not in text[text.index("USER 65532") :]
    assert "ENTRYPOINT []" in text
    assert "PYTHONDONTWRITEBYTECODE=1" in text
    assert text.count("org.opencontainers.image.") == 5


def test_the_build_context_holds_what_is_copied_and_little_else():
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert "*" in rules
    copied = {
        source.split("/")[0]
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*command, str(folder), str(ROOT)], check=True, timeout=120)
    (path,) = folder.glob("zofinetune-*-py3-none-any.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_both_packages_and_nothing_else(wheel):
    files = wheel.namelist()
    tops = {name.split("/")[0] for name in files}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"zo_operator", "zo_runtime"}
    for folder, package in ((ROOT / "operator", "zo_operator"), (ROOT / "runtime", "zo_runtime")):
        sources = {path.relative_to(folder).as_posix() for path in (folder / package).rglob("*.py")}
        assert sources and sources <= set(files)


def test_the_wheel_installs_both_commands(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    scripts = wheel.read(name).decode()
    assert "zo = zo_runtime.cli:main" in scripts and "zo-operator = zo_operator.__main__:main" in scripts


def test_the_operators_image_pins_all_that_it_installs():
    needed, versions = closure(), pinned()
    assert versions.keys() == needed.keys()
    for name, requirements in needed.items():
        allowed = SpecifierSet(",".join(str(requirement.specifier) for requirement in requirements))
        assert versions[name] in allowed, (name, str(allowed))
    assert not {"torch", "numpy", "vllm", "pyarrow", "boto3"} & needed.keys()


def test_the_operator_loads_nothing_heavy():
    code = "import json, sys, zo_operator.__main__; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert {"kopf", "aiohttp"} <= loaded
    assert not {"torch", "numpy", "vllm", "pyarrow", "boto3", "numba", "transformers"} & loaded
