#!/bin/bash
# Prepares everything bench.py needs under work/ (or $BENCH_WORK). Safe to run again; what is there is kept.
# PEERS chooses whom to compare with: any of "hudsucker http-mitm-proxy proxelar mitmproxy mockttp" (default: all).
set -eu
cd "$(dirname "$0")"; B=$PWD; W=${BENCH_WORK:-$B/work}; P=${PEERS-hudsucker http-mitm-proxy proxelar mitmproxy mockttp}
mkdir -p "$W"/{certs,www,run,logs,conf,bin,mitm-conf,proxelar-ca,mockttp}
for p in nginx haproxy tinyproxy openssl; do
  command -v $p >/dev/null || { apt-get update -q; apt-get install -qy --no-install-recommends $p; }
done

cd "$W/certs"
mkca() { # name CN
  [ -e $1.pem ] || { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out $1.key 2>/dev/null
  openssl req -x509 -new -key $1.key -subj "/CN=$2" -days 3650 -out $1.pem \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign; }; }
mkca ca "bench origin CA"; mkca mitm-ca "bench MITM CA"
[ -e leaf-full.pem ] || { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out leaf.key 2>/dev/null
  openssl req -new -key leaf.key -subj /CN=localhost -out leaf.csr
  printf 'subjectAltName=DNS:localhost,DNS:*.bench.test,IP:127.0.0.1\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n' > leaf.ext
  openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 800 -extfile leaf.ext -out leaf.pem 2>/dev/null
  cat leaf.pem leaf.key > leaf-full.pem; }

cd "$W/www"
head -c 1024 /dev/zero | tr '\0' x > 1k; head -c 65536 /dev/zero | tr '\0' x > 64k; : > 0
truncate -s 1000000 1m; truncate -s 10000000 10m; truncate -s 100000000 100m; truncate -s 1G 1g

(cd "$B/.." && cargo build --profile dist --locked -p wirescope -p wirescope-mcp)
export CARGO_TARGET_DIR="$W/target"
(cd "$B/loadgen" && cargo build --release) && cp "$W/target/release/loadgen" "$W/bin/"
for p in $P; do case $p in
  hudsucker|http-mitm-proxy) (cd "$B/peers" && cargo build --release --features $p); cp "$W"/target/release/{hudsucker-min,http-mitm-min} "$W/bin/" 2>/dev/null || true ;;
  proxelar) [ -e "$W/bin/proxelar" ] || { cargo install proxelar --locked --version 0.4.7 --root "$W/cargo"; cp "$W/cargo/bin/proxelar" "$W/bin/"; } ;;
  mitmproxy) [ -e "$W/mitm/bin/mitmdump" ] || { python3 -m venv "$W/mitm"; "$W/mitm/bin/pip" install -q mitmproxy==11.0.2; } ;;
  mockttp) cp "$B"/peers/mockttp/* "$W/mockttp/"; [ -d "$W/mockttp/node_modules/mockttp" ] || (cd "$W/mockttp" && npm install --no-audit --no-fund) ;;
  *) echo "unknown peer $p" >&2; exit 2 ;;
esac; done
echo setup done
