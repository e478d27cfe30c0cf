/* dir_ctl.c - mailctl's requests: domains, users, aliases; what concerns listeners,
 * stores and the queue goes to the parent.
 *
 * Reading is for everybody who may open the socket, changing for root.  A change is
 * checked against what is known now, for a good message; what counts is what it meets
 * when it is applied, behind everything that was proposed before it.  A client that
 * hangs up loses the answer, not the change. */
#include <stdlib.h>
#include <string.h>

#include "dir_id.h"
#include "directory_int.h"
#include "hex.h"
#include "log.h"
#include "mem.h"

/* ---- answers ------------------------------------------------------------- */

static void
wrong(struct ctl_call *call, const char *text)
{
	ctl_done(call, CTL_USAGE, NULL, text, NULL, NULL);
}

static void
done_rc(struct ctl_call *call, enum mail_rc rc, enum owner_refusal refused, const char *name)
{
	char *text = NULL;

	if (refused == OWNER_NOT_ACTIVE)
		ctl_done(call, CTL_REFUSED, NULL, "refused: this node is standby", NULL,
		    "run it on the active node (hactl status names it)");
	else if (refused == OWNER_NOT_TWICE)
		ctl_done(call, CTL_NO_PEER, NULL, "refused: it cannot be stored on both nodes now",
		    "the commit rule wants two copies", "hactl status");
	else if (refused != 0)
		ctl_done(call, CTL_CRITICAL, NULL, "the log does not take changes now",
		    owner_refusal_name(refused), "hactl status");
	else if (rc == MAIL_OK)
		ctl_done(call, CTL_OK, NULL, NULL, NULL, NULL);
	else if (rc == MAIL_EXISTS)
		ctl_done(call, CTL_CONFLICT, NULL, text = mem_printf("%s exists, or is in use", name),
		    NULL, NULL);
	else if (rc == MAIL_UNKNOWN)
		ctl_done(call, CTL_NOT_FOUND, NULL, text = mem_printf("there is no %s", name), NULL,
		    NULL);
	else
		ctl_done(call, CTL_CRITICAL, NULL, "failed", mail_rc_name(rc), NULL);
	free(text);
}

/* ---- changes under way --------------------------------------------------- */

struct dir_req {			/* a request that waits for a hash, a record, the parent */
	struct directory *dir;
	struct ctl_call *call;		/* NULL: the client hung up */
	char name[ADDRESS_MAX + 1];
	bool add;			/* user.add, not user.passwd */
};

static void
on_gone(struct ctl_call *call, void *arg)
{
	struct dir_req *r = arg;

	(void)call;
	r->call = NULL;
}

static struct dir_req *
req_new(struct directory *d, struct ctl_call *call, const char *name)
{
	struct dir_req *r = mem_alloc(sizeof(*r));

	r->dir = d;
	r->call = call;
	span_copy(span_of(name), r->name, sizeof(r->name));
	ctl_on_gone(call, on_gone, r);
	return r;
}

static void
on_changed(void *arg, enum mail_rc rc, enum owner_refusal refused)
{
	struct dir_req *r = arg;

	if (r->call != NULL)
		done_rc(r->call, rc, refused, r->name);
	free(r);
}

static bool
dry_run(json_t *req)
{
	return json_is_true(json_object_get(req, "dry_run"));
}

static void
tried(struct ctl_call *call, enum mail_rc rc, const char *name)
{
	if (rc != MAIL_OK)
		done_rc(call, rc, 0, name);
	else
		ctl_done(call, CTL_OK, json_pack("{s:s}", "text", "this would be done; nothing changed"),
		    NULL, NULL, NULL);
}

static void
put(struct directory *d, struct ctl_call *call, json_t *req, enum dir_record type,
    const char *name, struct wire_out *w)
{
	if (dry_run(req)) {
		tried(call, dir_shard_try(d->shard, type, wire_out_span(w)), name);
		wire_out_clear(w);
	} else
		dir_change_put(d, type, w, on_changed, req_new(d, call, name));
}

