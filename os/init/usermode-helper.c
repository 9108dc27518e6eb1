/* What the kernel runs when it asks user space to do something (CONFIG_STATIC_USERMODEHELPER).
 *
 * Whatever program the kernel names, it starts this one, with the name as argv[0]. Allowed are:
 *
 *   /sbin/modprobe -q -- NAME   load a module that is in the image: a file system on mount, an
 *                               nftables expression, a kind of network link
 *   /sbin/poweroff, /sbin/reboot  the kernel found the machine too hot: pass it on to PID 1
 *
 * and everything else (core dump handlers, hot-plug agents, release agents of cgroups: the usual
 * ways out of a container) is written to the kernel log and refused.
 *
 * Called as `modload` the same program is the tool for people and services: see modload.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "modload.h"
#include "modules.h"

#define POWER_SOCKET "/run/orlop/power.sock"

/* One line in the kernel log. *format* has one %s, for *text*, of which only printable characters
 * are kept: it can come from a container. */
static void report(const char *format, const char *text)
{
    char clean[128], line[256];
    size_t length = 0;
    for (; text[length] != '\0' && length < sizeof clean - 1; length++)
        clean[length] = text[length] >= ' ' && text[length] <= '~' ? text[length] : '?';
    clean[length] = '\0';

    int log = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
    if (log < 0)
        return;
    int size = snprintf(line, sizeof line, format, clean);
    if (size > 0 && write(log, line, (size_t)size < sizeof line ? (size_t)size : sizeof line - 1) < 0)
        (void)errno; /* nowhere left to say so */
    close(log);
}

static int load_module(const char *name)
{
    static struct module_index index;
    bool wanted[MODULES_MAX] = {false};
    char directory[sizeof "/usr/lib/modules/" + sizeof((struct utsname *)0)->release];
    struct utsname system;

    if (uname(&system) != 0)
        return 1;
    snprintf(directory, sizeof directory, "/usr/lib/modules/%s", system.release);
    if (!modules_open(&index, directory, "/proc/cmdline")) {
        report("<3>orlop: usermode-helper: cannot read the index of modules, for %s\n", name);
        return 1;
    }
    if (modules_match(&index, name, strlen(name), wanted) <= 0)
        return 1; /* asked for all the time: things that are built in, or not in this kernel */
    int failures = 0;
    for (int i = 0; i < index.module_count; i++) {
        if (wanted[i] && modules_load(&index, i, modules_finit) != 0) {
            report("<4>orlop: usermode-helper: cannot load a module for %s\n", name);
            failures++;
        }
    }
    return failures > 0;
}

/* Ask PID 1 as the power service does; if its socket is not there (any more), by signal. */
static int tell_init(const char *request, int fallback)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = POWER_SOCKET};
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection >= 0 &&
        connect(connection, (struct sockaddr *)&address, sizeof address) == 0 &&
        send(connection, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request)) {
        close(connection);
        return 0;
    }
    return kill(1, fallback) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc < 1)
        return 2;
    const char *slash = strrchr(argv[0], '/');
    if (strcmp(slash != NULL ? slash + 1 : argv[0], "modload") == 0)
        return modload_main(argc, argv);

    if (strcmp(argv[0], "/sbin/modprobe") == 0 && argc == 4 && strcmp(argv[1], "-q") == 0 &&
        strcmp(argv[2], "--") == 0)
        return load_module(argv[3]);
    if (strcmp(argv[0], "/sbin/poweroff") == 0)
        return tell_init("poweroff\n", SIGTERM);
    if (strcmp(argv[0], "/sbin/reboot") == 0)
        return tell_init("reboot\n", SIGINT);
    report("<4>orlop: usermode-helper: refused to run %s\n", argv[0]);
    return 1;
}
