/* banner.c - the service of the comparison: a TCP server that says one line and hangs
 * up.  An init-style resource script (start, stop, status) for every cluster manager,
 * in C so that none is measured by the start of an interpreter. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PID_FILE "/run/banner.pid"
#define PORT 7

static pid_t
running(void)
{
	FILE *f = fopen(PID_FILE, "r");
	int pid = 0;

	if (f == NULL)
		return 0;
	if (fscanf(f, "%d", &pid) != 1 || pid <= 0 || kill(pid, 0) == -1)
		pid = 0;
	fclose(f);
	return pid;
}

static void
serve(int listener)
{
	static const char line[] = "220 here\r\n";
	int null = open("/dev/null", O_RDWR);

	setsid();
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	for (;;) {
		int c = accept(listener, NULL, NULL);

		if (c == -1 && errno != EINTR && errno != ECONNABORTED)
			_exit(1);
		if (c == -1)
			continue;
		(void)send(c, line, sizeof(line) - 1, MSG_NOSIGNAL);
		close(c);
	}
}

/* Listens before it goes into the background: who sees the end may send clients. */
static int
start(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int listener, on = 1;
	pid_t pid;
	FILE *f;

	if (running() != 0)
		return 0;
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener == -1 ||
	    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1 ||
	    bind(listener, (struct sockaddr *)&any, sizeof(any)) == -1 ||
	    listen(listener, 512) == -1 || (pid = fork()) == -1)
		return 1;
	if (pid == 0)
		serve(listener);
	if ((f = fopen(PID_FILE, "w")) == NULL)
		return 1;
	fprintf(f, "%d\n", (int)pid);
	return fclose(f) == 0 ? 0 : 1;
}

static int
stop(void)
{
	pid_t pid = running();

	if (pid != 0 && kill(pid, SIGKILL) == -1 && errno != ESRCH)
		return 1;
	return unlink(PID_FILE) == -1 && errno != ENOENT ? 1 : 0;
}

int
main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (strcmp(verb, "start") == 0)
		return start();
	if (strcmp(verb, "stop") == 0)
		return stop();
	if (strcmp(verb, "status") == 0)
		return running() != 0 ? 0 : 3;
	return 2;
}
