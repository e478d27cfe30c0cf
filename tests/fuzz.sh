#!/bin/sh
# fuzz.sh DIR SECONDS - runs each fuzz program of the build DIR so long, beginning with
# the known inputs in tests/cases/NAME.  Stops at the first crash; its input stays in
# DIR/crash-*.
set -eu
dir=$1
seconds=$2
cd "$(dirname "$0")/.."
for program in "$dir"/tests/fuzz/fuzz_*; do
	[ -x "$program" ] || continue
	name=${program##*/fuzz_}
	mkdir -p "$dir/corpus/$name"
	set -- "$dir/corpus/$name"
	[ ! -d "tests/cases/$name" ] || set -- "$@" "tests/cases/$name"
	echo "fuzz $name for $seconds s"
	"$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -verbosity=0 \
		-artifact_prefix="$dir/crash-" "$@"
done
