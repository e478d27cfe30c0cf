/* hook.h - planned mistakes, for tests/fault only.  They are compiled in with HOOKS=1
 * and one is chosen by the environment variable MAILPAIR_HOOK; each has a test that
 * must find it.  In a normal build hook_on() is the constant false.
 *   promote-without-belief     being in step is not asked for before a promotion
 *   solo-without-evidence      every wish to go on alone is granted
 *   release-of-any-generation  a RELEASE counts whatever its generation
 *   ack-before-peer            acknowledged before the other node has it
 *   ack-before-fsync           acknowledged before it is on the own disk
 *   accept-old-generation      batches of an older generation are taken
 *   fence-unknown-is-off       a fence device that failed or did not answer counts as off
 *   quorum-ignored             going on alone does not ask for the quorum
 *   lease-not-waited           the other node's watchdog counts as fired at once
 *   cold-start-unasked         who booted alone serves, whether it was the last active or not
 *   answer-after-pause         who stood still answers clients at once
 *   number-not-durable         a generation is used before its number is on the disk
 *   ignore-outdate             OUTDATED is answered, and nothing is marked
 *   release-before-stopped     RELEASE does not wait for the resources to stop
 *   accept-replayed-frame      a frame inside the window counts as often as it comes
 *   accept-without-echo        contents count without the nonce of this boot
 *   accept-old-boot            frames from before a restart of the peer are accepted
 *   restart-counts-as-silence  what was not heard since the start is silent at once
 *   fenced-acknowledges        a newer generation exists, and acknowledging goes on
 *   join-before-caught-up      in step as soon as an active is seen
 *   cut-acknowledged-tail      what was acknowledged alone is thrown away at a fork
 *   segment-name-not-synced    a segment of the log is used before its name is on the disk
 *   name-not-synced            a file that was replaced counts before its name is on the disk
 *   objects-not-synced         a checkpoint does not sync the messages
 *   sync-retried               a sync of the log that failed is tried again, and believed
 *   checkpoint-retried         the same of a store's checkpoint
 *   answer-without-lease       clients are answered though the lease has run out
 *   trim-ignores-peer          the log is trimmed whatever the other node needs
 *   trim-ignores-own           the log is trimmed whatever this node needs
 *   replay-twice               a record that comes again is applied again
 *   keep-torn-record           recovery of the log looks at lengths and LSNs only
 *   mirror-wrong-direction     the standby sends its tree to the active
 *   mirror-absence-deletes     what is absent in the source goes on the standby, however much
 *   mirror-unread-deletes      so does what could not be read in the source
 *   mirror-torn-file           a file that was written while it was read is put in place
 *   mirror-unsynced-file       a file gets its name before its bytes are on the disk
 *   ignore-event               of the change source's events only those of names count
 *   merge-honours-removal      a merge takes what one side removed away, also when the
 *                              other one has changed it since
 *   merge-drops-added          what the other side added does not come along
 *   merge-takes-twice          what was dealt with by a merge before is dealt with again
 *   reuse-uid                  after a takeover UIDs continue behind the messages that
 *                              are present, instead of behind all ever given
 *   queue-merge-done-ignored   what the other node delivered is sent again
 *   queue-merge-drops          messages that only the other node has do not come along
 *   queue-merge-again          an earlier merge counts for nothing
 *   dir-merge-drops            users that only the other node has do not come along
 *   dir-merge-id-again         ids of users that the other node deleted are given again */
#ifndef LIB_HOOK_H
#define LIB_HOOK_H

#include <stdbool.h>

#ifdef MAILPAIR_HOOKS
#include <stdlib.h>
#include <string.h>

static inline bool
hook_on(const char *name)
{
	const char *on = getenv("MAILPAIR_HOOK");

	return on != NULL && strcmp(on, name) == 0;
}
#else
static inline bool
hook_on(const char *name)
{
	(void)name;
	return false;
}
#endif

#endif
