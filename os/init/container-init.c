/* The first process of a container started with `--init`: runs the command, passes signals on to it,
 * reaps what its descendants leave behind, and ends as it ends.
 *
 *   container-init [--] COMMAND [ARGUMENT...]
 *
 * The command becomes a process group of its own, in the foreground of the terminal if there is one,
 * so that what a terminal sends reaches it once and not twice. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* Faults of our own: blocking them would hide them. */
static const int faults[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS};

static void run(char **command, const sigset_t *mask)
{
    setpgid(0, 0);
    /* From the background, which we are in now, this would stop us. */
    signal(SIGTTOU, SIG_IGN);
    if (tcsetpgrp(STDIN_FILENO, getpgrp()) != 0 && errno != ENOTTY && errno != ENXIO)
        (void)errno; /* a terminal that is not ours to control: the command runs all the same */
    signal(SIGTTOU, SIG_DFL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(command[0], command);
    int reason = errno;
    fprintf(stderr, "init: cannot execute %s: %s\n", command[0], strerror(reason));
    _exit(reason == ENOENT ? 127 : 126);
}

/* Reap whatever has ended; ends the program when that is the command. */
static void reap(pid_t command)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != command)
            continue;
        exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    }
    if (pid < 0 && errno == ECHILD)
        exit(0);
}

int main(int count, char **arguments)
{
    sigset_t all, before;
    char **command = arguments + 1;

    if (count > 1 && strcmp(command[0], "--") == 0)
        command++;
    if (*command == NULL) {
        fputs("usage: container-init [--] COMMAND [ARGUMENT...]\n", stderr);
        return 2;
    }
    sigfillset(&all);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigdelset(&all, faults[i]);
    sigprocmask(SIG_SETMASK, &all, &before);

    pid_t pid = fork();
    if (pid < 0) {
        perror("init: fork");
        return 1;
    }
    if (pid == 0)
        run(command, &before);
    for (;;) {
        int number = sigwaitinfo(&all, NULL);
        if (number == SIGCHLD)
            reap(pid);
        else if (number > 0 && number != SIGTTIN && number != SIGTTOU)
            kill(pid, number);
    }
}
