# Trains and exports: docker build -f docker/train.Dockerfile -t tmkt-train .
# Torch comes as PyPI has it: with CUDA on Linux, several gigabytes.
FROM python:3.12-slim

WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY tmkt tmkt
COPY train train
COPY export export
COPY deploy deploy
RUN python -m pip install --no-cache-dir -c constraints.txt '.[train,export]' \
    && useradd --create-home --uid 1000 tmkt

USER 1000
WORKDIR /work
ENTRYPOINT ["tmkt"]
CMD ["--help"]
