# hexorders as a small image: the binary, glibc, nothing else.
#
#   docker build -t hexorders .
#   docker run -p 8080:8080 hexorders

# cgo, because confluent-kafka-go brings librdkafka as a C library (linked statically). Bookworm, because its glibc is
# that of the second stage.
FROM golang:1.26.11-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=1 go build -trimpath -ldflags="-s -w" -o /out/hexorders ./cmd/hexorders && mkdir /out/data

# distroless/base has glibc and CA certificates; it has no shell. The tag `nonroot` runs as uid 65532.
FROM gcr.io/distroless/base-debian12:nonroot
COPY --from=build /out/hexorders /usr/local/bin/hexorders
# For the embedded store; mount a volume here to keep it.
COPY --from=build --chown=nonroot:nonroot /out/data /data
WORKDIR /data
# The default of 127.0.0.1 could not be reached from outside the container.
ENV HEXORDERS_HTTP_ADDR=0.0.0.0:8080
EXPOSE 8080
ENTRYPOINT ["hexorders"]
CMD ["serve"]
