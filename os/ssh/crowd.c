/*
 * The container has room for so many processes; one user could take it all, and nobody else, root
 * neither, could log in any more. RLIMIT_NPROC is no help: it counts what has the same number in
 * other containers. So whenever a process could not be made, all those of the user who has most
 * here are ended. Root's stay, and those that sshd talks to strangers with.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "crowd.h"

#define CGROUP "/sys/fs/cgroup/"

enum {
	MAX_PROCESSES = 1024, /* more than the container may have */
	MIN_TO_END = 16,      /* who has less is not who has used it up */
	MAX_PASSES = 64,
};

static struct process {
	pid_t pid;
	uid_t user;
	long threads;
	int handle;
} found[MAX_PROCESSES];

/* How often a process could not be made, which the file says as "max NUMBER"; reading it ends POLLPRI. */
static long read_failures(int events)
{
	char text[256];
	ssize_t size = pread(events, text, sizeof text - 1, 0);
	const char *number;

	text[size > 0 ? size : 0] = 0;
	number = strstr(text, "max ");
	return number ? strtol(number + 4, NULL, 10) : 0;
}

static long failures;

/* A descriptor to poll for POLLPRI and to hand to `crowd_thin`; -1 if there is no limit. */
int crowd_watch(void)
{
	int events = open(CGROUP "pids.events", O_RDONLY | O_CLOEXEC);

	if (events >= 0)
		failures = read_failures(events);
	return events;
}

/* User and threads of a process, from its status; 0 if it is gone. */
static int look(struct process *process)
{
	char path[64], line[256];
	unsigned int user = 0;
	int known = 0;
	FILE *status;

	snprintf(path, sizeof path, "/proc/%d/status", (int)process->pid);
	status = fopen(path, "re");
	if (!status)
		return 0;
	while (known < 2 && fgets(line, sizeof line, status))
		known += sscanf(line, "Uid: %u", &user) == 1 || sscanf(line, "Threads: %ld", &process->threads) == 1;
	fclose(status);
	process->user = user;
	return known == 2;
}

static void release(size_t count)
{
	while (count > 0)
		close(found[--count].handle);
}

/* Find the container's processes. A handle is there before one is looked at: its number may be another's later. */
static size_t list(void)
{
	FILE *procs = fopen(CGROUP "cgroup.procs", "re");
	size_t count = 0;
	int pid;

	while (procs && count < MAX_PROCESSES && fscanf(procs, "%d", &pid) == 1) {
		struct process *process = &found[count];

		process->pid = pid;
		process->handle = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
		if (process->handle < 0)
			continue;
		if (look(process))
			count++;
		else
			close(process->handle);
	}
	if (procs)
		fclose(procs);
	return count;
}

/* Who has most, and how much; root if nobody has a lot. */
static uid_t find_user(size_t count, long *threads)
{
	struct passwd *strangers = getpwnam("sshd");
	uid_t user = 0;

	*threads = MIN_TO_END - 1;
	for (size_t i = 0; i < count; i++) {
		long sum = 0;

		if (!found[i].user || (strangers && found[i].user == strangers->pw_uid))
			continue;
		for (size_t j = 0; j < count; j++)
			if (found[j].user == found[i].user)
				sum += found[j].threads;
		if (sum > *threads) {
			*threads = sum;
			user = found[i].user;
		}
	}
	return user;
}

static size_t send(uid_t user, size_t count, int number)
{
	size_t sent = 0;

	for (size_t i = 0; i < count; i++)
		if (found[i].user == user && syscall(SYS_pidfd_send_signal, found[i].handle, number, NULL, 0) == 0)
			sent++;
	return sent;
}

/* Stop all before ending any: what is stopped makes no new ones, and leaves no room to those that yet run. */
static void end(uid_t user)
{
	size_t before = 0;

	for (int pass = 0; pass < 2 * MAX_PASSES; pass++) {
		int ending = pass >= MAX_PASSES;
		size_t count = list(), sent = send(user, count, ending ? SIGKILL : SIGSTOP);

		release(count);
		if (ending && !sent)
			return;
		if (!ending && sent == before)
			pass = MAX_PASSES - 1;
		before = sent;
	}
}

/* If a process could not be made since the last time, make room. */
void crowd_thin(int events)
{
	struct passwd *entry;
	long threads, now = events < 0 ? failures : read_failures(events);
	size_t count;
	uid_t user;

	if (now == failures)
		return;
	failures = now;
	count = list();
	user = find_user(count, &threads);
	release(count);
	if (!user)
		return;
	end(user);
	entry = getpwuid(user);
	fprintf(stderr, "ssh: %s had %ld processes and left no room for others: all are ended\n",
		entry ? entry->pw_name : "a user without a name", threads);
}
