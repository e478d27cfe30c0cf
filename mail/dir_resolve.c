/* dir_resolve.c - aliases, users, user+ext, postmaster, in this order.
 *
 * Each address is looked at once for one recipient, so that loops of aliases end; depth and
 * number of results are bounded.  An alias may name itself: that is the user of the same
 * name.  Targets that exist no more are left out, unless nothing else is left. */
#include <stdlib.h>
#include <string.h>

#include "dir_resolve.h"
#include "log.h"
#include "mem.h"

struct names {
	char **v;
	size_t n;
};

struct search {
	struct dir_shard *shard;
	const struct dir_rules *rules;
	struct dir_targets *out;
	struct names seen;
	bool too_far;
};

static void
names_add(struct names *l, const char *s)
{
	l->v = mem_grow(l->v, l->n + 1, sizeof(*l->v));
	l->v[l->n++] = mem_dup(s);
}

static bool
names_have(const struct names *l, const char *s)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->v[i], s) == 0)
			return true;
	return false;
}

static void
names_clear(struct names *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
	*l = (struct names){ NULL, 0 };
}

static bool
full(struct search *s)
{
	if (s->out->nlocals + s->out->nremotes < s->rules->targets_max)
		return false;
	s->too_far = true;
	return true;
}

static void
add_local(struct search *s, const struct dir_user *u)
{
	struct dir_targets *o = s->out;
	struct dir_local *l;

	if (full(s))
		return;
	o->locals = mem_grow(o->locals, o->nlocals + 1, sizeof(*o->locals));
	l = &o->locals[o->nlocals++];
	l->user = u->id;
	l->shard = u->shard;
	memcpy(l->address, u->address, sizeof(l->address));
}

static void
add_remote(struct search *s, const char *address)
{
	struct dir_targets *o = s->out;

	if (full(s))
		return;
	o->remotes = mem_grow(o->remotes, o->nremotes + 1, sizeof(*o->remotes));
	o->remotes[o->nremotes++] = mem_dup(address);
}

static void
on_target(const char *address, const char *target, void *arg)
{
	(void)address;
	names_add(arg, target);
}

static bool expand(struct search *, const char *address, unsigned depth);

/* Follows the alias of this name; false: there is none. */
static bool
follow(struct search *s, const char *address, unsigned depth)
{
	struct names targets = { NULL, 0 };
	struct dir_user u;
	bool found = dir_shard_aliases(s->shard, address, on_target, &targets) > 0;

	for (size_t i = 0; i < targets.n; i++) {
		if (strcmp(targets.v[i], address) != 0) {
			if (!expand(s, targets.v[i], depth + 1))
				log_warnx("alias %s leads to %s, which is nobody",
				    log_safe(address), log_safe(targets.v[i]));
		} else if (dir_shard_user(s->shard, address, &u))
			add_local(s, &u);
	}
	names_clear(&targets);
	return found;
}

/* "user+ext@d" becomes "user@d"; false: there is no extension. */
static bool
without_extension(const struct search *s, const char *address, char out[ADDRESS_MAX + 1])
{
	const char *at = strrchr(address, '@'), *plus;

	if (s->rules->delimiter == '\0' || address[0] == '"')
		return false;
	plus = memchr(address, s->rules->delimiter, (size_t)(at - address));
	if (plus == NULL || plus == address)
		return false;
	memcpy(out, address, (size_t)(plus - address));
	strncpy(out + (plus - address), at, ADDRESS_MAX + 1 - (size_t)(plus - address));
	return true;
}

/* RFC 5321 4.5.1: every domain has a postmaster. */
static bool
postmaster(struct search *s, const char *address, unsigned depth)
{
	struct dir_user u;

	if (strncmp(address, "postmaster@", 11) != 0)
		return false;
	if (s->rules->postmaster[0] != '\0' && strcmp(s->rules->postmaster, address) != 0)
		return expand(s, s->rules->postmaster, depth + 1);
	if (!dir_shard_oldest(s->shard, address + 11, &u))
		return false;
	add_local(s, &u);
	return true;
}

/* False: the address is ours and nobody. */
static bool
expand(struct search *s, const char *address, unsigned depth)
{
	const char *at = strrchr(address, '@');
	char base[ADDRESS_MAX + 1];
	struct dir_user u;

	if (at == NULL)
		return false;
	if (depth > s->rules->depth) {
		s->too_far = true;
		return true;
	}
	if (names_have(&s->seen, address))
		return true;
	names_add(&s->seen, address);
	if (!dir_shard_domain(s->shard, at + 1)) {
		add_remote(s, address);
		return true;
	}
	if (follow(s, address, depth))
		return true;
	if (dir_shard_user(s->shard, address, &u)) {
		add_local(s, &u);
		return true;
	}
	if (without_extension(s, address, base))
		return expand(s, base, depth);
	return postmaster(s, address, depth);
}

static void
on_domain(const char *name, int64_t created_ms, uint64_t users, uint64_t aliases, void *arg)
{
	char *first = arg;

	(void)created_ms;
	(void)aliases;
	if (first[0] == '\0' && users > 0)
		span_copy(span_of(name), first, ADDRESS_DOMAIN_MAX + 1);
}

/* <postmaster> without a domain: the configured one, or that of the default domain, or
 * of the first domain with a user. */
static bool
bare_postmaster(struct dir_shard *shard, const struct dir_rules *rules,
    char address[ADDRESS_MAX + 1])
{
	char domain[ADDRESS_DOMAIN_MAX + 1] = "";

	if (rules->postmaster[0] != '\0')
		return span_copy(span_of(rules->postmaster), address, ADDRESS_MAX + 1) == 0;
	if (rules->default_domain[0] == '\0')
		dir_shard_domains(shard, on_domain, domain);
	else if (span_copy(span_of(rules->default_domain), domain, sizeof(domain)) == -1)
		return false;
	memcpy(address, "postmaster@", 11);
	memcpy(address + 11, domain, strlen(domain) + 1);
	return domain[0] != '\0';
}

enum mail_rc
dir_resolve(struct dir_shard *shard, const struct dir_rules *rules, const char *address,
    struct dir_targets *out)
{
	struct search s = { shard, rules, out, { NULL, 0 }, false };
	char folded[ADDRESS_MAX + 1];
	const char *at = strrchr(address, '@');
	bool found;

	memset(out, 0, sizeof(*out));
	if (span_copy(span_of(address), folded, sizeof(folded)) == -1)
		return MAIL_BAD;
	address_fold(folded);
	if (at == NULL
	    && (strcmp(folded, "postmaster") != 0 || !bare_postmaster(shard, rules, folded)))
		return MAIL_UNKNOWN;
	if (at != NULL && !dir_shard_domain(shard, folded + (at - address) + 1)) {
		add_remote(&s, address);	/* as written: other hosts may care */
		return MAIL_RELAY;
	}
	found = expand(&s, folded, 0);
	names_clear(&s.seen);
	if (s.too_far) {
		log_warnx("the aliases of %s lead too far, or to too many", log_safe(address));
		return MAIL_TEMP;
	}
	return found && out->nlocals + out->nremotes > 0 ? MAIL_OK : MAIL_UNKNOWN;
}

void
dir_targets_clear(struct dir_targets *t)
{
	for (size_t i = 0; i < t->nremotes; i++)
		free(t->remotes[i]);
	free(t->remotes);
	free(t->locals);
	memset(t, 0, sizeof(*t));
}
