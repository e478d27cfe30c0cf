/* imap_search.h - a SEARCH as a tree of keys (RFC 3501 6.4.4), and its answer for one
 * message.  Keys that need little are asked first: see imap_search_eval(). */
#ifndef MAIL_IMAP_SEARCH_H
#define MAIL_IMAP_SEARCH_H

#include "imap_parse.h"
#include "imap_view.h"
#include "mime.h"

enum search_key {
	KEY_ALL, KEY_AND, KEY_OR, KEY_NOT,
	KEY_SEQ, KEY_UID, KEY_FLAG, KEY_RECENT,			/* the view knows */
	KEY_KEYWORD, KEY_BEFORE, KEY_ON, KEY_SINCE, KEY_LARGER, KEY_SMALLER,	/* the index */
	KEY_SENTBEFORE, KEY_SENTON, KEY_SENTSINCE, KEY_HEADER,	/* the header */
	KEY_BODY, KEY_TEXT,					/* everything */
};

struct search_node {
	enum search_key key;
	struct search_node *a, *b;	/* AND, OR: both; NOT: a */
	uint32_t flag;
	uint64_t number;		/* size */
	int64_t day;
	struct imap_set set;		/* SEQ, UID */
	struct view_set found;		/* the same, resolved by the session */
	const char *field;		/* HEADER: its name */
	const char *text;		/* KEYWORD, or what is looked for, folded */
};

enum search_rc { SEARCH_OK, SEARCH_BAD, SEARCH_CHARSET };
/* [CHARSET name SP] keys, to the end of the command. */
enum search_rc imap_get_search(struct imap_cur *, struct search_node **);

/* A message, as far as it is known. */
enum search_level { LEVEL_VIEW, LEVEL_INDEX, LEVEL_HEAD, LEVEL_BODY, LEVELS };
struct search_msg {
	size_t index;
	const struct view_msg *view;
	const struct store_msg *msg;	/* from LEVEL_INDEX on */
	struct span head;		/* from LEVEL_HEAD on */
	const struct mime *mime;	/* LEVEL_BODY */
};
enum search_answer { ANSWER_NO, ANSWER_YES, ANSWER_UNKNOWN };
/* Unknown: ask again with the next level.  Never so at LEVEL_BODY. */
enum search_answer imap_search_eval(const struct search_node *, const struct search_msg *,
    enum search_level);
/* The day that a Date field names, as written; false when it names none. */
bool imap_search_sent_day(struct span value, int64_t *day);

#endif
