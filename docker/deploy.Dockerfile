# Runs bundles, without torch: docker build -f docker/deploy.Dockerfile -t tmkt .
FROM python:3.12-slim AS build

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY tmkt tmkt
COPY train train
COPY export export
COPY deploy deploy
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir dist .

FROM python:3.12-slim

WORKDIR /install
COPY constraints.txt ./
COPY --from=build /src/dist ./
# The demo compiles the inner loops, and proves that the image works.
RUN python -m pip install --no-cache-dir -c constraints.txt tmkt-*.whl \
    && tmkt demo --quick --out demo \
    && rm -r demo \
    && useradd --create-home --uid 1000 tmkt

USER 1000
WORKDIR /work
ENTRYPOINT ["tmkt"]
CMD ["--help"]
