# The packages of one lock, with their hashes; what installs them stays behind.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
FROM ${PYTHON_IMAGE} AS packages
COPY requirements/bootstrap.lock requirements/mage.lock /build/
RUN python -m pip install --no-cache-dir --require-hashes --only-binary :all: --target /build/tools \
      -r /build/bootstrap.lock \
    && /build/tools/bin/uv venv --no-cache --python "$(command -v python)" /opt/venv \
    && /build/tools/bin/uv pip sync --no-cache --require-hashes --compile-bytecode \
      --python /opt/venv/bin/python -r /build/mage.lock

# Mage; by another command the watcher (python -m sigap.watcher), migrations (python -m sigap prepare) and trainings
# (python -m sigap pipeline MODEL). Whatever it is comes after the entry program, which makes the Git checkout on the
# volume that data versions are committed in.
FROM ${PYTHON_IMAGE}
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 sigap \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/sigap --shell /usr/sbin/nologin sigap \
    && install -d -o 10001 -g 10001 /var/lib/sigap \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/sigap/secrets
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY deploy/images/healthy.py ./
COPY .dvc ./.dvc
COPY .dvcignore .gitignore dvc.yaml params.yaml ./
COPY requirements ./requirements
COPY data ./data
COPY sigap ./sigap
COPY mage_project ./mage_project
RUN /opt/venv/bin/python -m compileall -q /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    MLFLOW_DISABLE_TELEMETRY=true \
    DO_NOT_TRACK=true \
    SIGAP_STATE_DIR=/var/lib/sigap \
    SIGAP_ROOT=/var/lib/sigap/checkout \
    SIGAP_HOST=0.0.0.0
USER 10001:10001
VOLUME /var/lib/sigap
EXPOSE 6789
HEALTHCHECK --interval=5s --timeout=5s --start-period=90s --retries=6 \
  CMD ["python", "healthy.py", "http://127.0.0.1:6789/api/status"]
ENTRYPOINT ["python", "-m", "sigap.data.checkout"]
CMD ["python", "-m", "sigap.services.mage"]
