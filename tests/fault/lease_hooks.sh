#!/bin/sh
# Planned mistake: clients are answered though the agent's lease has run out.  With it the
# case of a maild with such a lease must fail; without it, in the same build, it must pass.
# BUILD: where to build (default build-hooks).  Prints ok and not ok lines.
cd "$(dirname "$0")/../.." || exit 1
. tests/fault/common.sh

hooks_build "lease hooks" all
found_by tests/cases/lease.py "$build" answer-without-lease \
	"answer without lease: a maild whose lease has run out tells nothing" \
	"a maild whose lease has run out"
exit "$failed"
