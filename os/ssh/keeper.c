/*
 * The first process of the SSH server's container: has the configuration written, runs sshd, and has it
 * read a changed configuration while its sessions go on. It also listens for `sudo` (os/people/elevate.c).
 * And it sees to it that there is room for one more process (crowd.c). When sshd ends, so does this, and
 * the engine starts both anew.
 *
 *   SIGHUP    the machine's configuration has changed
 *   SIGTERM   the end of all
 */

#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crowd.h"
#include "elevate.h"

static char *const prepare_arguments[] = {"/usr/bin/python3.13", "-I", "-S", "-OO",
					  "/usr/lib/orlop/python", "service", "ssh", NULL};
static char *const sshd_arguments[] = {"/usr/sbin/sshd", "-D", "-f", "/run/ssh/sshd_config", NULL};
static char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};

/* The kernel tells of a crowd at once, but not of one in a cgroup of version 1. */
enum { LOOK_MS = 5000 };

static pid_t preparing, server;
static int again; /* changed once more while it was being prepared */

static pid_t start(char *const arguments[])
{
	pid_t child = fork();

	if (child == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		execve(arguments[0], arguments, environment);
		fprintf(stderr, "ssh: %s: %s\n", arguments[0], strerror(errno));
		_exit(127);
	}
	if (child < 0) {
		fprintf(stderr, "ssh: no process for %s: %s\n", arguments[0], strerror(errno));
		_exit(1);
	}
	return child;
}

static void prepared(int status)
{
	preparing = 0;
	if (status && !server) { /* its own words are in the log */
		_exit(1);
	} else if (again) {
		again = 0;
		preparing = start(prepare_arguments);
	} else if (!server) {
		server = start(sshd_arguments);
	} else if (!status) {
		kill(server, SIGHUP);
	}
}

static void reap(void)
{
	pid_t child;
	int status;

	while ((child = waitpid(-1, &status, WNOHANG)) > 0) {
		elevate_reap(child);
		if (child == preparing)
			prepared(status);
		else if (child == server)
			_exit(WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1);
	}
}

static void take_signals(int descriptor)
{
	struct signalfd_siginfo information;

	while (read(descriptor, &information, sizeof information) == sizeof information)
		switch (information.ssi_signo) {
		case SIGCHLD:
			reap();
			break;
		case SIGHUP:
			if (preparing)
				again = 1;
			else
				preparing = start(prepare_arguments);
			break;
		default:
			if (server)
				kill(server, SIGTERM);
			_exit(0);
		}
}

int main(void)
{
	struct pollfd slots[3] = {{.events = POLLIN}, {.events = POLLIN}, {.events = POLLPRI}};
	sigset_t handled;

	sigemptyset(&handled);
	sigaddset(&handled, SIGCHLD);
	sigaddset(&handled, SIGHUP);
	sigaddset(&handled, SIGINT);
	sigaddset(&handled, SIGTERM);
	sigprocmask(SIG_BLOCK, &handled, NULL);
	slots[0].fd = signalfd(-1, &handled, SFD_NONBLOCK | SFD_CLOEXEC);
	if (slots[0].fd < 0) {
		fprintf(stderr, "ssh: signalfd: %s\n", strerror(errno));
		return 1;
	}
	slots[1].fd = elevate_listen();
	slots[2].fd = crowd_watch();
	preparing = start(prepare_arguments);
	for (;;) {
		if (poll(slots, 3, LOOK_MS) < 0)
			continue;
		if (slots[0].revents)
			take_signals(slots[0].fd);
		if (slots[1].revents)
			elevate_accept(slots[1].fd);
		crowd_thin(slots[2].fd);
	}
}
