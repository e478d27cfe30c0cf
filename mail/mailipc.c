/* mailipc.c - the names of maild's result codes and services, for log lines and
 * status, and what a refusal of the log means to who asked.  Nothing here can fail:
 * an unknown number has the name "?". */
#include "mailipc.h"

const char *
mail_rc_name(enum mail_rc rc)
{
	static const char *const names[] = { "ok", "temp", "not-twice", "disk-full", "not-active",
		"over-quota", "unknown", "denied", "exists", "relay", "bad" };

	return (unsigned)rc < sizeof(names) / sizeof(names[0]) ? names[rc] : "?";
}

enum mail_rc
mail_rc_refused(enum owner_refusal why)
{
	switch (why) {
	case OWNER_NOT_ACTIVE:
		return MAIL_NOT_ACTIVE;
	case OWNER_NOT_TWICE:
		return MAIL_NOT_TWICE;
	case OWNER_DISK_FULL:
		return MAIL_DISK_FULL;
	case OWNER_BUSY:
	case OWNER_FAILED:
		break;
	}
	return MAIL_TEMP;
}

const char *
mail_service_name(enum mail_service service)
{
	static const char *const names[] = { "?", "smtp", "submission", "submissions", "pop3",
		"pop3s", "imap", "imaps" };

	return (unsigned)service < sizeof(names) / sizeof(names[0]) ? names[service] : "?";
}
