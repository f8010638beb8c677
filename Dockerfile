# One file, two images: `service` (default) and `loadtest`. Weights are mounted, never baked in.
#   docker build -t xlmr-serve:0.1.0 .
#   docker build --target loadtest -t xlmr-load:0.1.0 .
# python:3.11-slim is enough for a GPU too: torch's CUDA wheels carry the runtime. For a GPU image, build with
#   --build-arg TORCH_INDEX_URL=<index of the CUDA wheels> and run it with the compose profile `gpu`.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG TORCH_INDEX_URL=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY models ./models
COPY service ./service
COPY loadtest ./loadtest
RUN pip install --constraint constraints.txt ${TORCH_INDEX_URL:+--extra-index-url ${TORCH_INDEX_URL}} .

FROM build AS build-load
RUN pip install --constraint constraints.txt ".[load]"

FROM ${PYTHON_IMAGE} AS base
RUN groupadd --gid 10001 xlmr && useradd --uid 10001 --gid xlmr --no-create-home --shell /usr/sbin/nologin xlmr
# HF_HUB_OFFLINE: a container serves what is mounted; it never downloads at start.
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1
WORKDIR /work

FROM base AS loadtest
COPY --from=build-load /opt/venv /opt/venv
USER 10001:10001
ENTRYPOINT ["xlmr-load"]

FROM base AS service
COPY --from=build /opt/venv /opt/venv
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=300s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health/ready', timeout=2)"]
ENTRYPOINT ["xlmr-serve"]
CMD ["--catalogue", "/models/catalogue.toml", "--host", "0.0.0.0", "--port", "8000"]
