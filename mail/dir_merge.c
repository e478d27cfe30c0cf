/* dir_merge.c - two histories of the directory become one: what this side changed, as a
 * file for the other node; and what the other side changed, proposed here.  The rules are
 * in merge_dir.h.
 *
 * The whole directory travels, with marks at what was done since the histories parted:
 * who was deleted by one side is still needed from the other one.  A merge that is cut
 * short is begun again from the start, and goes on where it was. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "change_file.h"
#include "directory_int.h"
#include "index_db.h"
#include "log.h"
#include "mem.h"
#include "merge_dir.h"
#include "ownertail.h"

#define UNDER_WAY_MAX 64
#define NOTES_BYTES (48u << 10)		/* of the report */

/* Items of the file. */
enum item {
	ITEM_LAYOUT = 1,		/* u16 shards */
	ITEM_USER,			/* u64 id, u16 shard, u8 MARK_ bits, str address, str hash */
	ITEM_DOMAIN,			/* u8 MARK_ bits, str name */
	ITEM_ALIAS,			/* u8 MARK_ bits, str address, str target */
	ITEM_CUT,			/* u8 kind, str name, str target */
	ITEM_GONE,			/* u64 id */
};
enum { MARK_MADE = 1, MARK_PASSWORD = 2, MARK_SUSPEND = 4, MARK_SUSPENDED = 8 };

struct side {				/* owns its texts, but for cuts of marks */
	struct merge_dir_side s;
	bool own_cuts;
};

struct dir_merge {
	struct directory *dir;
	struct side ours, theirs;
	struct merge_dir_marks *marks;
	struct merge_dir merge;
	size_t at;			/* ops proposed */
	unsigned open;			/* and not answered */
	size_t overtaken;		/* somebody else was there before */
	const char *error;
};

/* ---- a side --------------------------------------------------------------- */

static void *
more(void *v, size_t n, size_t size)
{
	return (n & (n - 1)) == 0 ? mem_grow(v, n == 0 ? 1 : n * 2, size) : v;
}

static void
free_text(const char *text)
{
	free((char *)(uintptr_t)text);
}

static void
side_clear(struct side *x)
{
	struct merge_dir_side *s = &x->s;

	for (size_t i = 0; i < s->nusers; i++) {
		free_text(s->users[i].address);
		free_text(s->users[i].hash);
	}
	for (size_t i = 0; i < s->ndomains; i++)
		free_text(s->domains[i].name);
	for (size_t i = 0; i < s->naliases; i++) {
		free_text(s->aliases[i].address);
		free_text(s->aliases[i].target);
	}
	for (size_t i = 0; x->own_cuts && i < s->ncuts; i++) {
		free_text(s->cuts[i].name);
		free_text(s->cuts[i].target);
	}
	free(s->users);
	free(s->domains);
	free(s->aliases);
	free(s->gone);
	if (x->own_cuts)
		free(s->cuts);
	memset(x, 0, sizeof(*x));
}

static void
side_user(struct merge_dir_side *s, const struct dir_user *u, uint8_t marks)
{
	s->users = more(s->users, s->nusers, sizeof(*s->users));
	s->users[s->nusers++] = (struct merge_dir_user){ u->id, u->shard, u->suspended,
		(marks & MARK_MADE) != 0, (marks & MARK_PASSWORD) != 0,
		(marks & MARK_SUSPEND) != 0, mem_dup(u->address), mem_dup(u->hash) };
}

static void
side_domain(struct merge_dir_side *s, const char *name, uint8_t marks)
{
	s->domains = more(s->domains, s->ndomains, sizeof(*s->domains));
	s->domains[s->ndomains++] = (struct merge_dir_domain){ mem_dup(name),
		(marks & MARK_MADE) != 0 };
}

static void
side_alias(struct merge_dir_side *s, const char *address, const char *target, uint8_t marks)
{
	s->aliases = more(s->aliases, s->naliases, sizeof(*s->aliases));
	s->aliases[s->naliases++] = (struct merge_dir_alias){ mem_dup(address), mem_dup(target),
		(marks & MARK_MADE) != 0 };
}

static void
side_gone(struct merge_dir_side *s, uint64_t id)
{
	s->gone = more(s->gone, s->ngone, sizeof(*s->gone));
	s->gone[s->ngone++] = id;
}

/* ---- this node's side ------------------------------------------------------- */

static void
on_user(const struct dir_user *u, void *arg)
{
	side_user(arg, u, 0);
}

static void
on_domain(const char *name, int64_t created_ms, uint64_t users, uint64_t aliases, void *arg)
{
	(void)created_ms;
	(void)users;
	(void)aliases;
	side_domain(arg, name, 0);
}

static void
on_alias(const char *address, const char *target, void *arg)
{
	side_alias(arg, address, target, 0);
}

