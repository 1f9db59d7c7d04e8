#!/bin/sh
# Runs the random calls against the server that PGHOST, PGPORT and PGUSER name.
# Owns nothing but the way to run.py; output is TAP.
set -eu
exec python3 "$(dirname "$0")/run.py" "$@"
