/* imap_append.c - APPEND: the literal goes into a memfd piece by piece, then to the
 * store as a change; the OK with APPENDUID follows the commit.
 *
 * The mailbox is looked up before the message is asked for, so a client is told
 * TRYCREATE without sending it.  A bare LF becomes CRLF, since stored messages have
 * CRLF lines; a NUL is refused, since no IMAP answer could carry it.  The memory of all
 * APPENDs of a worker is bounded; what comes above it is read and answered with NO. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "fs.h"
#include "imap.h"
#include "log.h"
#include "mem.h"

#define PIECE (32u << 10)
#define NO_MEMORY "NO [UNAVAILABLE] Too much mail is being received, try again"

struct imap_append_state {
	int fd;
	struct session *s;
	uint64_t taken;			/* memory that is counted for it */
	uint64_t left;			/* bytes of the literal to come */
	uint64_t box;
	struct imap_flags flags;	/* in the command's arena */
	int64_t date_s;
	bool was_cr;			/* the last byte was CR */
	const char *error;		/* the answer that is due instead */
};

void
imap_append_free(struct imap_append_state *a)
{
	if (a == NULL)
		return;
	if (a->fd != -1)
		close(a->fd);
	session_append_give(a->s, a->taken);
	free(a);
}

/* Writes one piece with its bare LFs made CRLF. */
static void
write_piece(struct session *s, struct imap_append_state *a, const char *p, size_t n)
{
	char out[PIECE * 2];
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\0')
			a->error = "NO [CANNOT] The message has a NUL byte";
		if (p[i] == '\n' && !a->was_cr)
			out[len++] = '\r';
		a->was_cr = p[i] == '\r';
		out[len++] = p[i];
	}
	if (a->error == NULL && !session_append_take(s, len))
		a->error = NO_MEMORY;
	if (a->error != NULL)
		return;
	a->taken += len;
	if (fs_write_all(a->fd, out, len) == -1) {
		log_warn("imap %s append: cannot hold the message", s->sid);
		a->error = "NO [UNAVAILABLE] Temporary failure";
	}
}

static bool
append_step(struct session *s)
{
	struct imap_append_state *a = s->imap->append;
	struct evbuffer_iovec v;
	size_t n;

	if (a->left > 0) {
		if (evbuffer_peek(s->in, -1, NULL, &v, 1) < 1 || v.iov_len == 0)
			return false;
		n = v.iov_len < PIECE ? v.iov_len : PIECE;
		if (n > a->left)
			n = (size_t)a->left;
		write_piece(s, a, v.iov_base, n);
		evbuffer_drain(s->in, n);
		a->left -= n;
	}
	if (a->left == 0) {
		s->imap->job = NULL;		/* the line goes on */
		imap_input_own(&s->imap->input);
	}
	return true;
}

/* The answer that is due before the message comes; NULL: let it come. */
static const char *
check(struct session *s, const struct imap_append *cmd, struct imap_append_state *a)
{
	struct imap_box_name name;
	struct store_box box;
	enum mail_rc rc;

	if (!imap_name_decode(cmd->mailbox, &name))
		return "NO [CANNOT] Not a mailbox name";
	rc = store_box_by_name(s->store, s->shard, s->user, name.utf8, &box);
	if (rc == MAIL_UNKNOWN || (rc == MAIL_OK && box.noselect))
		return "NO [TRYCREATE] No such mailbox";
	if (rc != MAIL_OK)
		return "NO [UNAVAILABLE] Temporary failure";
	if (s->imap->input.size > session_limits(s)->append_max)
		return "NO [TOOBIG] Message too large";
	if (!session_append_take(s, s->imap->input.size))
		return NO_MEMORY;
	session_append_give(s, s->imap->input.size);	/* taken as it comes */
	a->box = box.id;
	if ((a->fd = memfd_create("append", MFD_CLOEXEC)) == -1) {
		log_warn("imap %s append: memfd", s->sid);
		return "NO [UNAVAILABLE] Temporary failure";
	}
	return NULL;
}

bool
imap_append_literal(struct session *s)
{
	struct imap *im = s->imap;
	struct span text = imap_input_text(&im->input);
	struct imap_append_state *a;
	struct imap_append cmd;
	struct imap_cur c;
	const char *error;

	while (text.len > 0 && text.p[text.len - 1] != '{')
		text.len--;
	if (text.len == 0)
		return false;
	text.len--;
	imap_cur_init(&c, text, &im->arena);
	if (imap_get_append(&c, &cmd) != PARSE_OK || imap_get_end(&c) != PARSE_OK ||
	    cmd.tag.len > IMAP_TAG_MAX)
		return false;
	imap_begin(s, cmd.tag, imap_command_find(SPAN("APPEND")), false);
	a = im->append = mem_alloc(sizeof(*a));
	a->fd = -1;
	a->s = s;
	a->left = im->input.size;
	a->flags = cmd.flags;
	a->date_s = cmd.has_date ? cmd.date_s : clock_wall_ms() / 1000;
	if ((error = check(s, &cmd, a)) == NULL) {
		if (!im->input.nonsync)
			imap_put(s->out, "+ OK\r\n");
		imap_job_start(s, append_step, NULL, NULL);
	} else if (im->input.nonsync) {
		im->refusal = error;		/* its bytes are on the way already */
		imap_input_skip(&im->input);
	} else {
		imap_finish(s, "%s", error);
	}
	return true;
}

static void
appended(struct session *s, const struct store_result *r)
{
	if (r->rc != MAIL_OK)
		imap_no(s, r->rc, "TRYCREATE");
	else if (r->n == 1)
		imap_finish(s, "OK [APPENDUID %u %u] APPEND completed", r->uidvalidity,
		    r->dst_uids[0]);
	else
		imap_finish(s, "OK APPEND completed");
}

void
imap_append_end(struct session *s)
{
	struct imap *im = s->imap;
	struct imap_append_state *a = im->append;

	if (im->input.len != im->input.line_start) {
		imap_bad(s, "Nothing was expected behind the message");
		return;
	}
	if (a->error != NULL) {
		imap_finish(s, "%s", a->error);
		return;
	}
	store_append(s->store, s->shard, s->user, a->box, a->flags.bits, a->flags.keywords,
	    a->date_s, a->fd, session_done, s);
	session_wait(s, appended);
}
