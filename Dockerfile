# Two images from one file:
#   docker build --target operator --tag zofinetune/operator:0.1.0 .
#   docker build --target runtime  --tag zofinetune/runtime:0.1.0 .
# For a digest-pinned build: --build-arg PYTHON_IMAGE=python:TAG@sha256:... (and VLLM_IMAGE likewise).
ARG PYTHON_IMAGE=python:3.13.9-slim-trixie
ARG VLLM_IMAGE=vllm/vllm-openai:v0.32.0

# --- the project's wheel, the same for both images
FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /src
RUN pip install --no-cache-dir hatchling==1.27.0
COPY pyproject.toml README.md LICENSE ./
COPY runtime runtime
COPY operator operator
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /dist .

# --- the operator's environment, built where pip is and copied as a folder
FROM ${PYTHON_IMAGE} AS operator-environment
COPY requirements/operator.txt /requirements/operator.txt
COPY --from=wheel /dist /dist
RUN python -m venv --without-pip /opt/zofinetune \
    && pip --python /opt/zofinetune install --no-cache-dir --constraint /requirements/operator.txt \
        "$(echo /dist/*.whl)[operator]"

# --- operator: no torch, no vLLM, no compiler
FROM ${PYTHON_IMAGE} AS operator
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="zofinetune operator" \
      org.opencontainers.image.description="Runs ZOFineTune resources on Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=operator-environment /opt/zofinetune /opt/zofinetune
ENV PATH=/opt/zofinetune/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
WORKDIR /tmp
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT []
CMD ["zo-operator"]

# --- runtime: stock vLLM with the project beside it
FROM ${VLLM_IMAGE} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="zofinetune runtime" \
      org.opencontainers.image.description="Zeroth-order fine-tuning and adapter serving on vLLM" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
COPY --from=wheel /dist /dist
# Whatever the base image brought stays at its version: what it has is the constraint, and the build fails if a
# line of the list before is missing from the list after.
RUN uv pip freeze --system | grep '==' | LC_ALL=C sort > /tmp/before.txt \
    && uv pip install --system --no-cache --constraint /tmp/before.txt "$(echo /dist/*.whl)[core]" \
    && uv pip freeze --system | grep '==' | LC_ALL=C sort > /tmp/after.txt \
    && test -z "$(LC_ALL=C comm -23 /tmp/before.txt /tmp/after.txt)" \
    && rm -r /tmp/before.txt /tmp/after.txt /dist \
    && install --directory --owner=65532 --group=0 --mode=0775 /var/lib/zofinetune
# All caches (vLLM, Triton, Inductor, numba, Hugging Face) go below HOME, where a pod mounts a volume over a
# read-only root; USER is for libraries that look the user's name up.
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/var/lib/zofinetune \
    USER=zofinetune \
    LOGNAME=zofinetune
WORKDIR /var/lib/zofinetune
USER 65532:65532
EXPOSE 9464
ENTRYPOINT []
CMD ["zo", "--help"]
