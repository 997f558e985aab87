# syntax=docker/dockerfile:1
# The image holds one static binary and the public CAs: no shell, no libc, nothing to update.
#   docker buildx build --platform linux/amd64,linux/arm64 --tag … .
# CI builds the last stage, with what its own Rust makes in place of the first: image.sh in
# tests/conformance.
ARG RUST=1.95

FROM docker.io/library/rust:${RUST}-slim AS build
# musl-tools: a C compiler for the static target (aws-lc, zstd).
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates musl-tools \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
# Not built, but the manifest names them, and Cargo looks.
COPY benches benches
COPY proto proto
COPY src src
# The cache of cargo stays out of the layers; the binary is copied out of it in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    target="$(uname -m)-unknown-linux-musl" \
    && rustup target add "$target" \
    && cargo build --profile dist --locked --bin skillmount --target "$target" \
    && cp "target/$target/dist/skillmount" /skillmount

FROM scratch
ARG REVISION=unknown
LABEL org.opencontainers.image.title="skillmount" \
      org.opencontainers.image.description="CSI node driver that mounts agent skills from OCI registries into pods, read-only" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /skillmount /skillmount
# Mounting needs root, on the node as in the image.
USER 0:0
ENTRYPOINT ["/skillmount"]
