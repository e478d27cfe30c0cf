/* maild_conf.h - maild.conf as a plain struct, read once and checked.  The same
 * file is used on both nodes.  Sizes are bytes, times say their unit. */
#ifndef MAIL_MAILD_CONF_H
#define MAIL_MAILD_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "log.h"
#include "mailipc.h"

#define CONF_LISTENS_MAX 64	/* addresses of all services together */
#define CONF_SHARDS_MAX 1024
#define CONF_STORES_MAX 64
#define CONF_GATES_MAX 64

struct maild_listen {
	enum mail_service service;
	char text[72];			/* as configured, for messages */
	struct sockaddr_storage addr;
	socklen_t addr_len;
};

struct maild_conf {
	char *hostname;			/* in greetings and trace headers */
	char *tls_cert_file, *tls_key_file;
	char *state_dir, *run_dir;	/* /var/lib/mailpair, /run/mailpair */
	char *owner_socket;		/* syncd's socket for owners */
	char *lease_file;		/* of the agent; "" = a node without one */
	enum log_level log_level;

	struct maild_listen listens[CONF_LISTENS_MAX];
	size_t nlistens;

	unsigned gates, stores, shards;	/* shards is fixed when the store is made */
	uint32_t drain_ms;		/* how long `listeners drain` waits for clients */

	/* SMTP and the limits of the gates; connection counts are per gate process */
	uint64_t message_size_max;
	uint64_t data_memory_max;	/* all messages being received by one gate */
	uint32_t recipients_max, hops_max, errors_max;
	uint32_t command_line_max, data_line_max;
	uint32_t connections_max, connections_per_ip;
	uint32_t smtp_timeout_s, data_timeout_s, login_timeout_s;
	uint32_t delivery_timeout_s;	/* how long a gate waits for stores and queue */
	uint32_t proxy_buffer;		/* high water of a proxied session, each way */

	/* password guessing */
	uint32_t auth_failures_per_session, auth_failures_per_ip, auth_window_s;
	uint32_t auth_delay_ms;		/* added for each failure of the address */

	/* directory */
	uint32_t hash_threads, hash_queue_max, password_cost;
	uint32_t auth_cache_s, auth_cache_entries;
	uint32_t alias_depth, alias_targets_max;
	char *delimiter;		/* "+": user+ext is delivered to user; "" = off */
	char *default_domain;		/* login without a domain; "" = the only domain */
	char *postmaster;		/* "" = the oldest user of the domain */

	/* stores and sessions */
	uint32_t checkpoint_s;		/* between two checkpoints of a shard */
	uint32_t checkpoint_records;	/* or after so many records */
	uint64_t store_low_water;	/* free bytes below which nothing is accepted */
	uint64_t store_pending_max;	/* bytes of changes under way in one store process */
	uint32_t undelete_s;		/* how long unused objects are kept */
	uint32_t imap_idle_s, pop3_idle_s;
	uint32_t imap_line_max;
	uint64_t imap_literal_max;
	uint32_t sessions_per_user;

	/* outbound queue */
	char *smart_host;		/* host:port or [v6]:port; "" = no relaying */
	enum conf_smart_tls { SMART_TLS_NONE, SMART_TLS_MAY, SMART_TLS_VERIFY } smart_tls;
	char *smart_credentials_file;	/* "user:password" in one line; "" = none */
	uint32_t queue_retry_min_s, queue_retry_max_s, queue_lifetime_s, queue_warn_s;
	uint32_t queue_transfers;	/* connections at a time */
	uint32_t queue_messages_max;
	uint32_t queue_timeout_s;	/* one SMTP step as a client */
};

/* NULL after errors, which were printed as ERROR file:line: text. */
struct maild_conf *maild_conf_load(const char *path);
void maild_conf_free(struct maild_conf *);
/* "relay.example.net:587", "192.0.2.9:25", "[2001:db8::9]:25": name or address, and port. */
int maild_conf_host(const char *text, char *host, size_t size, uint16_t *port);
/* "*:25" (IPv6 and IPv4), "0.0.0.0:25", "[::1]:25"; 0 or -1 with EINVAL.  Exported
 * for its test.  "*" gives the IPv6 wildcard, which takes IPv4 as well. */
int maild_conf_address(const char *text, struct sockaddr_storage *, socklen_t *);

#endif
