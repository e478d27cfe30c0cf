#!/bin/sh
# series.sh N - runs the demonstration N times and prints one table line a run.
# MAIL, COUNT and FAULT as in demo.py; FAULT may name several, which run in turn.
set -eu
n=${1:-10}
here=$(cd "$(dirname "$0")" && pwd)
bad=0
for fault in ${FAULT:-kill-active}; do
	i=0
	while [ $i -lt "$n" ]; do
		i=$((i + 1))
		out=$(mktemp)
		if FAULT=$fault /usr/bin/python3 "$here/demo.py" >"$out" 2>&1; then word=ok; else
			word=FAILED
			bad=$((bad + 1))
			[ -z "${LOGS:-}" ] || cp "$out" "$LOGS/$fault-$i.out"
		fi
		echo "$fault $i $word $(tail -n 1 "$out")"
		rm -f "$out"
	done
done
exit "$((bad > 0))"