/* ---- arguments ----------------------------------------------------------- */

/* A string of the request in lower case; false when missing or too long. */
static bool
text_arg(json_t *req, const char *key, char *out, size_t size)
{
	const char *v = json_string_value(json_object_get(req, key));

	if (v == NULL || span_copy(span_of(v), out, size) == -1)
		return false;
	address_fold(out);
	return true;
}

static bool
address_arg(struct ctl_call *call, json_t *req, char out[ADDRESS_MAX + 1])
{
	if (text_arg(req, "address", out, ADDRESS_MAX + 1)
	    && address_mailbox(span_of(out), out) == PARSE_OK)
		return true;
	wrong(call, "that is no mail address");
	return false;
}

static bool
domain_arg(struct ctl_call *call, json_t *req, char out[ADDRESS_MAX + 1])
{
	if (text_arg(req, "name", out, ADDRESS_MAX + 1) && address_domain_ok(span_of(out)))
		return true;
	wrong(call, "that is no domain name");
	return false;
}

/* ---- domains ------------------------------------------------------------- */

static void
domain_change(struct directory *d, struct ctl_call *call, json_t *req, enum dir_record type)
{
	char name[ADDRESS_MAX + 1];
	struct wire_out w;

	if (!domain_arg(call, req, name))
		return;
	wire_out_init(&w);
	wire_put_str(&w, name);
	put(d, call, req, type, name, &w);
}

static void
op_domain_add(struct directory *d, struct ctl_call *call, json_t *req)
{
	domain_change(d, call, req, DIR_DOMAIN_ADD);
}

static void
op_domain_delete(struct directory *d, struct ctl_call *call, json_t *req)
{
	domain_change(d, call, req, DIR_DOMAIN_DELETE);
}

struct listing {
	struct ctl_call *call;
	const char *only;
	unsigned n;
};

static void
list_domain(const char *name, int64_t created_ms, uint64_t users, uint64_t aliases, void *arg)
{
	struct listing *l = arg;

	if (l->only != NULL && strcmp(name, l->only) != 0)
		return;
	l->n++;
	ctl_part(l->call, json_pack("{s:i, s:s, s:s, s:I, s:I, s:I}", "schema", 1, "part", "domain",
	    "name", name, "created_ms", (json_int_t)created_ms, "users", (json_int_t)users,
	    "aliases", (json_int_t)aliases));
}

static void
op_domain_list(struct directory *d, struct ctl_call *call, json_t *req)
{
	struct listing l = { call, NULL, 0 };

	(void)req;
	dir_shard_domains(d->shard, list_domain, &l);
	ctl_done(call, CTL_OK, NULL, NULL, NULL, NULL);
}

static void
op_domain_show(struct directory *d, struct ctl_call *call, json_t *req)
{
	char name[ADDRESS_MAX + 1];
	struct listing l = { call, name, 0 };

	if (!domain_arg(call, req, name))
		return;
	dir_shard_domains(d->shard, list_domain, &l);
	done_rc(call, l.n > 0 ? MAIL_OK : MAIL_UNKNOWN, 0, name);
}

/* ---- users --------------------------------------------------------------- */

static void
list_user(const struct dir_user *u, void *arg)
{
	struct listing *l = arg;
	char id[24];
	uint8_t be[8];

	wire_store64(be, u->id);
	ctl_part(l->call, json_pack("{s:i, s:s, s:s, s:s, s:i, s:b, s:I}", "schema", 1, "part",
	    "user", "address", u->address, "id", hex_encode(be, sizeof(be), id), "shard",
	    (int)u->shard, "suspended", u->suspended, "created_ms", (json_int_t)u->created_ms));
}

