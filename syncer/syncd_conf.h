/* syncd_conf.h - syncd.conf as a plain struct, checked. */
#ifndef SYNCER_SYNCD_CONF_H
#define SYNCER_SYNCD_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "agentlink.h"
#include "mirror_conf.h"
#include "peerlink.h"

struct syncd_node {
	char *name;
	char *address[PEERLINK_ADDRESSES_MAX];
	size_t naddresses;
	char *certificate;		/* "sha256:..." */
	int line;			/* of its section */
};

struct syncd_conf {
	char *cluster, *user;
	unsigned node;			/* this one */
	struct syncd_node nodes[2];
	uint16_t port;
	char *certificate_file, *key_file;
	char *log_directory, *run_directory;
	enum commit_rule commit;
	bool ship_log;
	int hold_ms, rejoin_stable_ms, silent_ms, ping_ms, retry_ms, join_lag, owners_max;
	int slow_sync_ms, slow_window_ms;
	uint64_t segment_size, retain_size, low_water_size, pending_max, unsent_max, recent_size;
	uint64_t lag_max_size;
	uint64_t bandwidth_limit;	/* bytes a second of the bulk connection; 0: none */
	uint64_t verify_rate;		/* bytes in a second; 0: no limit */
	int verify_interval_h;		/* 0: only when asked */
	int retain_s;			/* how long the log is kept for a standby that is away */
	int owner_stall_s;		/* then one that verifies or merges is given up */
	struct mirror_conf mirror;
};

/* node_name: NULL = uname -n.  0, or -1 with the errors on stderr. */
int syncd_conf_load(const char *path, const char *node_name, struct syncd_conf *);
/* What shows who we are to the peer: this node's certificate and key, the peer's pin.
 * NULL with the error, and its line, on stderr. */
SSL_CTX *syncd_conf_tls(const char *path, const struct syncd_conf *);
void syncd_conf_clear(struct syncd_conf *);

#endif
