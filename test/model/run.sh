#!/bin/sh
# Runs the model test against the database that PGHOST, PGPORT, PGDATABASE and PGUSER name.
# Owns nothing but the way to run.py; output is TAP.
set -eu
exec python3 "$(dirname "$0")/run.py" "$@"