static void
on_gone(uint64_t id, void *arg)
{
	side_gone(arg, id);
}

/* NULL, or why the tail cannot be used. */
static const char *
read_tail(struct directory *d, struct merge_dir_marks *marks, int fd)
{
	struct owner_tail t;
	struct owner_record r;
	int rc;

	if (owner_tail_open(&t, fd) == -1)
		return "the records cannot be read";
	while ((rc = owner_tail_next(&t, &r)) == 1)
		if (r.shard == SHARD_DIRECTORY && !merge_dir_marks_add(marks, r.type, r.payload))
			log_warnx("merge: record lsn=%llu type=%u is malformed, left out",
			    (unsigned long long)r.lsn, r.type);
	owner_tail_close(&t);
	if (rc == -1)
		return "the records cannot be read";
	if (t.lsn > index_db_applied(d->index.db))
		return "not all records are applied here";
	return NULL;
}

/* What is here, and what of it was done since; NULL, or why it cannot be told. */
static const char *
look(struct directory *d, struct side *x, struct merge_dir_marks *marks, bool whole, int tail_fd)
{
	uint64_t failures = index_db_failures(d->index.db);
	const char *why = d->index.why != MAIL_OK ? "the directory's file does not take records now"
						  : read_tail(d, marks, tail_fd);

	x->s.whole = whole;
	if (why != NULL)
		return why;
	x->s.layout = (uint16_t)dir_shard_layout(d->shard);
	dir_shard_users(d->shard, NULL, on_user, &x->s);
	dir_shard_domains(d->shard, on_domain, &x->s);
	dir_shard_aliases(d->shard, NULL, on_alias, &x->s);
	dir_shard_gone(d->shard, on_gone, &x->s);
	merge_dir_marks_set(marks, &x->s);
	return index_db_failures(d->index.db) == failures ? NULL : "the directory cannot be read";
}

static void
write_users(struct change_out *o, const struct merge_dir_side *s)
{
	struct wire_out w;

	wire_out_init(&w);
	for (size_t i = 0; i < s->nusers; i++) {
		const struct merge_dir_user *u = &s->users[i];

		wire_put_u64(&w, u->id);
		wire_put_u16(&w, u->shard);
		wire_put_u8(&w, (uint8_t)((u->made ? MARK_MADE : 0) | (u->password ? MARK_PASSWORD : 0)
		    | (u->suspend ? MARK_SUSPEND : 0) | (u->suspended ? MARK_SUSPENDED : 0)));
		wire_put_str(&w, u->address);
		wire_put_str(&w, u->hash);
		change_out_item(o, ITEM_USER, &w);
	}
}

static void
write_side(struct change_out *o, const struct merge_dir_side *s)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u16(&w, s->layout);
	change_out_item(o, ITEM_LAYOUT, &w);
	write_users(o, s);
	for (size_t i = 0; i < s->ndomains; i++) {
		wire_put_u8(&w, s->domains[i].made ? MARK_MADE : 0);
		wire_put_str(&w, s->domains[i].name);
		change_out_item(o, ITEM_DOMAIN, &w);
	}
	for (size_t i = 0; i < s->naliases; i++) {
		wire_put_u8(&w, s->aliases[i].made ? MARK_MADE : 0);
		wire_put_str(&w, s->aliases[i].address);
		wire_put_str(&w, s->aliases[i].target);
		change_out_item(o, ITEM_ALIAS, &w);
	}
	for (size_t i = 0; i < s->ncuts; i++) {
		wire_put_u8(&w, (uint8_t)s->cuts[i].kind);
		wire_put_str(&w, s->cuts[i].name);
		wire_put_str(&w, s->cuts[i].target);
		change_out_item(o, ITEM_CUT, &w);
	}
	for (size_t i = 0; i < s->ngone; i++) {
		wire_put_u64(&w, s->gone[i]);
		change_out_item(o, ITEM_GONE, &w);
	}
}

void
dir_merge_changes(struct directory *d, uint64_t fork, bool whole, int tail_fd)
{
	struct merge_dir_marks *marks = merge_dir_marks_new();
	char *dir = mem_printf("%s/shards/directory", d->conf->state_dir);
	struct side x = { .own_cuts = false };
	const char *why = look(d, &x, marks, whole, tail_fd);
	struct change_out o;
	int fd = -1;

	if (why == NULL) {
		change_out_open(&o, dir, SHARD_DIRECTORY, fork, whole);
		write_side(&o, &x.s);
		if ((fd = change_out_end(&o)) == -1)
			why = strerror(errno);
	}
	if (why != NULL)
		log_err("directory: its changes behind lsn=%llu cannot be written: %s",
		    (unsigned long long)fork, why);
	else
		log_info("directory: changes behind lsn=%llu written users=%zu domains=%zu "
			 "aliases=%zu", (unsigned long long)fork, x.s.nusers, x.s.ndomains, x.s.naliases);
	owner_changes_done(d->owner, SHARD_DIRECTORY, fd);
	side_clear(&x);
	merge_dir_marks_free(marks);
	free(dir);
	close(tail_fd);
}

