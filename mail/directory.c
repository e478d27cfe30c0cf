/* directory.c - the directory process (user mailauth): answers the gates' questions
 * about addresses and passwords, and serves mailctl's socket.
 *
 * It parses passwords and operators' requests, never mail.  Hashes are computed in
 * threads; everything else is done on the loop, in memory or in one small SQLite
 * file.  On the standby it answers lookups from what has been replicated, and refuses
 * changes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "clock.h"
#include "daemon.h"
#include "directory.h"
#include "directory_int.h"
#include "index_db.h"
#include "log.h"
#include "mem.h"

#define PASSWORD_MAX 512		/* what crypt(3) takes */

/* ---- passwords ----------------------------------------------------------- */

struct auth {				/* a hash job of a gate's question */
	struct directory *dir;
	enum child_kind from;
	unsigned index;
	uint32_t id;
	bool known;
	struct dir_user user;
	char password[PASSWORD_MAX];
};

static void
answer_auth(struct directory *d, enum child_kind from, unsigned index, uint32_t id,
    enum mail_rc rc, const struct dir_user *u)
{
	struct ipc *ipc = child_peer(d->child, from, index);
	struct wire_out w;

	if (ipc == NULL)
		return;
	wire_out_init(&w);
	wire_put_u8(&w, (uint8_t)rc);
	wire_put_u64(&w, rc == MAIL_OK ? u->id : 0);
	wire_put_u16(&w, rc == MAIL_OK ? u->shard : 0);
	wire_put_str(&w, rc == MAIL_OK ? u->address : "");
	ipc_send(ipc, DM_AUTH_ANSWER, id, w.p, w.len, -1);
	wire_out_clear(&w);
}

static void
auth_free(struct auth *a)
{
	mem_wipe(a, sizeof(*a));
	free(a);
}

static void
on_verified(void *arg, bool ok, const char *hash)
{
	struct auth *a = arg;

	(void)hash;
	if (ok && a->known)
		dir_cache_add(a->dir->cache, a->user.id, a->user.hash, a->password, clock_ms());
	answer_auth(a->dir, a->from, a->index, a->id,
	    ok && a->known && !a->user.suspended ? MAIL_OK : MAIL_DENIED, &a->user);
	auth_free(a);
}

struct first { char name[ADDRESS_DOMAIN_MAX + 1]; unsigned n; };

static void
on_domain(const char *name, int64_t created_ms, uint64_t users, uint64_t aliases, void *arg)
{
	struct first *f = arg;

	(void)created_ms;
	(void)users;
	(void)aliases;
	if (f->n++ == 0)
		span_copy(span_of(name), f->name, sizeof(f->name));
}

/* A login name without a domain gets the configured one, or the only one. */
static bool
complete_login(struct directory *d, const char *name, char out[ADDRESS_MAX + 1])
{
	struct first f = { "", 0 };
	char *full;
	int rc;

	if (strchr(name, '@') != NULL) {
		rc = span_copy(span_of(name), out, ADDRESS_MAX + 1);
	} else {
		if (d->conf->default_domain[0] == '\0')
			dir_shard_domains(d->shard, on_domain, &f);
		if (f.n > 1)
			return false;
		full = mem_printf("%s@%s", name, f.n == 1 ? f.name : d->conf->default_domain);
		rc = span_copy(span_of(full), out, ADDRESS_MAX + 1);
		free(full);
	}
	if (rc == 0)
		address_fold(out);
	return rc == 0;
}

static void
on_auth(struct directory *d, enum child_kind from, unsigned index, const struct ipc_msg *m)
{
	struct auth *a = mem_alloc(sizeof(*a));
	uint64_t failures = index_db_failures(d->index.db);
	char name[1024], address[ADDRESS_MAX + 1];
	struct wire_in in;

	*a = (struct auth){ .dir = d, .from = from, .index = index, .id = m->id };
	wire_in_init(&in, m->body.p, m->body.len);
	wire_get_str(&in, name, sizeof(name));
	wire_get_str(&in, a->password, sizeof(a->password));
	if (!wire_in_ok(&in)) {		/* too long to be anybody's */
		answer_auth(d, from, index, m->id, MAIL_DENIED, NULL);
		auth_free(a);
		return;
	}
	a->known = complete_login(d, name, address) && dir_shard_user(d->shard, address, &a->user);
	if (index_db_failures(d->index.db) != failures) {	/* who it is cannot be told */
		answer_auth(d, from, index, m->id, MAIL_TEMP, NULL);
		auth_free(a);
		return;
	}
	if (a->known && !a->user.suspended
	    && dir_cache_has(d->cache, a->user.id, a->user.hash, a->password, clock_ms())) {
		answer_auth(d, from, index, m->id, MAIL_OK, &a->user);
		auth_free(a);
		return;
	}
	if (dir_hash_verify(d->hash, a->password, a->known ? a->user.hash : NULL, on_verified, a)
	    == -1) {
		answer_auth(d, from, index, m->id, MAIL_TEMP, NULL);
		auth_free(a);
	}
}

