# syntax=docker/dockerfile:1
# One file, two images: `service` (the default) and `loadtest`. Weights and traces are mounted, never baked in.
#   docker build -t xlmr-serve:0.1.0 .
#   docker build --target loadtest -t xlmr-load:0.1.0 .
# torch comes from the package index as the CUDA build: one image for CPU and GPU, of several gigabytes; the wheels
# bring the runtime, so that a slim base is enough. For a small image that serves on CPUs only, build with
#   --build-arg TORCH_INDEX_URL=<PyTorch's own index of CPU wheels>
# For builds that repeat to the byte, give the base by digest: --build-arg PYTHON_IMAGE=python@sha256:...
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/venv/bin:$PATH
WORKDIR /src
RUN python -m venv /opt/venv
COPY scripts/image_requirements.py pyproject.toml constraints.txt ./

FROM build AS build-service
ARG TORCH_INDEX_URL=""
RUN --mount=type=cache,target=/root/.cache/pip \
    python image_requirements.py > requirements.txt \
    && pip install --constraint constraints.txt --requirement requirements.txt \
       ${TORCH_INDEX_URL:+--extra-index-url "${TORCH_INDEX_URL}"}
COPY README.md LICENSE ./
COPY models ./models
COPY service ./service
COPY loadtest ./loadtest
RUN --mount=type=cache,target=/root/.cache/pip pip install --no-deps .

FROM build AS build-loadtest
RUN --mount=type=cache,target=/root/.cache/pip \
    python image_requirements.py --extra load --without torch --without transformers > requirements.txt \
    && pip install --constraint constraints.txt --requirement requirements.txt
COPY README.md LICENSE ./
COPY models ./models
COPY service ./service
COPY loadtest ./loadtest
RUN --mount=type=cache,target=/root/.cache/pip pip install --no-deps .

FROM ${PYTHON_IMAGE} AS base
RUN groupadd --gid 10001 xlmr \
    && useradd --uid 10001 --gid xlmr --no-create-home --shell /usr/sbin/nologin xlmr
# HF_HUB_OFFLINE: a container serves what is mounted; it never downloads at start.
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1
WORKDIR /work

FROM base AS loadtest
COPY --from=build-loadtest /opt/venv /opt/venv
# Plain Locust wants its file by path; what it imports is installed.
COPY loadtest/driver/locustfile.py /work/locustfile.py
# A new volume takes its owner from here.
RUN install --directory --owner=10001 --group=10001 /runs
USER 10001:10001
ENTRYPOINT ["xlmr-load"]

FROM base AS service
COPY --from=build-service /opt/venv /opt/venv
USER 10001:10001
EXPOSE 8000
# Large variants take minutes to load.
HEALTHCHECK --interval=10s --timeout=3s --start-period=300s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health/ready', timeout=2)"]
ENTRYPOINT ["xlmr-serve"]
CMD ["--catalogue", "/models/catalogue.toml", "--host", "0.0.0.0", "--port", "8000"]
