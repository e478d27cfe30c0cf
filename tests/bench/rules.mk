# Comparisons; not part of check.  They need `sh deps.sh bench`.
bench-failover: all
	O=$(O) ROUNDS="$(ROUNDS)" SYSTEMS="$(SYSTEMS)" CASES="$(CASES)" JSON="$(JSON)" \
	    tests/bench/failover/bench.py
.PHONY: bench-failover
