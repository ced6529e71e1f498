# An image for CPUs and for NVIDIA GPUs: torch brings CUDA's libraries, the host brings the driver.
#   docker build -t residual-ssl .
#   docker run --rm -v "$PWD":/work residual-ssl train experiment=digits algorithm=csl
#   docker run --rm --gpus all --ipc host -v "$PWD":/work residual-ssl train … precision=bf16
FROM python:3.12-slim

ARG EXTRAS=onnx,coco
COPY pyproject.toml constraints.txt README.md LICENSE /source/
COPY residual_ssl /source/residual_ssl
COPY tasks /source/tasks
COPY configs /source/configs
RUN pip install --no-cache-dir --constraint /source/constraints.txt "/source[${EXTRAS}]" && rm -r /source \
    && useradd --create-home --uid 1000 user && install --directory --owner user /work

USER user
WORKDIR /work
ENV OMP_WAIT_POLICY=PASSIVE
ENTRYPOINT ["residual-ssl"]
CMD ["--help"]
