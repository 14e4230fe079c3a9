# syntax=docker/dockerfile:1
#
# One image for matching and exporting. RUNTIME chooses ONNX Runtime: gpu (CUDA 12), gpu-cu13 (CUDA 13) or cpu.
# CUDA and cuDNN come as wheels with onnxruntime-gpu, not from an nvidia/cuda base image: all three images share one
# slim base, and the libraries are exactly those that the same extra installs on a host. The host gives the driver only.

ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
ARG RUNTIME=gpu
ENV PATH=/opt/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /dependencies
RUN python -m venv /opt/venv
COPY constraints*.txt ./

# torch only exports, on the CPU. PyPI's build for Linux would bring a second copy of CUDA.
RUN pip install -c constraints.txt setuptools \
    && pip install -c constraints.txt --no-deps --index-url https://download.pytorch.org/whl/cpu torch

# The dependencies first, from a stand-in package: an edit of the sources does not download them again. The sources are
# built in another folder, since setuptools would take its older `build/` for the newer files.
COPY pyproject.toml ./
RUN case "$RUNTIME" in gpu|gpu-cu13|cpu) ;; *) echo "RUNTIME is '$RUNTIME', not gpu, gpu-cu13 or cpu" >&2; exit 1;; esac \
    && if [ "$RUNTIME" = cpu ]; then set --; else set -- -c "constraints-$RUNTIME.txt"; fi \
    && mkdir engine && echo '__version__ = "0"' > engine/__init__.py && touch README.md LICENSE \
    && pip install -c constraints.txt "$@" --no-build-isolation ".[$RUNTIME,export,hf]" \
    && pip uninstall --yes dinov3-match

WORKDIR /source
COPY . .
RUN pip install -c constraints.txt --no-deps --no-build-isolation . \
    && pip check

# torch's own C++ tests and its headers for compiling extensions: a tenth of the CPU image, and nothing here uses them.
RUN torch=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torch \
    && rm -rf "$torch"/test "$torch"/include "$torch"/bin/*[Tt]est*

FROM python:${PYTHON}-slim-bookworm
ARG PYTHON
LABEL org.opencontainers.image.title="dinov3-match" \
      org.opencontainers.image.description="Find the same place in drone photographs with DINOv3 patch embeddings" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/python:${PYTHON}-slim-bookworm"

# Any user may run the image (`user:` of the compose file), also one without an entry in /etc/passwd: the home folder
# is open to all, and LOGNAME answers libraries that ask for the user's name.
RUN useradd --uid 1000 --create-home engine \
    && chmod 1777 /home/engine \
    && mkdir -p /workspace/project /workspace/dinov3 /opt/weights /opt/datasets /exports \
    && chown engine:engine /exports
ENV HOME=/home/engine \
    LOGNAME=engine \
    LANG=C.UTF-8 \
    TZ=Etc/UTC \
    PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    DINOV3_MATCH_CONTAINER=1 \
    IMG_ROOT=/opt/datasets \
    WEIGHTS_ROOT=/opt/weights \
    REPO_DIR=/workspace/dinov3 \
    EXPORT_ROOT=/exports

COPY --from=build /opt/venv /opt/venv
COPY --chmod=0755 docker/bin/ /usr/local/bin/
USER 1000:1000
WORKDIR /exports
HEALTHCHECK --interval=5m --timeout=1m --start-period=30s --retries=2 CMD ["engine", "plugins"]
CMD ["sleep", "infinity"]
