/* imap_idle.c - IDLE (RFC 2177): news as it comes, until DONE.
 *
 * A job that reads lines itself.  The watch of the selected mailbox kicks the session,
 * so several changes of one turn go out together.  IDLE ends with the session's idle
 * limit, which is why RFC 2177 lets clients begin a new one every 29 minutes. */
#include "imap.h"

static bool
idle_step(struct session *s)
{
	struct imap *im = s->imap;
	struct evbuffer_iovec v;
	enum imap_in rc;
	size_t used;

	if (im->view != NULL && !im->view->deleted)
		imap_tell(s, true);
	if (evbuffer_peek(s->in, -1, NULL, &v, 1) < 1 || v.iov_len == 0) {
		if (s->eof || (im->view != NULL && im->view->deleted))
			imap_finish(s, "OK IDLE ended");
		return false;
	}
	rc = imap_input_feed(&im->input, v.iov_base, v.iov_len, &used);
	evbuffer_drain(s->in, used);
	if (rc == IMAP_IN_MORE)
		return true;
	if (rc == IMAP_IN_COMMAND && !im->input.refused &&
	    span_is_nocase(imap_input_text(&im->input), "DONE"))
		imap_finish(s, "OK IDLE completed");
	else
		imap_bad(s, "DONE was expected");
	return true;
}

void
imap_cmd_idle(struct session *s, struct imap_cur *c)
{
	if (imap_get_end(c) != PARSE_OK) {
		imap_bad(s, "No arguments were expected");
		return;
	}
	imap_put(s->out, "+ idling\r\n");
	imap_input_next(&s->imap->input);	/* its line is done with */
	s->imap->idling = true;
	imap_job_start(s, idle_step, NULL, NULL);
}
