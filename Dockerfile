# The server in a container:
#
#   docker build -t speckv .
#   docker run -p 8080:8080 -v speckv-models:/models -e SPECKV_API_KEY=secret speckv
#
# The first start fetches the default pair into the volume. Another command runs as
# `docker run -it -v speckv-models:/models speckv chat`.
FROM rust:1-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN cargo build --release --locked -p speckv-cli

FROM debian:bookworm-slim
RUN useradd --create-home --uid 1000 speckv && install -d -o speckv /models
COPY --from=build /source/target/release/speckv /usr/local/bin/speckv
USER speckv
ENV SPECKV_MODELS=/models SPECKV_HOST=0.0.0.0
VOLUME /models
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["speckv"]
CMD ["serve"]
