/* policy_reliance.c - in one line: what a pair of this configuration relies on, and
 * what it does not survive.  Shown where an operator looks before anything fails. */
#include <stdio.h>

#include "policy.h"

static const char *
relies(const struct policy_conf *c)
{
	switch (c->mode) {
	case POLICY_SERIAL_PING:
		return c->watchdog_ms > 0
		    ? "silence on every link, a living ping target, free addresses, the watchdog"
		    : "silence on every link, a living ping target, free addresses";
	case POLICY_FENCING:
		return "a fence device that verifies off";
	case POLICY_QUORUM:
		return "the quorum, and an armed watchdog on both nodes";
	case POLICY_MANUAL:
		break;
	}
	return "an operator";
}

static const char *
survives_not(const struct policy_conf *c, bool serial)
{
	switch (c->mode) {
	case POLICY_SERIAL_PING:
		if (!c->pings)
			return "the active node's death: without ping targets nobody takes over";
		return serial ? "all links cut while both see a ping target and address probes are "
		                "blocked: both serve"
		              : "one switch that all links share, when both see a ping target and "
		                "address probes are blocked: both serve";
	case POLICY_FENCING:
		return "the fence device and the other node gone together: waits for an operator";
	case POLICY_QUORUM:
		return "the quorum and the other node gone together: waits for an operator";
	case POLICY_MANUAL:
		break;
	}
	return "the active node's death without one: nobody takes over by itself";
}

const char *
policy_reliance(const struct policy_conf *c, bool serial, char *buf, size_t size)
{
	snprintf(buf, size, "%s%s; not survived: %s", relies(c),
	    c->quorum_require && c->mode != POLICY_QUORUM ? ", with a quorum" : "",
	    survives_not(c, serial));
	return buf;
}
