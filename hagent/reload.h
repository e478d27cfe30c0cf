/* reload.h - reads and checks a new configuration beside the running one.
 *
 * The checking is done in a child, because it may take as long as the agents of OCF
 * resources need for their meta-data, and its messages are collected; then the file is
 * read here, compared (conf_change.h), and addresses that would go up are probed for.
 * Nothing of the running configuration is touched. */
#ifndef HAGENT_RELOAD_H
#define HAGENT_RELOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "hagent_conf.h"

#define RELOAD_TEXT 600
#define RELOAD_HINT 200

struct event_base;
struct reload;

struct reload_ask {
	const char *path, *node; /* as given to hagentd; node may be NULL */
	const struct hagent_conf *now;
	bool started;	  /* the group is up here */
	bool scripts;	  /* resource scripts run just now */
	uint8_t peer_key; /* the other node signs with it; 0 not known */
};
struct reload_result {
	int code; /* enum ctl_exit */
	char text[RELOAD_TEXT], hint[RELOAD_HINT];
	struct hagent_conf *conf; /* code 0: the callee's */
	struct cluster_keys keys;
	uint32_t resources, vips; /* new ones that have to go up, by index */
	bool moved;		  /* resources have other indexes than before */
};
typedef void reload_done_cb(void *arg, struct reload_result *);

/* done is called exactly once, from the loop; the caller frees the reload behind it. */
struct reload *reload_new(
    struct event_base *, const struct reload_ask *, reload_done_cb *, void *arg);
void reload_free(struct reload *); /* NULL is fine; done is not called any more */
/* In a forked child: the keys and passwords that it has read. */
void reload_wipe(struct reload *);	/* NULL is fine */
/* A child ended: true when it was ours. */
bool reload_reaped(struct reload *, pid_t, int wait_status);
/* What a daemon and its check do: file, keys, resources.  NULL: printed. */
struct hagent_conf *reload_load(
    const char *path, const char *node, struct cluster_keys *);

#endif
