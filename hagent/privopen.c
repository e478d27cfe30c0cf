/* privopen.c - opens sockets and serial lines as root and hands them out.
 *
 * Everything is non-blocking and close-on-exec.  A serial line is opened with
 * O_NONBLOCK because a blocking open waits for carrier, for ever where the cable is
 * bad; CLOCAL keeps it so.  Fails with the errno of the step that failed; nothing
 * stays open then.  Does not read or write. */
#include "privopen.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static int
close_failed(int fd)
{
	int keep = errno;

	close(fd);
	errno = keep;
	return -1;
}

static const struct { uint32_t baud; speed_t speed; } speeds[] = {
	{ 1200, B1200 }, { 2400, B2400 }, { 4800, B4800 }, { 9600, B9600 },
	{ 19200, B19200 }, { 38400, B38400 }, { 57600, B57600 }, { 115200, B115200 },
	{ 230400, B230400 }, { 460800, B460800 }, { 921600, B921600 },
};

int
privopen_tty_setup(int fd, uint32_t baud)
{
	struct termios t;
	speed_t speed = 0;

	for (size_t i = 0; i < sizeof(speeds) / sizeof(speeds[0]); i++)
		if (speeds[i].baud == baud)
			speed = speeds[i].speed;
	if (speed == 0) {
		errno = EINVAL;
		return -1;
	}
	if (tcgetattr(fd, &t) == -1)
		return -1;
	cfmakeraw(&t);
	t.c_cflag |= CLOCAL | CREAD;
	t.c_cflag &= (tcflag_t)~(CRTSCTS | HUPCL | CSTOPB);
	t.c_iflag |= IGNBRK | IGNPAR;
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	if (cfsetispeed(&t, speed) == -1 || cfsetospeed(&t, speed) == -1 ||
	    tcsetattr(fd, TCSANOW, &t) == -1)
		return -1;
	return tcflush(fd, TCIOFLUSH);
}

static int
open_serial(const struct link_conf *l)
{
	int fd = open(l->device, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd == -1)
		return -1;
	if (privopen_tty_setup(fd, l->baud) == -1)
		return close_failed(fd);
	/* One program a line: a getty or a second agent would eat frames.  A pty does
	 * not know the request, which is fine. */
	(void)ioctl(fd, TIOCEXCL);
	return fd;
}

int
privopen_link(const struct link_conf *l, unsigned self)
{
	return l->medium == MEDIUM_SERIAL ? open_serial(l) : privopen_udp(l, self);
}

int
privopen_ping(const struct ping_conf *p)
{
	bool v4 = p->address.ss_family == AF_INET;
	int fd = socket(p->address.ss_family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    v4 ? (int)IPPROTO_ICMP : (int)IPPROTO_ICMPV6);
	struct icmp_filter f4 = { ~(1U << ICMP_ECHOREPLY) };
	struct icmp6_filter f6;
	int rc;

	if (fd == -1)
		return -1;
	ICMP6_FILTER_SETBLOCKALL(&f6);
	ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &f6);
	rc = v4 ? setsockopt(fd, SOL_RAW, ICMP_FILTER, &f4, sizeof(f4))
	    : setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &f6, sizeof(f6));
	return rc == -1 ? close_failed(fd) : fd;
}
