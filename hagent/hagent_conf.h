/* hagent_conf.h - /etc/mailpair/hagent.conf as a plain struct.
 *
 * The same file stands on both nodes; which node this is comes from the host name
 * or -N.  A struct that hagent_conf_load() returned is complete and checked: every
 * limit is finite, every address parsed, every time above what the others need.
 * The struct is read only from then on, and shared by executor and agent. */
#ifndef HAGENT_CONF_H
#define HAGENT_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "cluster_key.h"

#define HAGENT_LINKS_MAX 8
#define HAGENT_VIPS_MAX 16
#define HAGENT_PINGS_MAX 8
#define HAGENT_RESOURCES_MAX 32
#define HAGENT_ARGS_MAX 16
#define HAGENT_PARAMS_MAX 48
#define HAGENT_RESPAWNS_MAX 16
#define HAGENT_PATHS_MAX 8
#define HAGENT_FENCES_MAX 16
#define HAGENT_SECRETS_MAX (HAGENT_FENCES_MAX * HAGENT_ARGS_MAX)

enum link_medium { MEDIUM_UDP, MEDIUM_SERIAL, MEDIUM_COROSYNC };
const char *link_medium_name(enum link_medium);

struct link_conf {
	char *name;
	enum link_medium medium;
	char *interface;			/* udp; "" = not bound to one */
	struct sockaddr_storage address[2];	/* udp: of node 0 and 1, with the port;
						 * ss_family 0: not told, there is a group */
	struct sockaddr_storage group;		/* broadcast or multicast; 0: unicast */
	bool multicast;
	int ttl;				/* of multicast */
	char *device;				/* serial */
	uint32_t baud;
	char *group_name;			/* corosync: of the process group */
	bool allow_unencrypted;
};

bool link_echoes(const struct link_conf *);	/* our own frames come back on it */
/* The address of a node that can be probed for on the link's own interface, or NULL. */
const struct sockaddr_storage *link_probe_address(const struct link_conf *, unsigned node);

struct vip_conf {
	char *name;		/* as written: "192.0.2.5/24" */
	int family;
	uint8_t addr[16];	/* network order; 4 or 16 bytes */
	uint8_t prefix;
	char *interface;
};

struct ping_conf {
	char *name;		/* the address */
	int score;		/* what it counts when it answers */
	struct sockaddr_storage address;
};

struct fence_conf {
	char *name;
	char *agent;		/* the resolved path */
	bool program;		/* of the fence-agents package; else a script */
	unsigned level;
	unsigned node;		/* that it switches off */
	char *args[HAGENT_ARGS_MAX + 1];
	char *args_file;	/* "" = none */
	int timeout_ms;
	bool reboot;		/* on again, behind the verified off */
};

struct watchdog_conf {
	char *device;		/* "" = none */
	int timeout_ms, pet_ms;
	bool required;		/* not armed: this node does not become active */
	char *test_command;	/* "" = none */
	int test_interval_ms, test_timeout_ms;
};

enum resource_class { RESOURCE_SCRIPT, RESOURCE_LSB, RESOURCE_SYSTEMD, RESOURCE_OCF };

struct resource_conf {
	char *name;
	int line;
	enum resource_class class;
	char *script;		/* the program to run; "" when no folder has it */
	char *script_name;	/* as written */
	char *provider;		/* ocf; else NULL */
	char *agent;		/* ocf: the agent; systemd: the unit; else NULL */
	char *args[HAGENT_ARGS_MAX + 1];
	char *params[HAGENT_PARAMS_MAX + 1];	/* ocf: "name=value" */
	char *pidfile;		/* of the process whose end is watched; "" none */
	int start_timeout_ms, stop_timeout_ms, status_timeout_ms, drain_timeout_ms;
	int monitor_interval_ms;
	int restarts, restart_window_s;
	bool drain;
};

enum pair_mode { MODE_SERIAL_PING, MODE_MANUAL, MODE_FENCING, MODE_QUORUM };
const char *pair_mode_name(enum pair_mode);
enum failback { FAILBACK_NEVER, FAILBACK_ASKED, FAILBACK_BY_ITSELF };
const char *failback_name(enum failback);

struct respawn_conf {
	char *name;
	char *command[HAGENT_ARGS_MAX + 2];
	char *user;		/* "" = root */
	bool active_only;
	int delay_ms, delay_max_ms;
};

enum cold_start { COLD_LAST_ACTIVE, COLD_WAIT };

struct hagent_conf {
	char *path;
	char *cluster;
	char *node[2];
	unsigned self;			/* 0 or 1 */
	char *key_file;
	char *user, *group;
	char *state_dir, *run_dir;
	char *syncd_socket;		/* "" = no syncd */
	struct link_conf links[HAGENT_LINKS_MAX];
	size_t nlinks;
	struct vip_conf vips[HAGENT_VIPS_MAX];
	size_t nvips;
	struct ping_conf pings[HAGENT_PINGS_MAX];
	size_t npings;
	struct resource_conf resources[HAGENT_RESOURCES_MAX];
	size_t nresources;
	struct fence_conf fences[HAGENT_FENCES_MAX];
	size_t nfences;
	int fence_poll_ms;
	int fence_check_s;		/* 0: never */
	struct watchdog_conf watchdog;
	struct respawn_conf respawns[HAGENT_RESPAWNS_MAX];
	size_t nrespawns;
	char *ocf_root, *systemctl;
	int metadata_timeout_ms;
	int keepalive_ms, serial_keepalive_ms, deadtime_ms, warntime_ms, initdead_ms;
	int ping_interval_ms, ping_timeout_ms, ping_handover_ms;
	int probe_wait_ms, probe_fresh_ms, drain_ms, isolated_ms, evidence_ms;
	int syncd_wait_ms, join_wait_ms, switch_ms, retry_ms;
	enum pair_mode mode;
	enum cold_start cold_start;
	bool quorum_require;
	int fence_delay_ms[2], fence_retry_max_ms;
	int preferred;			/* node; -1 none */
	enum failback failback;
	int failback_delay_s;
	int moves_max, moves_window_s;
	int vip_check_ms;
	int maintenance_s;
	char *metrics;			/* as written; "" off */
	struct sockaddr_storage metrics_address;	/* ss_family 0: off */
	char *notify;			/* path of a script; "" none */
	int notify_timeout_ms, notify_max;
	int events_max;
	bool realtime, lock_memory;
	int log_level;			/* enum log_level */
	uint64_t hash;			/* over every setting, the same on both nodes */
};

/* node_name: NULL = the host name.  Prints ERROR path:line: text for each mistake
 * and returns NULL; the caller exits 19.  Root takes no file, of keys neither, that
 * others could have written (fs_trusted). */
struct hagent_conf *hagent_conf_load(const char *path, const char *node_name);
void hagent_conf_free(struct hagent_conf *);
/* For a process that never fences: the passwords of fence devices, as "key=value" and at
 * most max; and all of their arguments made empty. */
size_t hagent_conf_secrets(const struct hagent_conf *, struct span *, size_t max);
void hagent_conf_wipe(struct hagent_conf *);
/* The cluster key, or two while it is changed, from a file that only root can read.  -1
 * with a message printed. */
int hagent_conf_keys(const struct hagent_conf *, struct cluster_keys *);

#endif
