# The packages of one lock, with their hashes; what installs them stays behind.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
FROM ${PYTHON_IMAGE} AS packages
COPY requirements/bootstrap.lock requirements/api.lock /build/
RUN python -m pip install --no-cache-dir --require-hashes --only-binary :all: --target /build/tools \
      -r /build/bootstrap.lock \
    && /build/tools/bin/uv venv --no-cache --python "$(command -v python)" /opt/venv \
    && /build/tools/bin/uv pip sync --no-cache --require-hashes --compile-bytecode \
      --python /opt/venv/bin/python -r /build/api.lock

# The API needs an MLflow address and nothing else: `docker run -p 8000:8000 -e MLFLOW_TRACKING_URI=… sigap-api`.
FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 sigap \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/sigap --shell /usr/sbin/nologin sigap \
    && install -d -o 10001 -g 10001 /var/lib/sigap \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/sigap/secrets
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY deploy/images/healthy.py ./
COPY sigap ./sigap
COPY backend ./backend
RUN /opt/venv/bin/python -m compileall -q /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    SIGAP_STATE_DIR=/var/lib/sigap \
    SIGAP_HOST=0.0.0.0
USER 10001:10001
VOLUME /var/lib/sigap
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=6 \
  CMD ["python", "healthy.py", "http://127.0.0.1:8000/health/live"]
CMD ["python", "-m", "backend"]
