/* store_verify.c - a shard's part of `hactl sync verify`: the job looks, then what can be
 * mended is got from the other node, one after the other, and then syncd is told.
 *
 * Promise: each verify_begin() that is not stopped is answered once.  A second one ends
 * the first, whose answer nobody waits for any more. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "hex.h"
#include "log.h"
#include "mem.h"
#include "shard_job.h"
#include "store_priv.h"

struct verifying {
	struct store_shard *ss;
	struct owner_verify what;
	struct shard_job *job;		/* NULL: it has ended */
	bool again;			/* an older one has to end first */
	json_t *report;
	uint8_t (*bad)[32];
	size_t nbad, at;
	uint64_t done, of;		/* as was told last; it stays so while it is mended */
	json_int_t mended;
};

static void
verifying_free(struct verifying *v)
{
	json_decref(v->report);
	free(v->bad);
	free(v);
}

static void
say(struct verifying *v, bool ok)
{
	struct store_shard *ss = v->ss;
	char *text;

	json_object_set_new(v->report, "mended", json_integer(v->mended));
	text = json_dumps(v->report, JSON_COMPACT);
	if (text == NULL)
		log_fatal("out of memory");
	owner_verified(ss->st->owner, ss->log_no, v->what.run, ok, text);
	free(text);
	ss->asked = NULL;
	verifying_free(v);
}

static void
failed(struct verifying *v, const char *why)
{
	json_decref(v->report);
	v->report = json_pack("{s:s}", "error", why);
	say(v, false);
}

/* ---- mending ---- */

static void mend_next(struct verifying *);

/* In the list of what is bad, which may have been cut. */
static void
note_mended(struct verifying *v)
{
	json_t *bad = json_object_get(v->report, "bad"), *one;
	char hex[65];
	size_t i;

	v->mended++;
	hex_encode(v->bad[v->at], 32, hex);
	json_array_foreach(bad, i, one)
		if (strcmp(hex, json_string_value(json_object_get(one, "name"))) == 0)
			json_object_set_new(one, "mended", json_true());
}

static void
on_mended(void *arg, const struct store_result *r)
{
	struct verifying *v = arg;

	if (r->rc == MAIL_OK)
		note_mended(v);
	v->at++;
	mend_next(v);
}

static void
mend_next(struct verifying *v)
{
	if (v->at < v->nbad)
		store_mend(v->ss->st, v->ss->n, v->bad[v->at], on_mended, v);
	else
		say(v, true);
}

/* ---- looking ---- */

static void
start(struct verifying *v)
{
	v->again = false;
	if ((v->job = job_verify(v->ss, v->what.rate)) == NULL)
		failed(v, "no descriptor");
}

void
verify_begin(struct store_shard *ss, const struct owner_verify *what)
{
	struct verifying *v;

	verify_stop(ss);
	v = mem_alloc(sizeof(*v));
	v->ss = ss;
	v->what = *what;
	ss->asked = v;
	if (ss->verifying > 0)
		v->again = true;
	else
		start(v);
}

void
verify_looked(struct store_shard *ss, struct shard_job *j)
{
	struct verifying *v = ss->asked;

	if (v == NULL)
		return;
	if (v->again) {
		start(v);
		return;
	}
	if (v->job != j)
		return;
	v->job = NULL;
	if (!j->ok) {
		failed(v, j->error);
		return;
	}
	v->report = json_incref(j->report);
	json_object_del(v->report, "digests");
	if (!v->what.repair) {
		say(v, true);
		return;
	}
	v->bad = j->bad_objects;
	v->nbad = j->nbad_objects;
	j->bad_objects = NULL;
	j->nbad_objects = 0;
	mend_next(v);
}

void
verify_stop(struct store_shard *ss)
{
	if (ss->verifying > 0)
		job_verify_stop(ss);
	verify_free(ss);
}

void
verify_tick(struct store_shard *ss)
{
	struct verifying *v = ss->asked;

	if (v == NULL)
		return;
	if (v->job != NULL) {
		v->done = v->job->done;
		v->of = v->job->of;
	}
	owner_verifying(ss->st->owner, ss->log_no, v->what.run, v->done, v->of);
}

void
verify_free(struct store_shard *ss)
{
	if (ss->asked == NULL)
		return;
	store_forget(ss->st, ss->asked);
	verifying_free(ss->asked);
	ss->asked = NULL;
}
