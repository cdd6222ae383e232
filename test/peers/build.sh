#!/usr/bin/env bash
# Installs the programs that Weir is tested against and compared with: each is built from its Go module at the version that the
# go.mod and go.sum beside this script pin, into $WEIR_PEERS/bin (default ~/.cache/weir-peers/bin). What is there stays.
#
#   test/peers/build.sh                 otelcol, prometheus, jaeger, loki, h2spec, telemetrygen (Go 1.26 or newer; 20 minutes on two cores from nothing)
#   test/peers/build.sh otelcol loki    only these
#   test/peers/build.sh otelcol-loki    the Go collector with its last loki exporter (0.130.0); for the bench only
#   test/peers/build.sh ghz             a load generator for gRPC; for the test with 1,000 connections only
#   test/peers/build.sh rotel           a Rust collector, from its Python wheel; for the bench only
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=${WEIR_PEERS:-$HOME/.cache/weir-peers}
bin=$root/bin
mkdir -p "$bin" "$root/src"
export CGO_ENABLED=0

# from_module NAME PACKAGE: builds a main package of a module that is pinned beside this script.
from_module() {
  local name=$1 package=$2 work=$root/src/$1
  rm -rf "$work" && mkdir -p "$work"
  cp "$here/$name"/go.mod "$here/$name"/go.sum "$work/"
  (cd "$work" && GOFLAGS=-mod=mod go build -trimpath -ldflags='-s -w' -o "$bin/$name" "$package")
}

# collector NAME VERSION: a Go collector is generated from its manifest by the builder of its version, then built with the pinned modules.
collector() {
  local name=$1 version=$2 work=$root/src/$1 builder=$root/builder-$2/builder
  [ -x "$builder" ] || GOBIN=$(dirname "$builder") go install "go.opentelemetry.io/collector/cmd/builder@v$version"
  rm -rf "$work" && mkdir -p "$work"
  cp "$here/$name/manifest.yaml" "$work/"
  (cd "$work" \
    && "$builder" --config manifest.yaml --skip-compilation --skip-get-modules \
    && cp "$here/$name/go.mod" "$here/$name/go.sum" . \
    && GOFLAGS=-mod=mod go build -trimpath -ldflags='-s -w' -o "$bin/$name" .)
}

for name in "${@:-otelcol prometheus jaeger loki h2spec telemetrygen}"; do
  for peer in $name; do
    if [ -x "$bin/$peer" ]; then
      echo "$peer is there: $bin/$peer"
      continue
    fi
    echo "building $peer ..."
    case $peer in
      otelcol) collector otelcol 0.155.0 ;;
      otelcol-loki) collector otelcol-loki 0.129.0 ;;
      prometheus) from_module prometheus github.com/prometheus/prometheus/cmd/prometheus ;;
      jaeger) from_module jaeger github.com/jaegertracing/jaeger/cmd/all-in-one ;;
      loki) from_module loki github.com/grafana/loki/v3/cmd/loki ;;
      telemetrygen) GOBIN=$bin go install github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen@v0.161.0 ;;
      ghz) GOBIN=$bin go install github.com/bojand/ghz/cmd/ghz@v0.93.0 ;;
      h2spec) GOBIN=$bin go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible ;;
      rotel)
        python3 -m venv "$root/venv"
        "$root/venv/bin/pip" -q install rotel==0.0.1a15
        ln -sf "$("$root/venv/bin/python" -c 'import os, rotel; print(os.path.join(os.path.dirname(rotel.__file__), "rotel-agent"))')" "$bin/rotel"
        ;;
      *)
        echo "unknown peer: $peer" >&2
        exit 2
        ;;
    esac
  done
done
