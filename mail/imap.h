/* imap.h - an IMAP session in its parts: imap.c reads and dispatches commands, each
 * imap_x.c has the commands of one subject.  A command is answered by exactly one
 * imap_finish(), at once, or later by a job (FETCH, SEARCH: pieces of work) or by the
 * store's answer (session_wait). */
#ifndef MAIL_IMAP_H
#define MAIL_IMAP_H

#include "arena.h"
#include "imap_input.h"
#include "imap_parse.h"
#include "imap_view.h"
#include "session_int.h"

#define IMAP_TAG_MAX 64

enum { IMAP_AUTH = 1, IMAP_SELECTED = 2, IMAP_ANY = 3 };	/* states, as bits */
enum {
	CMD_UID = 1,		/* exists with UID in front as well */
	CMD_UID_ONLY = 2,	/* only so */
	CMD_NO_EXPUNGE = 4,	/* without UID: numbers stand still while it runs */
	CMD_WRITES = 8,		/* not in a mailbox opened by EXAMINE */
};

struct imap_command {
	const char *name;
	unsigned states, flags;
	void (*run)(struct session *, struct imap_cur *);
};

struct imap_box_name {		/* decoded; "INBOX" in capitals */
	char utf8[STORE_NAME_MAX + 1];
};
struct imap_append_state;

struct imap {
	struct imap_input input;
	struct arena arena;		/* of the command under way */
	const struct imap_command *cmd;	/* NULL: between commands */
	char tag[IMAP_TAG_MAX + 1];
	bool uid;			/* "UID ..." */
	/* A job does pieces of the command's work; false: it waits or has finished. */
	bool (*job)(struct session *);
	void (*job_free)(void *);
	void *job_data;
	bool in_message;		/* a FETCH response is half written */
	struct imap_view *view;		/* NULL: nothing is selected */
	struct store_watch *watch;
	bool idling;
	struct imap_append_state *append;	/* an APPEND whose message comes or has come */
	const char *refusal;		/* the answer when a refused command has been skipped */
	char *bye;			/* to be said when the answer under way is whole */
	unsigned bad;			/* commands in a row that made no sense */
};

extern const struct imap_command imap_commands[];

/* "OK ...", "NO [CODE] ...", "BAD ...", without the tag: tells what has changed (where
 * this command allows it), answers, and ends the command. */
void imap_finish(struct session *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void imap_bad(struct session *, const char *why);
/* NO with the response code that fits; unknown_code: for MAIL_UNKNOWN. */
void imap_no(struct session *, enum mail_rc, const char *unknown_code);
/* How a change ended, when nothing else is to be said; for session_wait(). */
void imap_done(struct session *, const struct store_result *);
void imap_tell(struct session *, bool expunges);	/* untagged news */
void imap_select_clear(struct session *);		/* leaves the mailbox */
void imap_job_start(struct session *, bool (*job)(struct session *), void *data,
    void (*job_free)(void *));
void imap_job_end(struct session *);
bool imap_name_decode(struct span wire, struct imap_box_name *);
/* The same, answering NO when it is no name. */
bool imap_mailbox_name(struct session *, struct span, struct imap_box_name *);
/* The end of the command; answers BAD and gives false when more is there. */
bool imap_no_args(struct session *, struct imap_cur *);
/* SP sequence-set; answers BAD and gives false when it is not one. */
bool imap_arg_set(struct session *, struct imap_cur *, struct view_set *);

/* imap_write.c: pieces of responses */
void imap_put(struct evbuffer *, const char *);
void imap_put_string(struct evbuffer *, struct span);		/* quoted or literal */
void imap_put_nstring(struct evbuffer *, struct span);		/* p NULL: NIL */
void imap_put_mailbox(struct evbuffer *, const char *utf8);
void imap_put_flags(struct evbuffer *, uint32_t flags, const char *keywords, bool recent);
void imap_put_date(struct evbuffer *, int64_t internal_s);	/* quoted */
void imap_put_uids(struct evbuffer *, const uint32_t *, size_t);	/* 1:3,7 */
void imap_put_flag_names(struct evbuffer *, const struct imap_view *, bool permanent);
void imap_put_copyuid(struct evbuffer *, const struct store_result *);

/* the commands */
void imap_cmd_select(struct session *, struct imap_cur *);
void imap_cmd_examine(struct session *, struct imap_cur *);
void imap_cmd_close(struct session *, struct imap_cur *);
void imap_cmd_unselect(struct session *, struct imap_cur *);
void imap_cmd_check(struct session *, struct imap_cur *);
void imap_cmd_fetch(struct session *, struct imap_cur *);
void imap_cmd_search(struct session *, struct imap_cur *);
void imap_cmd_store(struct session *, struct imap_cur *);
void imap_cmd_expunge(struct session *, struct imap_cur *);
void imap_cmd_copy(struct session *, struct imap_cur *);
void imap_cmd_move(struct session *, struct imap_cur *);
void imap_cmd_create(struct session *, struct imap_cur *);
void imap_cmd_delete(struct session *, struct imap_cur *);
void imap_cmd_rename(struct session *, struct imap_cur *);
void imap_cmd_subscribe(struct session *, struct imap_cur *);
void imap_cmd_unsubscribe(struct session *, struct imap_cur *);
void imap_cmd_list(struct session *, struct imap_cur *);
void imap_cmd_lsub(struct session *, struct imap_cur *);
void imap_cmd_status(struct session *, struct imap_cur *);
void imap_cmd_idle(struct session *, struct imap_cur *);
/* A literal is announced: true when it is APPEND's message and was dealt with. */
bool imap_append_literal(struct session *);
void imap_append_end(struct session *);		/* its line is complete */
void imap_append_free(struct imap_append_state *);
void imap_begin(struct session *, struct span tag, const struct imap_command *, bool uid);
const struct imap_command *imap_command_find(struct span name);
/* STORE without .SILENT: the new flags of these messages, then "OK text". */
void imap_fetch_flags(struct session *, const struct view_set *, const char *text);

#endif
