/* daemon_box.c - seccomp filters as lists of what is allowed; everything else is
 * answered with EPERM and written to the audit log.  EPERM and not death, because a
 * library that asks for something harmless and new must not end mail service; ENOSYS
 * for clone3 and openat2, whose callers then use the older call that we can look into.
 *
 * A box is a row of lists: NET = base; STORE = base, files, code, Unix sockets; NETSTORE =
 * STORE and inet sockets.  Not in any: exec, fork, ptrace, mount, kill, bpf, io_uring,
 * keyctl, module and time setting calls. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/fs.h>
#include <linux/sockios.h>

#include "daemon_box.h"
#include "log.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Descriptors it has, memory, time, threads, signals to itself. */
static const char *const base_calls[] = { "read", "write", "readv", "writev", "pread64",
	"pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "close", "close_range", "lseek",
	"_llseek", "fstat", "fstat64", "newfstatat", "fstatat64", "fcntl", "fcntl64", "dup", "dup2",
	"dup3", "pipe", "pipe2", "poll", "ppoll", "ppoll_time64", "select", "_newselect",
	"pselect6", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait",
	"epoll_pwait2", "eventfd2", "timerfd_create", "timerfd_settime", "timerfd_gettime",
	"signalfd4", "memfd_create", "ftruncate", "ftruncate64", "fallocate", "fadvise64",
	"sendfile", "sendfile64", "splice", "tee", "vmsplice", "accept", "accept4", "listen",
	"recvfrom", "recvmsg", "recvmmsg", "sendto", "sendmsg", "sendmmsg", "getsockname",
	"getpeername", "getsockopt", "setsockopt", "shutdown", "socketpair", "brk", "munmap",
	"mremap", "madvise", "msync", "mincore", "membarrier", "mlock", "mlock2", "munlock",
	"mlockall", "munlockall", "clock_gettime", "clock_gettime64", "clock_getres",
	"clock_nanosleep", "nanosleep", "gettimeofday", "time", "times", "getrusage", "setitimer",
	"getitimer", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigreturn",
	"rt_sigpending", "rt_sigtimedwait", "rt_sigsuspend", "sigaltstack", "restart_syscall",
	"futex", "futex_time64", "set_robust_list", "get_robust_list", "rseq", "set_tid_address",
	"exit", "exit_group", "sched_yield", "sched_getaffinity", "sched_getparam",
	"sched_getscheduler", "sched_get_priority_max", "sched_get_priority_min", "getcpu",
	"gettid", "getpid", "getppid", "getpgrp", "getpgid", "getsid", "getuid", "geteuid",
	"getgid", "getegid", "getresuid", "getresgid", "getgroups", "getrandom", "uname", "sysinfo",
	"prlimit64", "getrlimit", "ugetrlimit", "umask", "capget" };

static const char *const file_calls[] = { "open", "openat", "creat", "stat", "stat64",
	"lstat", "lstat64", "access", "faccessat", "faccessat2", "statx", "statfs", "statfs64",
	"fstatfs", "fstatfs64", "readlink", "readlinkat", "rename", "renameat", "renameat2", "link",
	"linkat", "symlink", "symlinkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir",
	"getdents", "getdents64", "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown",
	"fchownat", "truncate", "truncate64", "fsync", "fdatasync", "sync_file_range", "syncfs",
	"flock", "utimensat", "utimensat_time64", "futimesat", "utime", "utimes", "getxattr",
	"lgetxattr", "fgetxattr", "setxattr", "lsetxattr", "fsetxattr", "listxattr", "llistxattr",
	"flistxattr", "removexattr", "lremovexattr", "fremovexattr", "chdir", "fchdir", "getcwd",
	"copy_file_range", "mknod", "mknodat", "readahead", "inotify_init", "inotify_init1",
	"inotify_add_watch", "inotify_rm_watch", "fanotify_init", "fanotify_mark",
	"name_to_handle_at", "getpriority", "setpriority", "ioprio_set", "ioprio_get" };

static const char *const socket_calls[] = { "bind", "connect" };

/* The sanitizers' leak check stops its own threads; their reports start a symbolizer. */
static const char *const sanitizer_calls[] = { "ptrace", "clone", "clone3", "fork", "vfork",
	"wait4", "kill", "tgkill", "process_vm_readv", "personality", "prctl", "readlink", "openat",
	"open", "stat", "lstat", "access", "getdents64", "mmap", "mprotect", "arch_prctl",
	"ioctl", "execve", "socket", "connect" };

/* What is asked of descriptors: event loops, terminals, serial lines, interfaces. */
static const unsigned long base_ioctls[] = { FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, TCGETS,
	TIOCGWINSZ, SIOCOUTQ };
