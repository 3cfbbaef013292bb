# The packages of one lock, with their hashes; what installs them stays behind.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
FROM ${PYTHON_IMAGE} AS packages
COPY requirements/bootstrap.lock requirements/dashboard.lock /build/
RUN python -m pip install --no-cache-dir --require-hashes --only-binary :all: --target /build/tools \
      -r /build/bootstrap.lock \
    && /build/tools/bin/uv venv --no-cache --python "$(command -v python)" /opt/venv \
    && /build/tools/bin/uv pip sync --no-cache --require-hashes --compile-bytecode \
      --python /opt/venv/bin/python -r /build/dashboard.lock

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 sigap \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/sigap --shell /usr/sbin/nologin sigap \
    && install -d -o 10001 -g 10001 /var/lib/sigap
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY deploy/images/healthy.py ./
COPY .streamlit ./.streamlit
COPY sigap ./sigap
COPY frontend ./frontend
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
EXPOSE 8501
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=6 \
  CMD ["python", "healthy.py", "http://127.0.0.1:8501/_stcore/health"]
CMD ["streamlit", "run", "frontend/server.py", "--server.address=0.0.0.0", "--server.port=8501", \
     "--server.enableStaticServing=true"]