/* ---- addresses ----------------------------------------------------------- */

static void
on_rcpt(struct directory *d, struct ipc *ipc, const struct ipc_msg *m)
{
	char address[ADDRESS_MAX + 1];
	uint64_t failures = index_db_failures(d->index.db);
	struct dir_targets t = { 0 };
	struct wire_in in;
	struct wire_out w;
	enum mail_rc rc;

	wire_in_init(&in, m->body.p, m->body.len);
	wire_get_str(&in, address, sizeof(address));
	rc = wire_in_done(&in) ? dir_resolve(d->shard, &d->rules, address, &t) : MAIL_BAD;
	if (index_db_failures(d->index.db) != failures)
		rc = MAIL_TEMP;		/* nobody is unknown because of a disk */
	wire_out_init(&w);
	wire_put_u8(&w, (uint8_t)rc);
	wire_put_u16(&w, (uint16_t)t.nlocals);
	for (size_t i = 0; i < t.nlocals; i++) {
		wire_put_u64(&w, t.locals[i].user);
		wire_put_u16(&w, t.locals[i].shard);
		wire_put_str(&w, t.locals[i].address);
	}
	wire_put_u16(&w, (uint16_t)t.nremotes);
	for (size_t i = 0; i < t.nremotes; i++)
		wire_put_str(&w, t.remotes[i]);
	ipc_send(ipc, DM_RCPT_ANSWER, m->id, w.p, w.len, -1);
	wire_out_clear(&w);
	dir_targets_clear(&t);
}

/* ---- channels ------------------------------------------------------------ */

static void
on_parent(struct directory *d, const struct ipc_msg *m)
{
	if (m->type == PM_SOCKET && m->fd != -1 && d->ctl == NULL) {
		d->ctl = ctl_server_new(d->base, m->fd, dir_ctl_request, d);
		return;
	}
	if (m->type == PM_CTL_ANSWER)
		waits_answer(d->waits, CHILD_PARENT, 0, m);
	if (m->fd != -1)
		close(m->fd);
}

static void
on_message(void *arg, enum child_kind from, unsigned index, struct ipc *ipc,
    const struct ipc_msg *m)
{
	struct directory *d = arg;

	if (from == CHILD_PARENT) {
		on_parent(d, m);
		return;
	}
	if (m->type == DM_AUTH)
		on_auth(d, from, index, m);
	else if (m->type == DM_RCPT)
		on_rcpt(d, ipc, m);
	else
		log_debug("message %u of %s has no use here", m->type, child_kind_name(from));
	if (m->fd != -1)
		close(m->fd);
}

static void
on_peer(void *arg, enum child_kind kind, unsigned index, bool up)
{
	(void)arg;		/* answers to a gate that went away find no channel */
	(void)kind;
	(void)index;
	(void)up;
}

static const struct child_ops ops = { on_message, on_peer };

static void
directory_init(struct directory *d, const struct child_start *start)
{
	const struct maild_conf *c = d->conf;
	char *dir = mem_printf("%s/shards/directory", c->state_dir);

	if ((d->base = event_base_new()) == NULL)
		log_fatal("cannot make an event base");
	d->rules = (struct dir_rules){ c->delimiter[0], c->postmaster, c->default_domain,
		c->alias_depth, c->alias_targets_max };
	d->shard = dir_shard_open(dir);
	free(dir);
	d->waits = waits_new();
	d->child = child_new(d->base, start, &ops, d);
	d->hash = dir_hash_new(d->base, c->hash_threads, c->hash_queue_max, c->password_cost);
	d->cache = dir_cache_new(c->auth_cache_entries, (int64_t)c->auth_cache_s * 1000);
	d->owner = owner_new(d->base, c->owner_socket, &dir_owner_ops, d);
	d->index = (struct index_owner){ .name = "directory", .shard = SHARD_DIRECTORY,
		.db = dir_shard_index(d->shard), .owner = d->owner, .conf = c };
	index_owner_start(&d->index, d->base);
}

int
directory_main(const struct child_start *start)
{
	struct directory d = { .conf = start->conf };

	daemon_drop("mailauth", NULL, DAEMON_BOX_STORE);
	directory_init(&d, start);
	event_base_dispatch(d.base);
	dir_hash_free(d.hash);
	ctl_server_free(d.ctl);
	dir_change_free_all(&d);	/* a merge that ends with it still answers */
	owner_free(d.owner);
	child_free(d.child);
	waits_free(d.waits);
	dir_cache_free(d.cache);
	dir_shard_close(d.shard);
	index_owner_stop(&d.index);
	event_base_free(d.base);
	return 0;
}