/* ---- the other node's side --------------------------------------------------- */

/* What no operator could have made here does not come in by a merge either. */
static bool
names_good(uint8_t type, const char *name, const char *target)
{
	char copy[ADDRESS_MAX + 1];

	if (type == ITEM_DOMAIN)
		return address_domain_ok(span_of(name));
	if (type == ITEM_USER || type == ITEM_ALIAS)
		return address_mailbox(span_of(name), copy) == PARSE_OK &&
		    (type == ITEM_USER || address_mailbox(span_of(target), copy) == PARSE_OK);
	return true;
}

static bool
read_item(struct side *x, uint8_t type, struct span body)
{
	struct dir_user u = { 0 };
	char name[ADDRESS_MAX + 1] = "", target[ADDRESS_MAX + 1] = "";
	struct wire_in in;
	uint8_t marks = 0;

	wire_in_init(&in, body.p, body.len);
	if (type == ITEM_LAYOUT)
		x->s.layout = wire_get_u16(&in);
	else if (type == ITEM_GONE || type == ITEM_USER)
		u.id = wire_get_u64(&in);
	if (type == ITEM_USER)
		u.shard = wire_get_u16(&in);
	if (type >= ITEM_USER && type <= ITEM_CUT) {
		marks = wire_get_u8(&in);
		wire_get_str(&in, name, sizeof(name));
	}
	if (type == ITEM_USER)
		wire_get_str(&in, u.hash, sizeof(u.hash));
	else if (type == ITEM_ALIAS || type == ITEM_CUT)
		wire_get_str(&in, target, sizeof(target));
	if (!wire_in_done(&in) || type > ITEM_GONE || !names_good(type, name, target)
	    || (type == ITEM_CUT && marks > MERGE_DIR_ALIAS) || (type == ITEM_USER && (u.id == 0 || u.id > INT64_MAX)))
		return false;
	if (type == ITEM_USER) {
		memcpy(u.address, name, sizeof(name));
		u.suspended = (marks & MARK_SUSPENDED) != 0;
		side_user(&x->s, &u, marks);
	} else if (type == ITEM_DOMAIN)
		side_domain(&x->s, name, marks);
	else if (type == ITEM_ALIAS)
		side_alias(&x->s, name, target, marks);
	else if (type == ITEM_GONE)
		side_gone(&x->s, u.id);
	else if (type == ITEM_CUT) {
		x->s.cuts = more(x->s.cuts, x->s.ncuts, sizeof(*x->s.cuts));
		x->s.cuts[x->s.ncuts++] = (struct merge_dir_cut){ (enum merge_dir_kind)marks,
			mem_dup(name), mem_dup(target) };
	}
	return true;
}

static const char *
read_theirs(struct side *x, uint64_t fork, int fd)
{
	struct change_in in;
	struct span body;
	uint8_t type;
	int rc;

	x->own_cuts = true;
	if (change_in_open(&in, fd, SHARD_DIRECTORY, fork) == -1)
		return "what the other node sent is no such file";
	while ((rc = change_in_next(&in, &type, &body)) == 1)
		if (!read_item(x, type, body)) {
			rc = -1;
			break;
		}
	x->s.whole = in.whole;
	change_in_close(&in);
	return rc == 0 ? NULL : "what the other node sent is damaged";
}

/* ---- the report -------------------------------------------------------------- */

/* One line for an operator. */
static char *
note_text(const struct merge_dir_note *n)
{
	switch (n->why) {
	case MERGE_DIR_KEPT:
		return mem_printf("user %s was deleted on one node only: kept, suspended, because mail "
		    "may have come on the other", n->name);
	case MERGE_DIR_APART:
		return mem_printf("user %s: somebody else has this address on the active; the other "
		    "node's user is now %s, suspended", n->name, n->other);
	case MERGE_DIR_PASSWORD:
		return mem_printf("user %s: both nodes changed the password; the active's stands",
		    n->name);
	case MERGE_DIR_SUSPENSION:
		return mem_printf("user %s: both nodes suspended it or not; the active's word stands",
		    n->name);
	case MERGE_DIR_UNSURE:
		return mem_printf("user %s may have been deleted on the active: added, suspended",
		    n->name);
	case MERGE_DIR_IN_USE:
		break;
	}
	return mem_printf("domain %s was deleted on one node and is in use on the other: it stays",
	    n->name);
}

