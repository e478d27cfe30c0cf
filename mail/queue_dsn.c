/* queue_dsn.c - writes delivery status notifications.  Replies of other servers are
 * printable ASCII already (smtp_reply.c); the header of the message is copied as it is,
 * which is what a text/rfc822-headers part holds.  Nothing can fail. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <event2/buffer.h>

#include "queue_dsn.h"

#define PRINT(out, ...) evbuffer_add_printf(out, __VA_ARGS__)

static const char *
date(int64_t ms, char out[40])
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t t = (time_t)(ms / 1000);
	struct tm tm;

	gmtime_r(&t, &tm);
	snprintf(out, 40, "%.3s, %d %.3s %04d %02d:%02d:%02d +0000", days + 3 * tm.tm_wday,
	    tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
	    tm.tm_sec);
	return out;
}

/* digit "." 1-3 digits "." 1-3 digits; its length, 0 when it is none */
static size_t
status_length(const char *p)
{
	size_t n = 2, digits;

	if ((p[0] != '2' && p[0] != '4' && p[0] != '5') || p[1] != '.')
		return 0;
	for (int part = 0; part < 2; part++) {
		for (digits = 0; p[n] >= '0' && p[n] <= '9' && digits < 4; digits++)
			n++;
		if (digits == 0 || digits > 3)
			return 0;
		if (part == 0 && p[n++] != '.')
			return 0;
	}
	return n;
}

void
queue_dsn_status(const char *reply, bool failed, char out[12])
{
	const char *p = reply;
	size_t n;

	if (p[0] >= '2' && p[0] <= '5' && strlen(p) > 4 && (p[3] == ' ' || p[3] == '-'))
		p += 4;
	n = status_length(p);
	snprintf(out, 12, "%.*s", (int)(n > 0 ? n : 5), n > 0 ? p : failed ? "5.0.0" : "4.0.0");
	if (failed && out[0] != '5')	/* given up, whatever the last attempt met */
		snprintf(out, 12, "5.4.7");
}

struct span
queue_dsn_header(struct span text)
{
	for (size_t i = 0; i + 3 < text.len; i++)
		if (memcmp(text.p + i, "\r\n\r\n", 4) == 0)
			return (struct span){ text.p, i + 2 };
	return text;
}

static void
head(const struct queue_dsn *d, bool local, struct evbuffer *out)
{
	char when[40];

	date(d->now_ms, when);
	if (local)
		PRINT(out, "Return-Path: <>\r\n");
	PRINT(out, "Received: by %s (queue) id %s;\r\n\t%s\r\n", d->hostname, d->id, when);
	PRINT(out, "From: Mail Delivery <MAILER-DAEMON@%s>\r\nTo: <%s>\r\n", d->hostname,
	    d->message->sender);
	PRINT(out, "Subject: %s\r\nDate: %s\r\nMessage-ID: <%s.dsn@%s>\r\n",
	    d->delayed ? "Your message is delayed" : "Your message could not be delivered", when,
	    d->id, d->hostname);
	PRINT(out, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
	    "\tboundary=\"=_%s\"\r\n\r\n", d->id);
}

static void
words(const struct queue_dsn *d, struct evbuffer *out)
{
	char when[40];

	PRINT(out, "--=_%s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n", d->id);
	PRINT(out, "This is the mail server %s.\r\n\r\n", d->hostname);
	if (d->delayed)
		PRINT(out, "Your message has not reached these recipients yet. It is tried again\r\n"
		    "until %s; you need not send it again.\r\n\r\n", date(d->end_ms, when));
	else
		PRINT(out, "Your message could not be delivered to these recipients, and will not\r\n"
		    "be tried again.\r\n\r\n");
	for (size_t i = 0; i < d->nrcpts; i++)
		PRINT(out, "  <%s>\r\n      %s\r\n", d->rcpts[i].address,
		    d->rcpts[i].reply[0] != '\0' ? d->rcpts[i].reply : "no attempt succeeded");
	PRINT(out, "\r\n");
}

static void
fields(const struct queue_dsn *d, struct evbuffer *out)
{
	char when[40], status[12];

	PRINT(out, "--=_%s\r\nContent-Type: message/delivery-status\r\n\r\n", d->id);
	PRINT(out, "Reporting-MTA: dns; %s\r\nArrival-Date: %s\r\n", d->hostname,
	    date(d->message->created_ms, when));
	for (size_t i = 0; i < d->nrcpts; i++) {
		const struct queue_rcpt *r = &d->rcpts[i];

		queue_dsn_status(r->reply, !d->delayed, status);
		PRINT(out, "\r\nFinal-Recipient: rfc822; %s\r\nAction: %s\r\nStatus: %s\r\n",
		    r->address, d->delayed ? "delayed" : "failed", status);
		if (d->smart_host[0] != '\0')
			PRINT(out, "Remote-MTA: dns; %s\r\n", d->smart_host);
		if (r->reply[0] >= '2' && r->reply[0] <= '5' && r->reply[1] != '.')
			PRINT(out, "Diagnostic-Code: smtp; %s\r\n", r->reply);
		if (d->delayed)
			PRINT(out, "Will-Retry-Until: %s\r\n", date(d->end_ms, when));
	}
	PRINT(out, "\r\n");
}

void
queue_dsn_write(const struct queue_dsn *d, bool local, struct evbuffer *out)
{
	head(d, local, out);
	words(d, out);
	fields(d, out);
	PRINT(out, "--=_%s\r\nContent-Type: text/rfc822-headers\r\n\r\n", d->id);
	evbuffer_add(out, d->header.p, d->header.len);
	PRINT(out, "\r\n--=_%s--\r\n", d->id);
}
