/* Started instead of /init: leaves a child behind that says in which order files of the system come
 * into memory, and becomes /init.
 *
 * The child maps every file of PID 1's root and asks mincore(2) again and again. When the user's
 * engine has a socket and nothing new came for a while, it prints the paths, each after `MARK`, and
 * between them where PID 1's engine had its socket.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK "first: "
#define PROC "/proc-of-record"
#define ROOT PROC "/1/root"

enum { MAX_FILES = 8192, PAGE = 4096, ROUND_US = 20000, QUIET_ROUNDS = 500, MAX_ROUNDS = 30000 };

struct file {
    ino_t number;
    size_t bytes;
    void *pages;
    char *path;
    int seen;
};

static struct file files[MAX_FILES];
static int count;
static dev_t device;

/* Of the names of a file the shortest is the one in the base root. */
static int note(const char *path, const struct stat *status, int type, struct FTW *unused)
{
    (void)unused;
    if (type != FTW_F || status->st_dev != device || !S_ISREG(status->st_mode) ||
        status->st_size == 0 || count == MAX_FILES)
        return 0;
    for (int i = 0; i < count; i++)
        if (files[i].number == status->st_ino) {
            if (strlen(path) < strlen(files[i].path))
                files[i].path = strdup(path);
            return 0;
        }
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    void *pages = mmap(NULL, (size_t)status->st_size, PROT_READ, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (pages != MAP_FAILED)
        files[count++] = (struct file){status->st_ino, (size_t)status->st_size, pages, strdup(path), 0};
    return 0;
}

static int is_in_memory(const struct file *file)
{
    static unsigned char vector[1 << 14];
    size_t length = (file->bytes + PAGE - 1) / PAGE;
    if (length > sizeof vector || mincore(file->pages, file->bytes, vector) != 0)
        return 0;
    while (length > 0)
        if (vector[--length] & 1)
            return 1;
    return 0;
}

static void record(void)
{
    static int order[MAX_FILES];
    struct stat root;
    int found = 0, quiet = 0, before_engine = -1;
    mkdir(PROC, 0700);
    mount("proc", PROC, "proc", 0, NULL);
    while (access(ROOT "/usr/bin/python3.13", F_OK) != 0)
        usleep(1000);
    if (stat(ROOT "/usr", &root) != 0)
        return;
    device = root.st_dev;
    nftw(ROOT "/usr", note, 32, FTW_PHYS | FTW_MOUNT);
    for (int round = 0; round < MAX_ROUNDS && quiet < QUIET_ROUNDS; round++) {
        int before = found;
        for (int i = 0; i < count; i++)
            if (!files[i].seen && is_in_memory(&files[i])) {
                files[i].seen = 1;
                order[found++] = i;
            }
        if (before_engine < 0 && access(ROOT "/run/orlop/system.sock", F_OK) == 0)
            before_engine = found;
        int is_up = access(ROOT "/run/orlop/docker/docker.sock", F_OK) == 0;
        quiet = found > before || !is_up ? 0 : quiet + 1;
        usleep(ROUND_US);
    }
    FILE *console = fopen(ROOT "/dev/console", "w");
    if (console == NULL)
        return;
    for (int i = 0; i < found; i++) {
        if (i == before_engine)
            fprintf(console, MARK "engine\n");
        fprintf(console, MARK "%s\n", files[order[i]].path + strlen(ROOT));
    }
    fprintf(console, MARK "end\n");
    fclose(console);
}

int main(void)
{
    if (fork() == 0) {
        record();
        _exit(0);
    }
    execl("/init", "/init", (char *)NULL);
    return 1;
}
