/*
 * The Debian side's stop watch: says when dockerd answered and what the machine costs once it is idle.
 *
 *   reporter answer SOCKET PORT           connect to SOCKET until GET /_ping is answered with 200, report the moment
 *   reporter idle SECONDS PORT            sleep, then report memory and user processes
 *
 * One JSON object per line goes to PORT (a virtio port). Static and small, so that it does not count in what it
 * measures. Moments are CLOCK_BOOTTIME: they begin with the kernel, as Orlop's own reports do.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { PAUSE_NS = 20 * 1000 * 1000, KERNEL_THREAD_FLAG = 0x00200000 };

static void pause_briefly(void)
{
    nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
}

static double uptime_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

/* The port appears when udev has loaded its driver, which may be later than the answer. */
static void report(const char *port, const char *line)
{
    int fd;
    while ((fd = open(port, O_WRONLY | O_CLOEXEC)) < 0)
        pause_briefly();
    if (write(fd, line, strlen(line)) < 0)
        perror("reporter: write");
    close(fd);
}

static int answered(const char *path)
{
    static const char request[] = "GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char answer[64] = "";
    int ok = 0;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    /* systemd listens before dockerd runs: the read below then waits for dockerd itself. */
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        write(fd, request, sizeof request - 1) == (ssize_t)sizeof request - 1 &&
        read(fd, answer, sizeof answer - 1) > 0)
        ok = strncmp(answer, "HTTP/1.1 200", 12) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

static long meminfo_kib(const char *key)
{
    char line[128];
    long value = -1;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0)
            value = atol(line + strlen(key));
    if (file)
        fclose(file);
    return value;
}

/* Processes that are not kernel threads, this one left out. */
static int user_processes(void)
{
    int count = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; proc && (entry = readdir(proc));) {
        char path[64], stat[512] = "";
        unsigned flags = 0;
        int pid = atoi(entry->d_name);
        if (pid <= 0 || pid == getpid())
            continue;
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *file = fopen(path, "re");
        if (!file)
            continue;
        size_t length = fread(stat, 1, sizeof stat - 1, file);
        fclose(file);
        stat[length] = '\0';
        /* After the name, which may hold anything but ends with the last ')': state and five numbers, then flags. */
        char *rest = strrchr(stat, ')');
        if (rest && sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) == 1)
            count += !(flags & KERNEL_THREAD_FLAG);
    }
    if (proc)
        closedir(proc);
    return count;
}

int main(int argc, char **argv)
{
    char line[256];

    if (argc != 4)
        return 2;
    if (strcmp(argv[1], "answer") == 0) {
        while (!answered(argv[2]))
            pause_briefly();
        snprintf(line, sizeof line, "{\"event\":\"stage\",\"name\":\"engine\",\"uptime_s\":%.3f}\n", uptime_s());
    } else {
        double finished_s = uptime_s();
        sleep(atoi(argv[2]));
        snprintf(line, sizeof line,
                 "{\"event\":\"idle\",\"uptime_s\":%.3f,\"total_kib\":%ld,\"available_kib\":%ld,\"processes\":%d}\n",
                 finished_s, meminfo_kib("MemTotal:"), meminfo_kib("MemAvailable:"), user_processes());
    }
    report(argv[3], line);
    return 0;
}
