/* hold.c - see hold.h. */
#include "hold.h"

#include <event2/bufferevent.h>
#include <event2/event.h>

#include "lease.h"

bool
hold_stream(const struct lease *lease, struct bufferevent *bev, bool *held)
{
	bool holds = lease_holds(lease);

	if (holds && *held)
		bufferevent_enable(bev, EV_WRITE);
	else if (!holds && !*held)
		bufferevent_disable(bev, EV_WRITE);
	*held = !holds;
	return *held;
}
