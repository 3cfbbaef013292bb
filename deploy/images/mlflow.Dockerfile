# The packages of one lock, with their hashes; what installs them stays behind.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
FROM ${PYTHON_IMAGE} AS packages
COPY requirements/bootstrap.lock requirements/mlflow.lock /build/
RUN python -m pip install --no-cache-dir --require-hashes --only-binary :all: --target /build/tools \
      -r /build/bootstrap.lock \
    && /build/tools/bin/uv venv --no-cache --python "$(command -v python)" /opt/venv \
    && /build/tools/bin/uv pip sync --no-cache --require-hashes --compile-bytecode \
      --python /opt/venv/bin/python -r /build/mlflow.lock

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 sigap \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/sigap --shell /usr/sbin/nologin sigap \
    && install -d -o 10001 -g 10001 /var/lib/sigap
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY deploy/images/healthy.py ./
COPY sigap/__init__.py ./sigap/__init__.py
COPY sigap/services/__init__.py sigap/services/mlflow_launch.py ./sigap/services/
RUN /opt/venv/bin/python -m compileall -q /app
# Tables and artefacts lie on the volume unless these two name a PostgreSQL and an object store. A server that answers to
# any name in a request's Host could be asked by a page in a reader's browser: other names than these need to be told.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    SIGAP_STATE_DIR=/var/lib/sigap \
    MLFLOW_BACKEND_STORE_URI=/var/lib/sigap/mlflow.db \
    MLFLOW_ARTIFACTS_DESTINATION=/var/lib/sigap/artifacts \
    MLFLOW_SERVER_ALLOWED_HOSTS=mlflow:5000,localhost:*,127.0.0.1:* \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
    MLFLOW_DISABLE_TELEMETRY=true \
    DO_NOT_TRACK=true
USER 10001:10001
VOLUME /var/lib/sigap
EXPOSE 5000
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=6 \
  CMD ["python", "healthy.py", "http://127.0.0.1:5000/health"]
CMD ["python", "-m", "sigap.services.mlflow_launch", "--host", "0.0.0.0", "--port", "5000"]
