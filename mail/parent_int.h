/* parent_int.h - the inside of the parent process, shared by parent.c (processes and
 * channels), parent_serve.c (listening) and parent_ctl.c (operators). */
#ifndef MAIL_PARENT_INT_H
#define MAIL_PARENT_INT_H

#include <stdbool.h>
#include <stdint.h>
#include <jansson.h>
#include <sys/types.h>

#include "child.h"
#include "maild_conf.h"
#include "wire.h"

#define PROCS_MAX (CONF_GATES_MAX + CONF_STORES_MAX + 2)

struct event;
struct event_base;
struct parent;
struct parent_call;

struct proc {
	struct parent *parent;
	enum child_kind kind;
	unsigned index;
	pid_t pid;			/* 0: does not run */
	struct ipc *ipc;
	struct event *respawn;
	int64_t started_ms;
	uint32_t starts, quick;		/* quick: ends shortly after the start, in a row */
	bool ready;			/* owners: syncd made them active */
	uint64_t gen, lsn;
	uint8_t copies;
	bool serving;			/* gates: said SERVING 1 */
};

struct parent {
	struct event_base *base;
	const struct maild_conf *conf;
	SSL_CTX *tls;
	struct lease *lease;		/* NULL: a node without an agent */
	int control_fd;			/* listening; each directory process gets a copy */
	struct proc procs[PROCS_MAX];
	size_t nprocs;
	enum { LISTEN_CLOSED, LISTEN_OPENING, LISTEN_OPEN, LISTEN_CLOSING } listening;
	struct event *sig_term, *sig_int, *sig_hup, *sig_chld;
	struct parent_call *calls;
	uint32_t last_id;
	struct wire_out state;		/* PM_STATE of the directory, for new gates */
	bool ending;
	int rc;				/* what maild ends with */
};

/* parent_serve.c */
bool parent_owners_ready(const struct parent *);
void parent_open(struct parent *);		/* as soon as the owners are ready */
void parent_close(struct parent *, uint32_t grace_ms);
void parent_serve_one(struct parent *, struct proc *);	/* a new process while open */
void parent_progress(struct parent *);		/* something changed: go on, or finish */
const char *parent_listening_name(const struct parent *);
/* parent_ctl.c */
void parent_ctl(struct parent *, struct proc *directory, uint32_t id, struct span json);
void parent_ctl_answer(struct parent *, struct proc *from, uint32_t id, struct span json);
void parent_ctl_gone(struct parent *, struct proc *);
void parent_ctl_progress(struct parent *);	/* listening reached a new state */
void parent_ctl_free(struct parent *);

#endif
