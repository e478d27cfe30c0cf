/* mailctl_wait.h - until maild listens on its control socket. */
#ifndef MAIL_MAILCTL_WAIT_H
#define MAIL_MAILCTL_WAIT_H

/* 0: somebody accepts connections there; -1: nobody did within the limit. */
int mailctl_wait(const char *socket, int limit_ms);

#endif
