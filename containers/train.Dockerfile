# Trains on NVIDIA GPUs (or a CPU); the CUDA libraries come with torch's own wheels.
#   docker build -f containers/train.Dockerfile -t fmnet-train .
#   docker run --rm --gpus all --shm-size 8g -v "$PWD:/data" fmnet-train \
#       train trainer=gpu cohort=bids cohort.root=DERIVATIVES run_dir=RUN
FROM python:3.11-slim-bookworm AS wheels
WORKDIR /src
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
COPY fmnet fmnet
COPY configs configs
COPY containers containers
RUN sh containers/wheels.sh /wheels train

FROM python:3.11-slim-bookworm
COPY containers/install.sh /opt/
RUN --network=none --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    sh /opt/install.sh /wheels /opt/fmnet train
RUN useradd --uid 1000 --create-home fmnet
USER fmnet
WORKDIR /data
ENV PATH=/opt/fmnet/bin:$PATH PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENTRYPOINT ["fmnet"]
