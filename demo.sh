#!/bin/sh
# demo.sh - on a fresh Debian 12: installs what is needed, builds, and runs the main
# job.  MAIL=dir, COUNT=n, FAULT=name, KEEP=1: see tests/lab/demo.py.
set -eu
cd "$(dirname "$0")"
sh deps.sh build run
make -s -j"$(nproc)" O="${O:-build}" all
exec /usr/bin/python3 tests/lab/demo.py
