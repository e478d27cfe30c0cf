/* fault_log.c - the log's files (syncer/LOG.md): append over segment borders, trim, cut, a
 * tail that was never synced, reset behind a seed.
 *
 * Promised: what was synced is read back, with its bytes; what recovery showed is
 * durable from then on; what was cut stays cut, and its copy is there; no segment goes
 * that was not trimmed. */
#include "fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gen.h"
#include "log_store.h"
#include "mem.h"
#include "owner.h"

#define SEG (24u << 10)
#define LSNS 1200
#define RESET_TO 1000

struct log_model {
	uint64_t tip;			/* acknowledged */
	uint64_t trim;			/* records up to here may be gone */
	uint64_t cut;			/* is being cut behind this one; 0: nothing is */
	bool cut_done, resetting;
	uint8_t era[LSNS];		/* the bytes that each record must have */
};

/* n records behind the tip, then a sync if wanted. */
static int
put(struct log_store *s, struct log_model *m, uint8_t era, unsigned n, bool sync)
{
	for (unsigned i = 0; i < n; i++) {
		struct log_tip tip = log_store_tip(s);
		size_t len = 40 + tip.lsn * 397 % 2500, done;
		char *text = mem_alloc(len);
		uint8_t *raw = mem_alloc(record_size(len));
		struct record r = { .lsn = tip.lsn + 1, .gen_no = 2, .shard = 16, .type = 1,
			.synced = m->tip, .payload = { text, len } };
		struct span in = { (const char *)raw, record_size(len) };
		int rc = -1;

		memset(text, era, len);
		m->era[r.lsn] = era;
		record_encode(&r, tip.hash, raw);
		/* As the writer does: a full disk is waited for. */
		for (int tries = 0; tries < 4 && rc == -1; tries++)
			if ((rc = log_store_append(s, &in, 1, &done)) == -1 && errno != ENOSPC)
				break;
		if (rc == -1 && errno == EDQUOT)
			fault_wrong("a full quota ends the log, and would at each start");
		free(raw);
		free(text);
		if (rc == -1)
			return -1;
	}
	if (!sync)
		return 0;
	if (log_store_sync(s) == -1)
		return -1;
	m->tip = log_store_tip(s).lsn;
	return 0;
}

static struct log_store *
up(const char *dir, char *err, size_t size)
{
	struct log_store *s = log_store_open(dir, SEG, err, size);

	if (s == NULL && errno == EBADMSG)
		fault_wrong("nothing was damaged, but: %s", err);
	return s;
}

static int
cut(struct log_store *s, struct log_model *m)
{
	uint64_t to = m->tip - 17;

	m->cut = to;
	if (log_store_cut(s, to, "test") == -1)
		return -1;
	m->tip = to;
	m->cut_done = true;
	m->cut = 0;
	return 0;
}

static int
reset(struct log_store *s, struct log_model *m)
{
	struct log_tip tip = { RESET_TO, "some other hash" };
	struct history h;

	log_store_history(s, &h);
	m->resetting = true;
	if (log_store_reset(s, &tip, &h) == -1)
		return -1;
	m->resetting = false;
	m->tip = m->trim = RESET_TO;
	return 0;
}

static int
steps(const char *dir, struct log_store **s, struct log_model *m)
{
	char err[300];

	if ((*s = up(dir, err, sizeof(err))) == NULL)
		return -1;
	for (int i = 0; i < 12; i++)
		if (put(*s, m, 1, 4, true) == -1)
			return -1;
	m->trim = m->tip / 2;
	log_store_trim(*s, m->trim);
	if (put(*s, m, 1, 2, true) == -1 || cut(*s, m) == -1 || put(*s, m, 2, 10, true) == -1 ||
	    put(*s, m, 3, 3, false) == -1)
		return -1;
	log_store_close(*s);
	if ((*s = up(dir, err, sizeof(err))) == NULL)
		return -1;
	m->tip = log_store_tip(*s).lsn;
	if (put(*s, m, 4, 4, true) == -1 || reset(*s, m) == -1)
		return -1;
	return put(*s, m, 5, 6, true);
}

static int
work(const char *dir, void *model)
{
	struct log_store *s = NULL;
	int rc = steps(dir, &s, model);

	log_store_close(s);
	return rc;
}

/* Each record from the oldest to the tip, with the bytes that it must have. */
static void
read_all(struct log_store *s, const struct log_model *m)
{
	uint64_t tip = log_store_tip(s).lsn;
	uint8_t *buf;
	size_t len, used;
	struct record r;

	for (uint64_t lsn = log_store_oldest(s); lsn <= tip;) {
		if (log_store_read(s, lsn, 10000, &buf, &len) == -1)
			fault_wrong("record %llu cannot be read: %s", (unsigned long long)lsn,
			    strerror(errno));
		for (size_t at = 0; at < len; at += used, lsn++) {
			struct span in = { (char *)buf + at, len - at };

			if (record_decode(in, &r, &used) != PARSE_OK || r.lsn != lsn ||
			    (uint8_t)r.payload.p[0] != m->era[lsn])
				fault_wrong("record %llu is not what was appended",
				    (unsigned long long)lsn);
		}
		free(buf);
	}
}

static void
check(const char *dir, void *model, bool power)
{
	struct log_model *m = model;
	char err[300], *tail = mem_printf("%s/forks/test/tail", dir);
	struct log_store *s = up(dir, err, sizeof(err));
	uint64_t least = m->cut != 0 ? m->cut : m->tip, tip;
	struct stat st;

	(void)power;
	if (s == NULL)
		fault_wrong("%s", err);
	tip = log_store_tip(s).lsn;
	if (!m->resetting && tip < least)
		fault_wrong("the log ends at %llu, acknowledged was %llu",
		    (unsigned long long)tip, (unsigned long long)least);
	if (!m->resetting && log_store_oldest(s) > m->trim + 1)
		fault_wrong("the log begins at %llu, trimmed was %llu",
		    (unsigned long long)log_store_oldest(s), (unsigned long long)m->trim);
	if (m->cut_done && (stat(tail, &st) == -1 || st.st_size == 0))
		fault_wrong("the copy of what was cut is gone");
	free(tail);
	if (m->resetting && reset(s, m) == -1)
		fault_wrong("cannot begin anew: %s", strerror(errno));
	read_all(s, m);
	m->tip = log_store_tip(s).lsn;
	m->cut = 0;
	if (put(s, m, (uint8_t)(m->era[m->tip] + 10), 5, true) == -1)
		fault_wrong("cannot go on: %s", strerror(errno));
	log_store_close(s);
	if ((s = up(dir, err, sizeof(err))) == NULL || log_store_tip(s).lsn != m->tip)
		fault_wrong("not there after going on");
	read_all(s, m);
	log_store_close(s);
}

const struct subject fault_log = { "log", sizeof(struct log_model), NULL, work, check };
