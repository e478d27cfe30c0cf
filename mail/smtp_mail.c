/* smtp_mail.c - the mail transaction of the SMTP engine: MAIL, RCPT, DATA, the trace
 * header (RFC 5321 4.4), and the answer behind the final dot.
 *
 * 250 is said only when the owner reported that every store has the message
 * committed.  What is wrong with the text is found while it streams, and refused at
 * its end. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "smtp_int.h"

/* Cuts "KEY=value" (or "KEY") off the parameters; false at their end. */
static bool
param(struct span *rest, struct span *key, struct span *value)
{
	struct span word;

	while (span_cut(rest, ' ', &word)) {
		if (word.len == 0)
			continue;
		*value = word;
		span_cut(value, '=', key);
		return true;
	}
	return false;
}

/* Parameters of MAIL.  NULL when all are fine, else the reply. */
static const char *
mail_params(const struct smtp *s, struct span rest)
{
	struct span key, value;
	uint64_t size;

	while (param(&rest, &key, &value)) {
		if (!s->esmtp)
			return "555 5.5.4 no parameters after HELO";
		if (span_is_nocase(key, "SIZE")) {
			if (span_u64(value, UINT64_MAX / 2, &size) != PARSE_OK)
				return "501 5.5.4 malformed SIZE";
			if (size > s->limits->message_size_max)
				return "552 5.3.4 message too large";
		} else if (span_is_nocase(key, "BODY")) {
			if (!span_is_nocase(value, "7BIT") && !span_is_nocase(value, "8BITMIME"))
				return "501 5.5.4 BODY is 7BIT or 8BITMIME";
		} else if (!span_is_nocase(key, "AUTH") || !smtp_submission(s))
			return "555 5.5.4 parameter not recognised";
	}
	return NULL;
}

/* The path behind "FROM:" or "TO:"; no space is allowed around the colon. */
static bool
keyword(struct span *arg, const char *word)
{
	size_t n = strlen(word);

	if (!span_starts_nocase(*arg, word))
		return false;
	arg->p += n;
	arg->len -= n;
	return true;
}

void
smtp_cmd_mail(struct smtp *s, struct span arg)
{
	const char *wrong;
	struct span rest;

	if (smtp_submission(s) && s->user == NULL) {
		smtp_error(s, s->tls[0] == '\0' ? "530 5.7.0 use STARTTLS first"
						: "530 5.7.0 authentication required");
	} else if (!keyword(&arg, "FROM:"))
		smtp_error(s, "501 5.5.4 syntax: MAIL FROM:<address>");
	else if (address_path(arg, true, false, s->from, &rest) != PARSE_OK
	    || (rest.len > 0 && rest.p[0] != ' '))
		smtp_error(s, "501 5.1.7 malformed sender address");
	else if ((wrong = mail_params(s, rest)) != NULL)
		smtp_error(s, wrong);
	else {
		memset(&s->stamp, 0, sizeof(s->stamp));
		s->ops->stamp(s->arg, &s->stamp);
		s->state = ST_MAIL;
		smtp_reply(s, "250 2.1.0 Ok");
	}
}

void
smtp_cmd_rcpt(struct smtp *s, struct span arg)
{
	struct span rest, key, value;

	if (!keyword(&arg, "TO:"))
		smtp_error(s, "501 5.5.4 syntax: RCPT TO:<address>");
	else if (address_path(arg, false, true, s->asked, &rest) != PARSE_OK
	    || (rest.len > 0 && rest.p[0] != ' '))
		smtp_error(s, "501 5.1.3 malformed recipient address");
	else if (param(&rest, &key, &value))
		smtp_error(s, "555 5.5.4 parameter not recognised");
	else if (s->nrcpt >= s->limits->recipients_max)
		smtp_reply(s, "452 4.5.3 too many recipients");
	else {
		s->waiting = true;
		s->ops->rcpt(s->arg, s->asked);
	}
}

void
smtp_rcpt_done(struct smtp *s, enum mail_rc rc)
{
	if (s->closed || !s->waiting)
		return;
	s->waiting = false;
	switch (rc) {
	case MAIL_OK:
		if (s->nrcpt++ == 0)
			memcpy(s->first_rcpt, s->asked, sizeof(s->first_rcpt));
		s->state = ST_RCPT;
		smtp_reply(s, "250 2.1.5 Ok");
		break;
	case MAIL_UNKNOWN:
		smtp_error(s, "550 5.1.1 no such user here");
		break;
	case MAIL_RELAY:
		smtp_error(s, "554 5.7.1 relay access denied");
		break;
	case MAIL_DENIED:
		smtp_reply(s, "550 5.7.1 no mail to other hosts from here: no smart-host is set");
		break;
	case MAIL_OVER_QUOTA:
		smtp_reply(s, "452 4.2.2 mailbox full");
		break;
	case MAIL_BAD:
		smtp_reply(s, "452 4.5.3 too many recipients");
		break;
	case MAIL_NOT_ACTIVE:
		smtp_reply(s, "451 4.3.2 this node does not serve");
		break;
	default:
		smtp_reply(s, "451 4.3.0 temporary failure, try again");
	}
}

/* RFC 5322 date in UTC; names are not those of a locale. */
static void
date(int64_t wall_s, char out[40])
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t t = (time_t)wall_s;
	struct tm tm;

	gmtime_r(&t, &tm);
	snprintf(out, 40, "%.3s, %d %.3s %04d %02d:%02d:%02d +0000", days + 3 * tm.tm_wday,
	    tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
	    tm.tm_sec);
}

