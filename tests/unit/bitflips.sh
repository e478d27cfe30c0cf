#!/bin/sh
# bitflips.sh - N bits (10,000) turned over at random places, chosen by SEED: in segments of
# the log, in a shard's index.db with its write-ahead log, and in stored messages.  Each is
# found, or changes nothing that anybody gets.  The last line counts them; exit 1 when one
# was served, or a test failed.
# O: the build.
cd "$(dirname "$0")/../.." || exit 1
dir=${O:-build}/tests/unit
n=${N:-10000}
seed=${SEED:-$(date +%y%m%d%H%M)}
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
echo "# SEED=$seed"
failed=0
# part PROGRAM TESTS FLIPS
part() {
	if ! FLIPS=$3 SEED=$seed "$dir/$1" "$2" >"$out.one" 2>"$out.err"; then
		tail -n 20 "$out.one" "$out.err"
		failed=1
	fi
	grep '^# ' "$out.one" | tee -a "$out"
	rm -f "$out.one" "$out.err"
}
part syncer/test_log_verify test_flips $((n * 4 / 10))
part mail/test_shard_rot '*' $((n * 4 / 10))
part mail/test_store_mend test_rotten_never_served $((n * 2 / 10))
awk -v failed="$failed" '{
	for (i = 1; i <= NF; i++) {
		split($i, a, "=")
		sum[a[1]] += a[2]
	}
}
END {
	printf "flips=%d found=%d harmless=%d given_again=%d served=%d failed=%d\n", sum["flips"],
	    sum["found"], sum["harmless"], sum["older-and-given-again"],
	    sum["served"] + sum["other-rows"], failed
}' "$out"
exit "$failed"
