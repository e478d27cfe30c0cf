/* import_int.h - inside import_*.c: what was read so far. */
#ifndef HAGENT_IMPORT_INT_H
#define HAGENT_IMPORT_INT_H

#include "hagent_conf.h"
#include "import.h"

#define IMPORT_WORDS_MAX 64 /* on a line */
#define IMPORT_WORD 128	    /* bytes of one, with its NUL */
#define IMPORT_LINE_MAX 4096

struct import_link {
	bool serial;
	char name[32];	 /* of the section */
	char device[64]; /* interface or tty */
	char how[8];	 /* the directive */
	int line;
	uint16_t port;	     /* 0: of udpport */
	char address[2][46]; /* of node 0 and 1 */
	char told[2][46];    /* ucast: whose they are is not said */
	unsigned ntold;
};

struct import_vip {
	char address[46];
	unsigned prefix; /* 0: not said */
	char interface[16];
	int line;
};

struct import_resource {
	char name[65]; /* unique */
	char script[65];
	char args[HAGENT_ARGS_MAX][IMPORT_WORD];
	unsigned nargs;
	bool there; /* the script is in resource-path */
	int line;
};

struct import_respawn {
	char user[65];
	char command[HAGENT_ARGS_MAX + 1][IMPORT_WORD];
	unsigned nwords;
	bool there;
	int line;
};

struct import_time {
	long ms; /* 0: not given */
	int line;
};

struct import {
	const struct import_env *env;
	bool failed;
	char node[2][65];
	unsigned nnodes;
	int node_line;
	struct import_time keepalive, deadtime, warntime, initdead, deadping;
	struct import_time debug;    /* .ms: the level */
	struct import_time failback; /* .ms: 1 on, 0 off; .line 0: not given */
	struct import_time realtime; /* the same */
	struct import_time watchdog; /* only .line */
	char watchdog_device[64];
	long baud, port;
	int baud_line, port_line;
	struct import_link links[HAGENT_LINKS_MAX];
	unsigned nlinks;
	char pings[HAGENT_PINGS_MAX][46];
	int ping_line[HAGENT_PINGS_MAX];
	unsigned npings;
	struct import_vip vips[HAGENT_VIPS_MAX];
	unsigned nvips;
	struct import_resource resources[HAGENT_RESOURCES_MAX];
	unsigned nresources;
	struct import_respawn respawns[HAGENT_RESPAWNS_MAX];
	unsigned nrespawns;
	char preferred[65]; /* the first of haresources */
	int preferred_line;
	bool mailpair; /* our own maild is among the resources */
};

/* A line cut into words, comments taken off. */
struct import_words {
	int line;
	unsigned n;
	char w[IMPORT_WORDS_MAX][IMPORT_WORD];
};

/* import_text.c */
void import_note(struct import *, enum import_level, enum import_file, int line,
    const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* The next line that holds words; a backslash at the end of a line joins it with the
 * next.  False at the end.  *line counts on. */
bool import_next(struct import *, enum import_file, const char *separators,
    struct span *rest, int *line, struct import_words *);
/* "2", "200ms", "1.5s" as milliseconds; -1. */
long import_ms(const char *);
bool import_is_address(const char *, int *family);
bool import_copy(char *dst, size_t size, const char *src); /* false: too long */
/* The network of this machine that holds the address, or NULL. */
const struct import_net *import_net_of(const struct import_env *, const char *address);

/* import_resources.c */
void import_find_vips(struct import *); /* prefix and interface where not said */
/* import_links.c */
void import_find_links(struct import *); /* both nodes' addresses */
void import_link_udp(struct import *, const char *how, const char *device, int line,
    uint16_t port, const char *told);
void import_link_serial(struct import *, const char *device, int line);

#endif
