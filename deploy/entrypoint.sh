#!/bin/sh
# numba writes into its cache folder even when every kernel is compiled, and the image may be mounted read-only: so
# start from a copy in /tmp. It is moved into place whole; a container that starts again finds it there.
set -eu
if [ ! -d "$NUMBA_CACHE_DIR" ]; then
    copy=$(mktemp -d "$NUMBA_CACHE_DIR.XXXXXX")
    cp -R --preserve=timestamps /opt/driftline/kernels/. "$copy"
    mv "$copy" "$NUMBA_CACHE_DIR"
fi
exec driftline "$@"