/* Return-Path and Received.  "with" is the keyword of RFC 3848. */
static void
trace(struct smtp *s)
{
	char text[2048], when[40];
	bool v6 = strchr(s->peer.ip, ':') != NULL, kind = s->stamp.copies < 2;
	int n;

	date(s->stamp.wall_s, when);
	n = snprintf(text, sizeof(text),
	    "Return-Path: <%s>\r\n"
	    "Received: from %s ([%s%s])\r\n"
	    "\tby %s with %s%s%s id %s\r\n"
	    "\t(copies=%u gen=%llu%s%s%s%s)%s%s%s;\r\n"
	    "\t%s\r\n",
	    s->from, s->helo, v6 ? "IPv6:" : "", s->peer.ip, s->limits->hostname,
	    s->esmtp ? "ESMTP" : "SMTP", s->esmtp && s->tls[0] != '\0' ? "S" : "",
	    s->esmtp && s->user != NULL ? "A" : "", s->stamp.id, s->stamp.copies,
	    (unsigned long long)s->stamp.gen, kind ? " " : "", kind ? s->stamp.gen_kind : "",
	    s->tls[0] != '\0' ? " tls=" : "", s->tls, s->nrcpt == 1 ? "\r\n\tfor <" : "",
	    s->nrcpt == 1 ? s->first_rcpt : "", s->nrcpt == 1 ? ">" : "", when);
	if (n < 0 || (size_t)n >= sizeof(text))
		s->data_rc = MAIL_TEMP;
	else
		s->data_rc = s->ops->data(s->arg, (struct span){ text, (size_t)n }, false);
}

void
smtp_cmd_data(struct smtp *s, struct span arg)
{
	if (arg.len > 0) {
		smtp_error(s, "501 5.5.4 DATA takes no argument");
		return;
	}
	trace(s);
	if (s->data_rc != MAIL_OK) {	/* no room: say so before the text comes */
		enum mail_rc rc = s->data_rc;

		smtp_reply(s, rc == MAIL_DISK_FULL ? "452 4.3.1 no room for a message now"
						   : "451 4.3.0 temporary failure, try again");
		smtp_reset(s);
		return;
	}
	smtp_data_init(&s->data, s->limits->data_line_max);
	s->state = ST_DATA;
	smtp_reply(s, "354 end data with <CRLF>.<CRLF>");
}

/* What is wrong with the text as a whole; NULL: nothing. */
static const char *
text_wrong(const struct smtp *s)
{
	if (s->data.size > s->limits->message_size_max)
		return "552 5.3.4 message too large";
	if (s->data.bare)
		return "550 5.6.0 bare CR or LF in the message";
	if (s->data.long_line)
		return "554 5.6.0 line too long";
	if (s->data.received > s->limits->hops_max)
		return "554 5.4.6 too many hops, the message loops";
	if (s->data_rc == MAIL_DISK_FULL)
		return "452 4.3.1 no room for the message now";
	if (s->data_rc != MAIL_OK)
		return "451 4.3.0 temporary failure, try again";
	return NULL;
}

/* RFC 6409 8: a submission server adds what the client left out. */
static void
complete(struct smtp *s)
{
	char text[512] = "", when[40];
	size_t n = 0;

	date(s->stamp.wall_s, when);
	if (!s->data.date)
		n += (size_t)snprintf(text, sizeof(text), "Date: %s\r\n", when);
	if (!s->data.message_id)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "Message-ID: <%s@%.255s>\r\n",
		    s->stamp.id, s->limits->hostname);
	if (n > 0)
		s->data_rc = s->ops->data(s->arg, (struct span){ text, n }, true);
}

static void
drained(struct smtp *s)
{
	smtp_reset(s);
	if (s->draining)
		smtp_drain(s);
}

void
smtp_data_end(struct smtp *s)
{
	const char *wrong;

	if (smtp_submission(s) && s->data_rc == MAIL_OK)
		complete(s);
	if ((wrong = text_wrong(s)) != NULL) {
		smtp_error(s, wrong);
		drained(s);
		return;
	}
	s->waiting = true;
	s->ops->message(s->arg, s->from);
}

void
smtp_message_done(struct smtp *s, enum mail_rc rc, uint64_t gen, uint64_t lsn, uint8_t copies)
{
	if (s->closed || !s->waiting)
		return;
	s->waiting = false;
	switch (rc) {
	case MAIL_OK:
		smtp_reply(s, "250 2.0.0 Ok: queued as %s gen=%llu lsn=%llu copies=%u",
		    s->stamp.id, (unsigned long long)gen, (unsigned long long)lsn, copies);
		break;
	case MAIL_NOT_TWICE:
		smtp_reply(s, "451 4.4.0 not stored twice yet");
		break;
	case MAIL_DISK_FULL:
		smtp_reply(s, "452 4.3.1 insufficient system storage");
		break;
	case MAIL_OVER_QUOTA:
		smtp_reply(s, "452 4.2.2 mailbox full");
		break;
	case MAIL_UNKNOWN:
		smtp_reply(s, "550 5.1.1 no such user here");
		break;
	case MAIL_DENIED:
		smtp_reply(s, "550 5.7.1 message refused");
		break;
	case MAIL_NOT_ACTIVE:
		smtp_reply(s, "421 4.3.2 %s does not serve any more, try again",
		    s->limits->hostname);
		smtp_close(s, "not active");
		return;
	default:
		smtp_reply(s, "451 4.3.0 temporary failure, try again");
	}
	drained(s);
}