static void
op_user_list(struct directory *d, struct ctl_call *call, json_t *req)
{
	struct listing l = { call, NULL, 0 };
	char name[ADDRESS_MAX + 1];
	bool all = json_object_get(req, "name") == NULL;

	if (!all && !domain_arg(call, req, name))
		return;
	dir_shard_users(d->shard, all ? NULL : name, list_user, &l);
	ctl_done(call, CTL_OK, NULL, NULL, NULL, NULL);
}

static void
op_user_show(struct directory *d, struct ctl_call *call, json_t *req)
{
	struct listing l = { call, NULL, 0 };
	char address[ADDRESS_MAX + 1];
	struct dir_user u;
	bool found;

	if (!address_arg(call, req, address))
		return;
	if ((found = dir_shard_user(d->shard, address, &u)))
		list_user(&u, &l);
	done_rc(call, found ? MAIL_OK : MAIL_UNKNOWN, 0, address);
}

/* The record that makes a user: its id, and the shard that follows from it. */
static void
user_record(const struct directory *d, struct wire_out *w, const char *address, const char *hash)
{
	uint64_t id = dir_shard_new_id(d->shard, address);

	wire_out_init(w);
	wire_put_u64(w, id);
	wire_put_u16(w, dir_id_shard(id, d->conf->shards));
	wire_put_str(w, address);
	wire_put_str(w, hash);
}

static void
on_hashed(void *arg, bool ok, const char *hash)
{
	struct dir_req *r = arg;
	struct wire_out w;

	if (!ok) {
		if (r->call != NULL)
			ctl_done(r->call, CTL_CRITICAL, NULL, "the password cannot be hashed", NULL,
			    NULL);
		free(r);
		return;
	}
	if (r->add)
		user_record(r->dir, &w, r->name, hash);
	else {
		wire_out_init(&w);
		wire_put_str(&w, r->name);
		wire_put_str(&w, hash);
	}
	dir_change_put(r->dir, r->add ? DIR_USER_ADD : DIR_USER_PASSWORD, &w, on_changed, r);
}

static void
user_password(struct directory *d, struct ctl_call *call, json_t *req, bool add)
{
	const char *password = json_string_value(json_object_get(req, "password"));
	char address[ADDRESS_MAX + 1];
	struct dir_user u;
	struct dir_req *r;
	bool known;

	if (!address_arg(call, req, address))
		return;
	known = dir_shard_user(d->shard, address, &u);
	if (password == NULL || password[0] == '\0' || strlen(password) > 500)
		wrong(call, "a password has 1 to 500 bytes");
	else if (add && !dir_shard_domain(d->shard, strrchr(address, '@') + 1))
		done_rc(call, MAIL_UNKNOWN, 0, strrchr(address, '@') + 1);
	else if (known == add)
		done_rc(call, add ? MAIL_EXISTS : MAIL_UNKNOWN, 0, address);
	else if (dry_run(req))
		tried(call, MAIL_OK, address);
	else {
		r = req_new(d, call, address);
		r->add = add;
		if (dir_hash_make(d->hash, password, on_hashed, r) == -1) {
			free(r);
			ctl_on_gone(call, NULL, NULL);
			ctl_done(call, CTL_CONFLICT, NULL, "too many passwords wait to be hashed",
			    NULL, NULL);
		}
	}
}

static void
op_user_add(struct directory *d, struct ctl_call *call, json_t *req)
{
	user_password(d, call, req, true);
}

static void
op_user_passwd(struct directory *d, struct ctl_call *call, json_t *req)
{
	user_password(d, call, req, false);
}

static void
op_user_suspend(struct directory *d, struct ctl_call *call, json_t *req)
{
	char address[ADDRESS_MAX + 1];
	struct wire_out w;

	if (!address_arg(call, req, address))
		return;
	wire_out_init(&w);
	wire_put_str(&w, address);
	wire_put_u8(&w, !json_is_false(json_object_get(req, "on")));
	put(d, call, req, DIR_USER_SUSPEND, address, &w);
}

