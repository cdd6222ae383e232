#!/usr/bin/env bash
# Puts the Python clients of sdk-python.test.ts into $WEIR_PEERS/python (default ~/.cache/weir-peers/python), pinned by
# requirements.txt. Does nothing when they are there already.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=${WEIR_PEERS:-$HOME/.cache/weir-peers}/python
stamp=$target/requirements.installed

if [ -x "$target/bin/python" ] && cmp -s "$here/requirements.txt" "$stamp" && "$target/bin/python" -c 'import opentelemetry.sdk'; then
  echo "python clients: already in $target"
  exit 0
fi
rm -rf "$target"
mkdir -p "$(dirname "$target")"
python3 -m venv "$target"
"$target/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
cp "$here/requirements.txt" "$stamp"
echo "python clients: installed in $target"
