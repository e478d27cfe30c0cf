# Bits turned over at N random places of log, index and messages (SEED says which).
bitflips: $(addprefix $(O)/tests/unit/,syncer/test_log_verify mail/test_shard_rot mail/test_store_mend)
	O=$(O) N="$(N)" SEED="$(SEED)" tests/unit/bitflips.sh
.PHONY: bitflips
