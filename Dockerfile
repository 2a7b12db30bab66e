# At release, pin the digest: --build-arg PYTHON_IMAGE=python:3.12-slim-bookworm@sha256:...
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
# Without pip: nothing can be installed into the image later. The base image's pip does it from outside.
RUN python -m venv --without-pip /opt/driftline
COPY requirements requirements
RUN pip --python /opt/driftline/bin/python install --no-cache-dir --require-hashes -r requirements/run.txt
# What builds the package is locked too.
RUN awk '/^[a-z]/ {keep = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/} keep' requirements/dev.txt > build.txt \
    && pip install --no-cache-dir --require-hashes -r build.txt
COPY pyproject.toml README.md LICENSE ./
COPY service service
# Layers keep whole seconds of a file's time, and numba compares times: without touch every start would compile.
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /src/dist . \
    && pip --python /opt/driftline/bin/python install --no-cache-dir --no-deps /src/dist/*.whl \
    && find /opt/driftline/lib -path '*/driftline/*' -name '*.py' -exec touch --date=2026-01-01T00:00:00Z {} +
# Kernels for any x86-64 of the last ten years (AVX2), not for the machine that builds; on arm64 say "generic".
ARG KERNEL_CPU=x86-64-v3
ENV NUMBA_CPU_NAME=${KERNEL_CPU} NUMBA_CPU_FEATURES= NUMBA_CACHE_DIR=/opt/driftline/kernels
RUN /opt/driftline/bin/python -c "from driftline import kernelcache as k; k.use(); k.compile_kernels()"

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG KERNEL_CPU=x86-64-v3
LABEL org.opencontainers.image.title="driftline" \
    org.opencontainers.image.description="Streaming drift detection for machine-learning models" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.source="https://github.com/driftline/driftline" \
    org.opencontainers.image.version="${VERSION}"
COPY --from=build /opt/driftline /opt/driftline
COPY deploy/entrypoint.sh /usr/local/bin/entrypoint.sh
# The root file system may be read-only: only /tmp is written to.
ENV PATH=/opt/driftline/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NUMBA_CPU_NAME=${KERNEL_CPU} \
    NUMBA_CPU_FEATURES= \
    NUMBA_CACHE_DIR=/tmp/driftline-kernels
WORKDIR /tmp
USER 10001:10001
# Smoke test as the user that will run it: the command answers, and no kernel has to be compiled again.
RUN touch /tmp/began \
    && sh /usr/local/bin/entrypoint.sh --help > /dev/null \
    && python -c "from driftline import kernelcache as k; k.use(); k.compile_kernels()" \
    && test -z "$(find /tmp/driftline-kernels -name '*.nb[ci]' -newer /tmp/began)" \
    && rm -r /tmp/driftline-kernels /tmp/began
EXPOSE 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('DRIFTLINE_HTTP__PORT', '9464') + '/live', timeout=4)"]
ENTRYPOINT ["sh", "/usr/local/bin/entrypoint.sh"]
CMD ["run", "--config", "/etc/driftline/driftline.yaml"]
