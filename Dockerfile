# docker build -t slam3r-uni3r .
# docker run --rm --gpus all -v "$PWD/photos:/photos:ro" -v "$PWD/out:/out" slam3r-uni3r \
#     python scripts/reconstruct.py source=folder source.path=/photos output=/out/room
FROM python:3.11-slim

# What Open3D's wheel leaves to the system.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ffmpeg libegl1 libgl1 libgomp1 libidn2-0 libudev1 libusb-1.0-0 libx11-6 \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home reconstructor \
    && install -d -o reconstructor -g reconstructor /app /out
USER reconstructor
WORKDIR /app

COPY --chown=reconstructor:reconstructor . .
ARG EXTRAS=train,app,service
ENV PIP_NO_CACHE_DIR=1
RUN bash scripts/setup.sh "$EXTRAS"

ENV PATH=/app/.venv/bin:$PATH
CMD ["python", "scripts/doctor.py"]
