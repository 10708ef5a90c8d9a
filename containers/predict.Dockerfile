# Scores new scans on a CPU. From the top of the checkout:
#   docker build -f containers/predict.Dockerfile -t fmnet-predict .
#   docker run --rm --network none --read-only --tmpfs /tmp -v "$PWD:/data" \
#       fmnet-predict /data/BUNDLE /data/SCAN.nii.gz
FROM python:3.11-slim-bookworm AS wheels
WORKDIR /src
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
COPY fmnet fmnet
COPY configs configs
COPY containers containers
RUN sh containers/wheels.sh /wheels predict

FROM python:3.11-slim-bookworm
COPY containers/install.sh /opt/
# wheels stay out of the image
RUN --network=none --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    sh /opt/install.sh /wheels /opt/fmnet predict
RUN useradd --uid 1000 fmnet
USER fmnet
WORKDIR /data
ENV PATH=/opt/fmnet/bin:$PATH PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["fmnet-predict"]
