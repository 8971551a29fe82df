# syntax=docker/dockerfile:1
# Catalograph on CPUs. Build: docker build --tag catalograph . (with a GPU's build of PyTorch, add
# --build-arg TORCH_INDEX_URL=https://download.pytorch.org/whl/cu128). Run: see docs/operations.md.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
WORKDIR /build
RUN python -m venv /opt/catalograph
ENV PATH=/opt/catalograph/bin:$PATH
# PyTorch changes less often than the code: a layer of its own is built once.
COPY constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint constraints.txt --index-url "$TORCH_INDEX_URL" torch
COPY pyproject.toml README.md LICENSE cli.py ./
COPY commands commands
COPY encoders encoders
COPY evaluation evaluation
COPY experts experts
COPY fusion fusion
COPY kg kg
COPY schema schema
COPY serving serving
COPY training training
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint constraints.txt '.[lmdb,neo4j,postgres,serve,telemetry]'

FROM python:${PYTHON}-slim-bookworm
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home catalograph \
    && install --directory --owner catalograph --group catalograph /data
COPY --from=build /opt/catalograph /opt/catalograph
ENV PATH=/opt/catalograph/bin:$PATH \
    CATALOGRAPH_HOME=/data/catalog \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
# A model takes some seconds to load.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=4)"]
ENTRYPOINT ["catalograph"]
CMD ["serve", "--host", "0.0.0.0"]