static void
op_user_delete(struct directory *d, struct ctl_call *call, json_t *req)
{
	char address[ADDRESS_MAX + 1];
	struct wire_out w;

	if (!address_arg(call, req, address))
		return;
	wire_out_init(&w);
	wire_put_str(&w, address);
	put(d, call, req, DIR_USER_DELETE, address, &w);
}

/* ---- import: many users in one request ----------------------------------- */

struct import {
	struct directory *dir;
	struct ctl_call *call;
	unsigned open, added, failed;
	bool dry;			/* --dry-run: only checked */
};

struct import_user {
	struct import *import;
	char address[ADDRESS_MAX + 1];
};

static void
on_import_gone(struct ctl_call *call, void *arg)
{
	struct import *im = arg;

	(void)call;
	im->call = NULL;
}

static void
import_end(struct import *im)
{
	if (--im->open > 0)
		return;
	if (im->call != NULL)
		ctl_done(im->call, im->failed == 0 ? CTL_OK : im->added == 0 ? CTL_CONFLICT : CTL_HALF_DONE,
		    json_pack("{s:i, s:i}", "added", (int)im->added, "failed", (int)im->failed),
		    im->failed == 0 ? NULL : "some users were not added", NULL, NULL);
	free(im);
}

static void
import_failed(struct import *im, const char *address, const char *why)
{
	im->failed++;
	if (im->call != NULL)
		ctl_part(im->call, json_pack("{s:i, s:s, s:s, s:s}", "schema", 1, "part", "failed",
		    "address", address, "why", why));
}

static void
on_import_changed(void *arg, enum mail_rc rc, enum owner_refusal refused)
{
	struct import_user *u = arg;

	if (rc == MAIL_OK && refused == 0)
		u->import->added++;
	else
		import_failed(u->import, u->address,
		    refused != 0 ? owner_refusal_name(refused) : mail_rc_name(rc));
	import_end(u->import);
	free(u);
}

static void
on_import_hashed(void *arg, bool ok, const char *hash)
{
	struct import_user *u = arg;
	struct wire_out w;

	if (!ok) {
		import_failed(u->import, u->address, "the password cannot be hashed");
		import_end(u->import);
		free(u);
		return;
	}
	user_record(u->import->dir, &w, u->address, hash);
	dir_change_put(u->import->dir, DIR_USER_ADD, &w, on_import_changed, u);
}

/* NULL, or why this line cannot be a user. */
static const char *
import_check(struct import *im, const char *address, const char *password, char *out)
{
	struct dir_user u;

	if (address == NULL || password == NULL || password[0] == '\0' || strlen(password) > 500)
		return "address or password is missing or too long";
	if (span_copy(span_of(address), out, ADDRESS_MAX + 1) == -1
	    || address_mailbox(span_of(out), out) != PARSE_OK)
		return "that is no mail address";
	address_fold(out);
	if (!dir_shard_domain(im->dir->shard, strrchr(out, '@') + 1))
		return "there is no such domain";
	return dir_shard_user(im->dir->shard, out, &u) ? "it exists" : NULL;
}

static void
import_one(struct import *im, json_t *line)
{
	const char *address = json_string_value(json_array_get(line, 0));
	const char *password = json_string_value(json_array_get(line, 1)), *why;
	struct import_user *u = mem_alloc(sizeof(*u));

	u->import = im;
	why = import_check(im, address, password, u->address);
	if (why == NULL && im->dry) {
		im->added++;
		free(u);
		return;
	}
	if (why == NULL && dir_hash_make(im->dir->hash, password, on_import_hashed, u) == -1)
		why = "too many passwords wait to be hashed";
	if (why == NULL) {
		im->open++;
		return;
	}
	import_failed(im, address != NULL ? address : "", why);
	free(u);
}

