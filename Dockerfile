# Two images from one file, run as a user without rights; the root file system may be read-only
# (compose.yaml), only /data is written:
#   docker build --target serve -t segue .                        the proxy, without audio libraries
#   docker build --target embed -t segue-embed .                  the offline job, model `segue-1`
#   docker build --target embed --build-arg SET=torch -t segue-embed:torch .    the others too
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/segue
WORKDIR /src
# The lock first: a change of our own code then rebuilds only the last layer.
COPY requirements/ requirements/

FROM build AS build-serve
RUN /opt/segue/bin/pip install --require-hashes -r requirements/serve.txt
COPY . .
RUN /opt/segue/bin/pip install --no-deps .

FROM build AS build-embed
ARG SET=embed
RUN /opt/segue/bin/pip install --require-hashes -r requirements/${SET}.txt
COPY . .
RUN /opt/segue/bin/pip install --no-deps .

FROM python:${PYTHON} AS runtime
RUN useradd --system --uid 10001 --user-group --home-dir /data segue \
    && install -d -o segue -g segue /data
ENV PATH=/opt/segue/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OPENBLAS_NUM_THREADS=1 \
    SEGUE_LIBRARY__DATA=/data
WORKDIR /data
VOLUME /data
USER segue
ENTRYPOINT ["segue"]

FROM runtime AS embed
COPY --from=build-embed /opt/segue /opt/segue
ENV SEGUE_LIBRARY__MUSIC=/music
CMD ["embed"]

# The last stage is what a plain `docker build` makes.
FROM runtime AS serve
COPY --from=build-serve /opt/segue /opt/segue
EXPOSE 4040
# SIGTERM lets songs under way end. "forwarding" (nothing analysed yet) is healthy too; 503 is not.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:4040/segue/health', timeout=4)"]
CMD ["serve"]
