# Comparisons; not part of check.  They need `sh deps.sh bench`.
$(O)/tests/bench/banner: tests/bench/failover/banner.c
	@mkdir -p $(dir $@)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $<
bench-failover: all $(O)/tests/bench/banner
	O=$(O) ROUNDS="$(ROUNDS)" SYSTEMS="$(SYSTEMS)" CASES="$(CASES)" JSON="$(JSON)" \
	    tests/bench/failover/bench.py
$(O)/tests/bench/load: tests/bench/commit/load.c $(O)/libmailpair.a
	@mkdir -p $(dir $@)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -Ilib -o $@ $^ $(LIBS_lib)
bench-commit: all $(O)/tests/bench/load
	O=$(O) ROUNDS="$(ROUNDS)" PARTS="$(PARTS)" CONNECTIONS="$(CONNECTIONS)" SECONDS="$(SECONDS)" \
	    FSYNC_MS="$(FSYNC_MS)" ABSENCE="$(ABSENCE)" RATE="$(RATE)" JSON="$(JSON)" \
	    tests/bench/commit/bench.py
bench-steady: all
	O=$(O) MINUTES="$(MINUTES)" tests/bench/steady.py
bench-latency: all
	O=$(O) tests/with_users.sh tests/bench/latency $(SECONDS)
bench-sync: all
	O=$(O) FILES="$(FILES)" CHANGED="$(CHANGED)" BIG_MB="$(BIG_MB)" ROUNDS="$(ROUNDS)" CASES="$(CASES)" \
	    SYSTEMS="$(SYSTEMS)" DIR="$(DIR)" tests/bench/sync.py
.PHONY: bench-failover bench-commit bench-steady bench-latency bench-sync