static void
op_user_import(struct directory *d, struct ctl_call *call, json_t *req)
{
	json_t *users = json_object_get(req, "users"), *line;
	struct import *im;
	size_t i;

	if (!json_is_array(users)) {
		wrong(call, "no users in the request");
		return;
	}
	im = mem_alloc(sizeof(*im));
	im->dir = d;
	im->call = call;
	im->dry = dry_run(req);
	im->open = 1;				/* ours, until all are under way */
	ctl_on_gone(call, on_import_gone, im);
	json_array_foreach(users, i, line)
		import_one(im, line);
	import_end(im);
}

/* ---- aliases ------------------------------------------------------------- */

/* Appends the targets of the request; false (answered) when one is malformed. */
static bool
targets_arg(struct ctl_call *call, json_t *req, struct wire_out *w, size_t max)
{
	json_t *list = json_object_get(req, "targets"), *one;
	char target[ADDRESS_MAX + 1];
	size_t i;

	if (json_array_size(list) > max) {
		wrong(call, "too many targets");
		return false;
	}
	wire_put_u16(w, (uint16_t)json_array_size(list));
	json_array_foreach(list, i, one) {
		const char *v = json_string_value(one);

		if (v == NULL || span_copy(span_of(v), target, sizeof(target)) == -1
		    || address_mailbox(span_of(target), target) != PARSE_OK) {
			wrong(call, "a target is no mail address");
			return false;
		}
		address_fold(target);
		wire_put_str(w, target);
	}
	return true;
}

static void
alias_change(struct directory *d, struct ctl_call *call, json_t *req, enum dir_record type)
{
	char address[ADDRESS_MAX + 1];
	struct wire_out w;

	if (!address_arg(call, req, address))
		return;
	wire_out_init(&w);
	wire_put_str(&w, address);
	if (type == DIR_ALIAS_ADD && json_array_size(json_object_get(req, "targets")) == 0)
		wrong(call, "an alias needs a target");
	else if (targets_arg(call, req, &w, d->conf->alias_targets_max)) {
		put(d, call, req, type, address, &w);
		return;
	}
	wire_out_clear(&w);
}

static void
op_alias_add(struct directory *d, struct ctl_call *call, json_t *req)
{
	alias_change(d, call, req, DIR_ALIAS_ADD);
}

static void
op_alias_delete(struct directory *d, struct ctl_call *call, json_t *req)
{
	alias_change(d, call, req, DIR_ALIAS_DELETE);
}

static void
list_alias(const char *address, const char *target, void *arg)
{
	struct listing *l = arg;

	ctl_part(l->call, json_pack("{s:i, s:s, s:s, s:s}", "schema", 1, "part", "alias", "address",
	    address, "target", target));
}

static void
op_alias_list(struct directory *d, struct ctl_call *call, json_t *req)
{
	struct listing l = { call, NULL, 0 };

	(void)req;
	dir_shard_aliases(d->shard, NULL, list_alias, &l);
	ctl_done(call, CTL_OK, NULL, NULL, NULL, NULL);
}

static void
op_alias_members(struct directory *d, struct ctl_call *call, json_t *req)
{
	struct listing l = { call, NULL, 0 };
	char address[ADDRESS_MAX + 1];
	uint64_t n;

	if (!address_arg(call, req, address))
		return;
	n = dir_shard_aliases(d->shard, address, list_alias, &l);
	done_rc(call, n > 0 ? MAIL_OK : MAIL_UNKNOWN, 0, address);
}

/* ---- what the parent answers --------------------------------------------- */

static void
on_parent_answer(void *arg, const struct ipc_msg *m)
{
	struct dir_req *r = arg;
	json_t *j = m != NULL ? json_loadb(m->body.p, m->body.len, 0, NULL) : NULL;
	int rc = CTL_CRITICAL;

	if (json_is_object(j)) {
		rc = (int)json_integer_value(json_object_get(j, "exit"));
		json_object_del(j, "exit");
	} else {
		json_decref(j);
		j = NULL;
	}
	if (r->call != NULL) {
		char *error = mem_dup(json_string_value(json_object_get(j, "error")));
		char *why = mem_dup(json_string_value(json_object_get(j, "why")));
		char *hint = mem_dup(json_string_value(json_object_get(j, "hint")));

		ctl_done(r->call, (enum ctl_exit)rc, j,
		    j == NULL ? "the parent process gave no answer" : error, why, hint);
		free(error);
		free(why);
		free(hint);
	} else
		json_decref(j);
	free(r);
}