static const unsigned long file_ioctls[] = { TCSETS, TCSETSW, TCSETSF, TCFLSH, TCSBRK, TCSBRKP,
	TCXONC, TIOCMGET, TIOCMSET, TIOCMBIS, TIOCMBIC, TIOCEXCL, TIOCGSERIAL, TIOCSSERIAL, FICLONE,
	FICLONERANGE, FIGETBSZ, FS_IOC_GETFLAGS, SIOCGIFINDEX, SIOCGIFNAME, SIOCGIFFLAGS,
	SIOCGIFADDR, SIOCGIFHWADDR, SIOCGIFMTU, SIOCGIFCONF, SIOCGIFBRDADDR, SIOCGIFNETMASK };

static int
allow_all(scmp_filter_ctx f, const char *const names[], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int nr = seccomp_syscall_resolve_name(names[i]);
		int rc;

		/* Negative: not a call of this architecture. */
		if (nr < 0)
			continue;
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, nr, 0);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
allow_ioctls(scmp_filter_ctx f, const unsigned long requests[], size_t n)
{
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
		    SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, requests[i]));
	return rc;
}

static int
allow_family(scmp_filter_ctx f, int family)
{
	return seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
	    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)family));
}

/* Calls that are looked into: new threads but no new processes, names but no other
 * prctl, signals to this process only. */
static int
allow_narrow(scmp_filter_ctx f)
{
	static const int prctls[] = { PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_SET_VMA,
		PR_GET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, PR_GET_PDEATHSIG };
	int rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
	    SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));

	if (rc == 0)
		rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (rc == 0)
		rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(openat2), 0);
	if (rc == 0)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
		    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	for (size_t i = 0; i < COUNT(prctls) && rc == 0; i++)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
		    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)prctls[i]));
	return rc;
}

/* New code only where files may be opened (iconv loads its tables as libraries). */
static int
allow_memory(scmp_filter_ctx f, bool code)
{
	int rc;

	if (code) {
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 0);
		return rc < 0 ? rc : seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 0);
	}
	rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
	    SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return rc < 0 ? rc : seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
	    SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

static int
fill_files(scmp_filter_ctx f)
{
	int rc = allow_all(f, file_calls, COUNT(file_calls));

	if (rc == 0)
		rc = allow_ioctls(f, file_ioctls, COUNT(file_ioctls));
	if (rc == 0)
		rc = allow_all(f, socket_calls, COUNT(socket_calls));
	if (rc == 0)
		rc = allow_family(f, AF_UNIX);
	return rc;
}

static int
fill_inet(scmp_filter_ctx f)
{
	int rc = allow_family(f, AF_INET);

	if (rc == 0)
		rc = allow_family(f, AF_INET6);
	if (rc == 0)
		rc = allow_family(f, AF_NETLINK);	/* names and numbers of interfaces */
	return rc;
}

static int
fill(scmp_filter_ctx f, enum daemon_box box)
{
	int rc = allow_all(f, base_calls, COUNT(base_calls));

	if (rc == 0)
		rc = allow_ioctls(f, base_ioctls, COUNT(base_ioctls));
	if (rc == 0 && DAEMON_SANITIZED)
		rc = allow_all(f, sanitizer_calls, COUNT(sanitizer_calls));
	if (rc == 0 && !DAEMON_SANITIZED)
		rc = allow_narrow(f);
	if (rc == 0 && !DAEMON_SANITIZED)
		rc = allow_memory(f, box != DAEMON_BOX_NET);
	if (rc == 0 && box != DAEMON_BOX_NET)
		rc = fill_files(f);
	if (rc == 0 && box == DAEMON_BOX_NETSTORE)
		rc = fill_inet(f);
	return rc;
}

int
daemon_box_enter(enum daemon_box box)
{
	scmp_filter_ctx f;
	int rc;

	if (box == DAEMON_BOX_NONE)
		return 0;
	f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (f == NULL) {
		errno = ENOMEM;
		return -1;
	}
	/* The kernel writes refused calls to its audit log; an old one cannot. */
	if (seccomp_attr_set(f, SCMP_FLTATR_CTL_LOG, 1) < 0)
		log_debug("seccomp: refused calls are not logged by this kernel");
	/* A binary tree: the event loop's calls must not walk a list of 200. */
	if (seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2) < 0)
		log_debug("seccomp: filter not optimised");
	rc = fill(f, box);
	if (rc == 0)
		rc = seccomp_load(f);
	seccomp_release(f);
	errno = rc < 0 ? -rc : 0;
	return rc < 0 ? -1 : 0;
}
