# The server in a container. It keeps its SQLite file in the volume /data and listens on every address of the container,
# so it starts only with a choice of protection: TLS files, or --insecure-plaintext. And it is closed: callers need a
# token. The first start makes the token of an admin, in a file of the volume:
#
#   docker run -d --name lamina -p 7440:7440 -v lamina:/data lamina serve --insecure-plaintext
#   export LAMINA_TOKEN=$(docker exec lamina cat /data/lamina.db.admin-token)
#   lamina configs
#   docker exec lamina rm /data/lamina.db.admin-token      # when the token is in a safe place
#
# With PostgreSQL the file is /data/lamina.admin-token. For a first try without tokens, let only this machine reach the
# port: docker run -p 127.0.0.1:7440:7440 … serve --insecure-plaintext --insecure-open
#
#   docker run -p 7440:7440 -v lamina:/data -e LAMINA_SERVER_DATABASE=postgresql://… -v ./tls:/tls:ro lamina \
#     serve --tls-cert … --tls-key …
#
# There is no HEALTHCHECK, because images in the OCI format have none. Let the orchestrator run `lamina-server health` in
# the container: it asks whether the server takes commits, and with --liveness only whether it answers. Restart the
# server for the latter only. `make image-test` builds this image and runs it.

ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /src
RUN python3 -m venv /app
# Dependencies first: they change seldom, and so their layer is built seldom.
COPY requirements.lock ./
RUN /app/bin/python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY protos ./protos
COPY client ./client
COPY server ./server
# What built the project has no business in the image; `pip check` fails if that took away something that is needed.
RUN /app/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation . \
    && /app/bin/python -m pip uninstall --yes --quiet editables hatchling packaging pathspec pluggy trove-classifiers \
    && /app/bin/python -m pip check \
    && /app/bin/python -m pip uninstall --yes --quiet setuptools pip

FROM ${PYTHON}
# By number, so that an orchestrator can see that it is not root.
RUN useradd --uid 10001 --home-dir /data --no-create-home lamina \
    && install --directory --owner=lamina --group=lamina --mode=0750 /data
COPY --from=build /app /app
ENV PATH=/app/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    LAMINA_SERVER_DATABASE=sqlite:////data/lamina.db \
    LAMINA_SERVER_LISTEN=0.0.0.0:7440 \
    LAMINA_SERVER_WAIT_FOR_DATABASE_SECONDS=30
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 7440
ENTRYPOINT ["lamina-server"]
CMD ["serve"]