static void
op_parent(struct directory *d, struct ctl_call *call, json_t *req)
{
	struct ipc *parent = child_peer(d->child, CHILD_PARENT, 0);
	char *text = json_dumps(req, JSON_COMPACT);
	struct dir_req *r = req_new(d, call, "parent");
	uint32_t id = waits_add(d->waits, CHILD_PARENT, 0, on_parent_answer, r);

	if (text == NULL)
		log_fatal("out of memory");
	if (parent == NULL || ipc_send(parent, PM_CTL, id, text, strlen(text), -1) == -1) {
		waits_cancel(d->waits, id);
		on_parent_answer(r, NULL);
	}
	free(text);
}

/* ---- the table ----------------------------------------------------------- */

static const struct op {
	const char *name;
	enum { OP_READ, OP_ROOT, OP_CHANGE } needs;	/* CHANGE: root on the active node */
	void (*run)(struct directory *, struct ctl_call *, json_t *);
} ops[] = {
	{ "domain.add", OP_CHANGE, op_domain_add },
	{ "domain.delete", OP_CHANGE, op_domain_delete },
	{ "domain.list", OP_READ, op_domain_list },
	{ "domain.show", OP_READ, op_domain_show },
	{ "user.add", OP_CHANGE, op_user_add },
	{ "user.import", OP_CHANGE, op_user_import },
	{ "user.passwd", OP_CHANGE, op_user_passwd },
	{ "user.suspend", OP_CHANGE, op_user_suspend },
	{ "user.delete", OP_CHANGE, op_user_delete },
	{ "user.list", OP_READ, op_user_list },
	{ "user.show", OP_READ, op_user_show },
	{ "alias.add", OP_CHANGE, op_alias_add },
	{ "alias.delete", OP_CHANGE, op_alias_delete },
	{ "alias.list", OP_READ, op_alias_list },
	{ "alias.members", OP_READ, op_alias_members },
	{ "store.stat", OP_READ, op_parent },
	{ "store.verify", OP_ROOT, op_parent },
	{ "store.checkpoint", OP_ROOT, op_parent },
	{ "queue.list", OP_READ, op_parent },
	{ "queue.show", OP_READ, op_parent },
	{ "queue.hold", OP_CHANGE, op_parent },
	{ "queue.release", OP_CHANGE, op_parent },
	{ "queue.retry", OP_CHANGE, op_parent },
	{ "queue.delete", OP_CHANGE, op_parent },
	{ "listeners.open", OP_ROOT, op_parent },
	{ "listeners.close", OP_ROOT, op_parent },
	{ "listeners.drain", OP_ROOT, op_parent },
	{ "listeners.status", OP_READ, op_parent },
};

void
dir_ctl_request(struct ctl_call *call, json_t *req, void *arg)
{
	struct directory *d = arg;
	const char *name = json_string_value(json_object_get(req, "op"));

	for (size_t i = 0; name != NULL && i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (strcmp(ops[i].name, name) != 0)
			continue;
		if (ops[i].needs != OP_READ && ctl_uid(call) != 0)
			ctl_done(call, CTL_DENIED, NULL, "not permitted", "only root may do this",
			    NULL);
		else if (ops[i].needs == OP_CHANGE && !owner_role(d->owner)->active)
			done_rc(call, MAIL_TEMP, OWNER_NOT_ACTIVE, "");
		else
			ops[i].run(d, call, req);
		return;
	}
	wrong(call, "no such operation");
}
