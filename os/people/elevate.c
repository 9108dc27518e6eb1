/*
 * The socket on which `sudo` asks to have a command run as root, part of the programs that the consoles
 * and the SSH server are kept by: no file in the system is set-uid, so somebody who is root already has
 * to do it. Each connection gets a process of its own, which finds out who asks (the kernel vouches
 * for that), whether they may, and runs the command: src/orlop/services/elevate. What is here only
 * limits how many there are, for each user and in all.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "elevate.h"

#define SOCKET "/run/elevate/socket"

enum {
	CONNECTION = 3,     /* the descriptor that the program finds its connection at */
	MAX_CHILDREN = 16,
	MAX_OF_A_USER = 6,  /* so that nobody but root can use them up alone */
	BACKLOG = 16,
};

static struct {
	pid_t process; /* 0: free */
	uid_t user;
} children[MAX_CHILDREN];

/* A descriptor to poll and to hand to `elevate_accept`; -1 if there can be none. */
int elevate_listen(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SOCKET};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (listener < 0)
		return -1;
	unlink(SOCKET);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || chmod(SOCKET, 0666) < 0 ||
	    listen(listener, BACKLOG) < 0) {
		fprintf(stderr, "no sudo: %s: %s\n", SOCKET, strerror(errno));
		close(listener);
		return -1;
	}
	return listener;
}

static int find_place(uid_t user)
{
	int place = -1, used = 0;

	for (int i = 0; i < MAX_CHILDREN; i++) {
		if (!children[i].process)
			place = i;
		else if (children[i].user == user)
			used++;
	}
	return user && used >= MAX_OF_A_USER ? -1 : place;
}

static void become_program(int connection)
{
	static char *const arguments[] = {"/usr/bin/python3.13", "-I", "-S", "-OO", "/usr/lib/orlop/python",
					  "service", "elevate", NULL};
	static char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", NULL};
	sigset_t none;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	if (null >= 0)
		dup2(null, 0);
	if (connection == CONNECTION)
		fcntl(CONNECTION, F_SETFD, 0);
	else
		dup2(connection, CONNECTION);
	execve(arguments[0], arguments, environment);
	_exit(127);
}

/* Start the program for the next connection; one too many is closed. */
void elevate_accept(int listener)
{
	int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	struct ucred peer;
	socklen_t size = sizeof peer;
	int place;

	if (connection < 0)
		return;
	if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	    (place = find_place(peer.uid)) >= 0) {
		pid_t child = fork();

		if (child == 0)
			become_program(connection);
		if (child > 0) {
			children[place].process = child;
			children[place].user = peer.uid;
		}
	}
	close(connection);
}

/* *child* has ended; it may be somebody else's. */
void elevate_reap(pid_t child)
{
	for (int i = 0; i < MAX_CHILDREN; i++)
		if (children[i].process == child)
			children[i].process = 0;
}
