# unreel in a container: for the processor, or with --build-arg TORCH_INDEX= for NVIDIA GPUs. How to run it: docs/docker.md
ARG PYTHON=3.12
FROM python:${PYTHON}-slim-bookworm

# Where torch comes from: PyTorch's index of builds for processors; empty: PyPI, whose build brings CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# Optional parts, e.g. EXTRAS=export,remote; docs/install.md lists them.
ARG EXTRAS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1

# A GPU's kernels are compiled on the machine; nothing else of Debian's is needed, the wheels bring FFmpeg.
# hadolint ignore=DL3008
RUN if [ -z "$TORCH_INDEX" ]; then \
      apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*; \
    fi

WORKDIR /opt/unreel
COPY constraints.txt ./
RUN pip install --constraint constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --no-deps torch
COPY pyproject.toml setup.py README.md LICENSE ./
COPY unreel unreel
# Any user may be given with --user: what is not written to /out goes to /cache and /tmp, and USER needs no account.
RUN pip install --constraint constraints.txt ".${EXTRAS:+[$EXTRAS]}" && mkdir -m 1777 /out /cache
ENV UNREEL_CACHE=/cache HOME=/tmp USER=unreel
USER 1000:1000
WORKDIR /out
EXPOSE 8765
ENTRYPOINT ["unreel"]
CMD ["--help"]