static json_t *
notes_json(const struct merge_dir *m, size_t *left_off)
{
	json_t *list = json_array();
	size_t bytes = 0, i;

	for (i = 0; i < m->nnotes && bytes < NOTES_BYTES; i++) {
		char *text = note_text(&m->notes[i]);

		bytes += 8 + 2 * strlen(text);	/* as much as escaping makes of an address */
		json_array_append_new(list, json_string(text));
		free(text);
	}
	*left_off = m->nnotes - i;
	return list;
}

static char *
report(const struct dir_merge *m, bool dry)
{
	const struct merge_dir_report *r = &m->merge.report;
	size_t left_off;
	json_t *notes = notes_json(&m->merge, &left_off);
	json_t *j = json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
			      "s:o, s:I}",
	    "part", "directory", "dry", dry, "proposed", (json_int_t)m->merge.nops, "users_added",
	    (json_int_t)r->users_added, "users_kept", (json_int_t)r->users_kept, "users_renamed",
	    (json_int_t)r->users_apart, "passwords", (json_int_t)r->passwords, "suspensions",
	    (json_int_t)r->suspensions, "user_conflicts", (json_int_t)r->conflicts, "domains_added",
	    (json_int_t)r->domains_added, "domains_deleted", (json_int_t)r->domains_deleted,
	    "aliases_added", (json_int_t)r->aliases_added, "aliases_deleted",
	    (json_int_t)r->aliases_deleted, "overtaken", (json_int_t)m->overtaken, "notes", notes,
	    "notes_left_off", (json_int_t)left_off);
	char *text = json_dumps(j, JSON_COMPACT);

	json_decref(j);
	if (text == NULL)
		log_fatal("out of memory");
	return text;
}

static void
say_notes(const struct merge_dir *m)
{
	for (size_t i = 0; i < m->nnotes; i++)
		log_info("directory: merge %s name=%s now=%s", merge_dir_why_name(m->notes[i].why),
		    log_safe(m->notes[i].name), log_safe(m->notes[i].other));
}

static void
merge_free(struct dir_merge *m)
{
	merge_dir_clear(&m->merge);
	side_clear(&m->ours);
	side_clear(&m->theirs);
	merge_dir_marks_free(m->marks);
	free(m);
}

static void
answer(struct dir_merge *m, bool dry)
{
	struct directory *d = m->dir;
	char *text;

	if (m->error != NULL) {
		log_err("directory: not merged: %s", m->error);
		text = mem_printf("{\"error\": \"directory: %s\"}", m->error);
	} else {
		say_notes(&m->merge);
		log_info("directory: merged dry=%d proposed=%zu conflicts=%zu", dry, m->merge.nops,
		    m->merge.report.conflicts);
		text = report(m, dry);
	}
	owner_merge_done(d->owner, SHARD_DIRECTORY, m->error == NULL, text);
	free(text);
	if (d->merge == m)
		d->merge = NULL;
	merge_free(m);
}

/* ---- proposing ---------------------------------------------------------------- */

static void propose(struct dir_merge *);

static void
on_proposed(void *arg, enum mail_rc rc, enum owner_refusal refused)
{
	struct dir_merge *m = arg;

	m->open--;
	if (refused != 0)
		m->error = owner_refusal_name(refused);
	else if (rc == MAIL_EXISTS || rc == MAIL_UNKNOWN)
		m->overtaken++;		/* an operator changed it in the meantime */
	else if (rc != MAIL_OK)
		m->error = mail_rc_name(rc);
	propose(m);
}

static void
propose(struct dir_merge *m)
{
	struct wire_out w;

	while (m->error == NULL && m->open < UNDER_WAY_MAX && m->at < m->merge.nops) {
		const struct merge_dir_op *op = &m->merge.ops[m->at++];

		m->open++;
		wire_out_init(&w);
		merge_dir_record(op, &w);
		dir_change_put(m->dir, op->type, &w, on_proposed, m);
	}
	if (m->open == 0)
		answer(m, false);
}

void
dir_merge_start(struct directory *d, const struct owner_merge *how)
{
	struct dir_merge *m = mem_alloc(sizeof(*m));

	m->dir = d;
	m->marks = merge_dir_marks_new();
	if (d->merge != NULL)
		m->error = "a merge is under way";
	else if (!how->dry && !owner_role(d->owner)->active)
		m->error = "this node is not active";
	if (m->error == NULL)
		m->error = look(d, &m->ours, m->marks, how->whole, how->tail_fd);
	if (m->error == NULL)
		m->error = read_theirs(&m->theirs, how->fork, how->theirs_fd);
	if (m->error == NULL)
		merge_dir(&m->merge, &m->ours.s, &m->theirs.s, &m->error);
	close(how->tail_fd);
	close(how->theirs_fd);
	if (m->error != NULL || how->dry) {
		answer(m, how->dry);
		return;
	}
	d->merge = m;
	propose(m);
}
