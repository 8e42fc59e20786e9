ARG AI_TOOLKIT_VERSION=0.12.26
FROM ostris/aitoolkit:${AI_TOOLKIT_VERSION}

LABEL org.opencontainers.image.title="Ferry" \
      org.opencontainers.image.description="RunPod worker: trains with ai-toolkit, uploads to Supabase Storage meanwhile" \
      org.opencontainers.image.licenses="MIT"

# The toolkit belongs to the system's Python. Ferry's environment is its own; it holds no pip, and so needs no
# python3-venv either: the image's own pip fills it from outside.
COPY requirements.lock /opt/ferry/
RUN python3 -m venv --without-pip /opt/ferry \
    && python3 -m pip --python /opt/ferry/bin/python install \
        --no-cache-dir --disable-pip-version-check --no-deps --require-hashes --only-binary :all: -r /opt/ferry/requirements.lock \
    && mkdir -p /run/ferry

ENV FERRY_PYTHON=/opt/ferry/bin/python \
    FERRY_HOME=/app/ferry \
    FERRY_RUN=/run/ferry \
    AI_TOOLKIT_DIR=/app/ai-toolkit \
    AI_TOOLKIT_PYTHON=/usr/bin/python3 \
    TOOLKIT_START=/start.sh \
    WATCH_FOLDER=/app/ai-toolkit/output \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RUNPOD_DEBUG_LEVEL=INFO

WORKDIR /app/ferry
COPY supervisord.conf ./
COPY supervisord.pod.conf ./
COPY shared ./shared
COPY uploader ./uploader
COPY handler ./handler
COPY bin/uploader /usr/local/bin/uploader
# Compiled once here: with PYTHONDONTWRITEBYTECODE every start of a worker would do it again.
RUN /opt/ferry/bin/register-python-argcomplete uploader >> /etc/bash.bashrc \
    && /opt/ferry/bin/python -m compileall -q --invalidation-mode unchecked-hash handler shared uploader

HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 \
    CMD ["/opt/ferry/bin/python", "-m", "shared.health"]

# The base image's entry point prints a banner and its command starts ssh and a web page; supervisord is to be PID 1.
ENTRYPOINT []
CMD ["/opt/ferry/bin/supervisord", "-c", "/app/ferry/supervisord.conf"]
