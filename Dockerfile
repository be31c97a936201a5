# One image for every command; the service is its last stage.
#   docker build -t slam3r-uni3r .                                  the service, for NVIDIA GPUs
#   docker build -t slam3r-uni3r --build-arg RUNTIME=cpu .          without one
#   docker build -t slam3r-uni3r-tools --target cuda .              all commands, no service
#   docker run --rm --gpus all -v "$PWD/photos:/photos:ro" -v "$PWD/out:/out" slam3r-uni3r-tools \
#       slam3r reconstruct /photos -o /out/room
ARG RUNTIME=cuda

FROM python:3.11.13-slim-bookworm AS base
# What Open3D's wheel leaves to the system: the packages of scripts/setup.sh, which is not root below.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ffmpeg libegl1 libgl1 libgomp1 libidn2-0 libudev1 libusb-1.0-0 libx11-6 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 1000 reconstructor \
    && install -d -o reconstructor -g reconstructor /app /out
USER 1000
WORKDIR /app
COPY --chown=reconstructor:reconstructor . .
ARG EXTRAS=train,app,service
ENV PIP_NO_CACHE_DIR=1 \
    PATH=/app/.venv/bin:$PATH

# The usual wheels of torch bring CUDA's libraries; the host brings the driver.
FROM base AS cuda
RUN bash scripts/setup.sh "$EXTRAS"
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
CMD ["python", "scripts/doctor.py"]

# Works with the same wheels; PyTorch's index of wheels without CUDA saves some GB, which pip reads from this argument.
FROM base AS cpu
ARG PIP_EXTRA_INDEX_URL
RUN bash scripts/setup.sh "$EXTRAS"
CMD ["python", "scripts/doctor.py"]

# hadolint ignore=DL3006
FROM ${RUNTIME} AS service
ENV SEGMENT_OUTPUT_DIR=/out/segments
VOLUME /out
EXPOSE 8090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8090/healthz', timeout=4)"]
CMD ["python", "scripts/serve.py", "service.segments.state=/out/state"]
