# Trains on NVIDIA GPUs (or a CPU); the CUDA libraries come with torch's own wheels.
#   docker build -f containers/train.Dockerfile -t fmnet-train .
#   docker run --rm --gpus all --shm-size 8g -v "$PWD:/data" fmnet-train \
#       scripts/train.py trainer=gpu cohort.root=/data/DERIVATIVES run_dir=/data/RUN
FROM python:3.11-slim-bookworm AS wheels
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY fmnet fmnet
COPY containers containers
RUN sh containers/wheels.sh /wheels train

FROM python:3.11-slim-bookworm
COPY containers/install.sh /opt/
RUN --network=none --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    sh /opt/install.sh /wheels /opt/fmnet train
RUN useradd --uid 1000 --create-home fmnet
WORKDIR /fmnet
COPY configs configs
COPY scripts scripts
USER fmnet
ENV PATH=/opt/fmnet/bin:$PATH PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENTRYPOINT ["python"]
