/* modload: load kernel modules for devices, or by name.
 *
 *   modload [--root DIR] [--release VERSION] [--dry-run] coldplug | stdin | NAME... [PARAMETER...]
 *
 * coldplug looks at every device that the kernel knows and loads what fits, again and again until
 * a round finds nothing new (a controller's module brings devices of its own). stdin takes modalias
 * strings, one per line, as a hot-plug service gets them. NAME is a module or an alias like
 * fs-vfat. A word NAME.KEY=VALUE gives module NAME a parameter, here or, which counts more, on the
 * kernel's command line (where
 * module_blacklist=NAME, which the kernel itself understands, keeps it out). With --root everything
 * is looked for below DIR, and --dry-run prints the paths in load order instead of loading: for
 * tests.
 *
 * Ends with 0, 1 when a module could not be loaded, 2 for wrong usage. A NAME that no module has
 * is a failure; a device that no module fits is not.
 */
#define _GNU_SOURCE
#include "modload.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "modules.h"

enum {
    ROUNDS_MAX = 8,   /* controller, hub, device, function: five is the deepest known */
    PARAMETERS_MAX = 8192,
    LOADERS_MAX = 4,  /* some drivers wait seconds for their hardware; more bring nothing */
};

/* Buses whose devices have a modalias that is one and the same, or none: thousands of entries on a
 * large machine. The processors' is read once, from OTHER_ALIASES. */
static const char *const SKIPPED_BUSES[] = {
    "clockevents", "clocksource", "cpu",  "event_source", "machinecheck",
    "memory",      "memory_tiering", "node", "workqueue",
};
static const char *const OTHER_ALIASES[] = {
    "sys/devices/system/cpu/modalias",
    "sys/devices/virtual/dmi/id/modalias",
};

static struct module_index modules;
static bool wanted[MODULES_MAX];
static bool done[MODULES_MAX];
static int root = AT_FDCWD;
static int devices, loaded, failed;
static bool dry_run;

static int print_path(const struct module_index *index, struct slice path, const char *options)
{
    (void)index;
    printf("%.*s%s%s\n", (int)path.length, path.start, *options != '\0' ? " " : "", options);
    return 0;
}

static int load(int number)
{
    int error = modules_load(&modules, number, dry_run ? print_path : modules_finit);
    /* ENODEV is a driver's way to say that it is not needed here after all. */
    if (error == 0 || error == -ENODEV)
        return 0;
    struct slice name = modules_name(&modules, number);
    fprintf(stderr, "modload: cannot load %.*s: %s\n", (int)name.length, name.start,
            strerror(-error));
    return 1;
}

static void match(const char *name, size_t length)
{
    while (length > 0 && (name[length - 1] == '\n' || name[length - 1] == '\0'))
        length--;
    (void)modules_match(&modules, name, length, wanted);
}

static bool match_file(int directory, const char *path)
{
    char alias[ALIAS_MAX + 1];
    int file = openat(directory, path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    ssize_t size = read(file, alias, sizeof alias);
    close(file);
    if (size > 0)
        match(alias, (size_t)size);
    return size > 0;
}

static bool skipped(const char *bus)
{
    for (size_t i = 0; i < sizeof SKIPPED_BUSES / sizeof *SKIPPED_BUSES; i++)
        if (strcmp(bus, SKIPPED_BUSES[i]) == 0)
            return true;
    return bus[0] == '.';
}

static DIR *open_directory(int directory, const char *path)
{
    int descriptor = openat(directory, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return NULL;
    DIR *stream = fdopendir(descriptor);
    if (stream == NULL)
        close(descriptor);
    return stream;
}

static void match_bus(int buses, const char *bus)
{
    char path[NAME_MAX + sizeof "/modalias"];
    if (snprintf(path, sizeof path, "%s/devices", bus) >= (int)sizeof path)
        return;
    DIR *stream = open_directory(buses, path);
    if (stream == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (entry->d_name[0] == '.' ||
            snprintf(path, sizeof path, "%s/modalias", entry->d_name) >= (int)sizeof path)
            continue;
        devices += match_file(dirfd(stream), path);
    }
    closedir(stream);
}

static void match_devices(void)
{
    devices = 0;
    for (size_t i = 0; i < sizeof OTHER_ALIASES / sizeof *OTHER_ALIASES; i++)
        devices += match_file(root, OTHER_ALIASES[i]);
    DIR *stream = open_directory(root, "sys/bus");
    if (stream == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;)
        if (!skipped(entry->d_name))
            match_bus(dirfd(stream), entry->d_name);
    closedir(stream);
}

/* Which modules are wanted and were not tried before, in *numbers*; they count as tried then. */
static int take_new(int *numbers)
{
    int count = 0;
    for (int i = 0; i < modules.module_count; i++) {
        if (wanted[i] && !done[i])
            numbers[count++] = i;
        done[i] = done[i] || wanted[i];
    }
    return count;
}

/* Load *count* modules in up to LOADERS_MAX processes, each taking every nth: the kernel runs a
 * module's initialisation in the process that loads it. */
static void load_in_parallel(const int *numbers, int count)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    int loaders = online < 1 || dry_run ? 1 : online > LOADERS_MAX ? LOADERS_MAX : (int)online;
    pid_t children[LOADERS_MAX];
    int forked = 0;

    if (loaders > count)
        loaders = count;
    for (; forked < loaders - 1; forked++) {
        children[forked] = fork();
        if (children[forked] < 0)
            break;
        if (children[forked] == 0) {
            int failures = 0;
            for (int i = forked; i < count; i += loaders)
                failures += load(numbers[i]);
            _exit(failures > 127 ? 127 : failures);
        }
    }
    int failures = 0;
    for (int share = forked; share < loaders; share++) /* mine, and those no child took */
        for (int i = share; i < count; i += loaders)
            failures += load(numbers[i]);
    for (int i = 0; i < forked; i++) {
        int status;
        if (waitpid(children[i], &status, 0) == children[i] && WIFEXITED(status))
            failures += WEXITSTATUS(status);
    }
    failed += failures;
    loaded += count - failures;
}

static int coldplug(void)
{
    struct timespec begin, end;
    int numbers[MODULES_MAX];
    int rounds = 0;

    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (; rounds < ROUNDS_MAX; rounds++) {
        match_devices();
        int count = take_new(numbers);
        if (count == 0)
            break;
        load_in_parallel(numbers, count);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    long milliseconds = (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000;
    if (!dry_run)
        printf("devices=%d loaded=%d failed=%d rounds=%d ms=%ld\n", devices, loaded, failed,
               rounds, milliseconds);
    return failed > 0;
}

static void load_wanted(void)
{
    int numbers[MODULES_MAX];
    int count = take_new(numbers);
    for (int i = 0; i < count; i++)
        failed += load(numbers[i]);
}

static int from_stdin(void)
{
    char line[ALIAS_MAX + 2];
    while (fgets(line, sizeof line, stdin) != NULL) {
        size_t length = strlen(line);
        if (line[length - 1] != '\n') { /* too long for an alias: skip the rest of it too */
            for (int c = 0; c != '\n' && c != EOF;)
                c = getchar();
            continue;
        }
        match(line, length);
        load_wanted();
    }
    return failed > 0;
}

static bool is_parameter(const char *word)
{
    return strchr(word, '=') != NULL;
}

/* Put the parameters among *words* before those of the command line: the kernel takes the last. */
static bool add_parameters(char **words)
{
    static char text[PARAMETERS_MAX];
    size_t used = 0;
    for (; *words != NULL; words++) {
        if (!is_parameter(*words))
            continue;
        int length = snprintf(text + used, sizeof text - used, "%s ", *words);
        if (length < 0 || (size_t)length >= sizeof text - used)
            return false;
        used += (size_t)length;
    }
    if (used == 0)
        return true;
    if (used + modules.parameters.length > sizeof text)
        return false;
    memcpy(text + used, modules.parameters.start, modules.parameters.length);
    modules.parameters = (struct slice){text, used + modules.parameters.length};
    return true;
}

static int by_name(char **names)
{
    if (!add_parameters(names)) {
        fputs("modload: too many parameters\n", stderr);
        return 1;
    }
    for (; *names != NULL; names++) {
        if (is_parameter(*names))
            continue;
        bool known[MODULES_MAX] = {false};
        if (modules_match(&modules, *names, strlen(*names), known) <= 0) {
            fprintf(stderr, "modload: no module is or fits %s\n", *names);
            failed++;
        }
        match(*names, strlen(*names));
    }
    load_wanted();
    return failed > 0;
}

static int usage(void)
{
    fputs("usage: modload [--root DIR] [--release VERSION] [--dry-run] coldplug|stdin|NAME... "
          "[NAME.KEY=VALUE...]\n",
          stderr);
    return 2;
}

static bool open_index(const char *base, const char *release)
{
    char path[PATH_MAX], command_line[PATH_MAX];
    struct utsname system;
    if (uname(&system) != 0)
        return false;
    if (snprintf(path, sizeof path, "%s/usr/lib/modules/%s", base,
                 release != NULL ? release : system.release) >= (int)sizeof path ||
        snprintf(command_line, sizeof command_line, "%s/proc/cmdline", base) >= PATH_MAX)
        return false;
    if (modules_open(&modules, path, command_line))
        return true;
    fprintf(stderr, "modload: cannot use %s/modules.index: %s\n", path, strerror(errno));
    return false;
}

int modload_main(int argc, char **argv)
{
    const char *base = "", *release = NULL;
    int at = 1;

    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        if (strcmp(argv[at], "--dry-run") == 0)
            dry_run = true;
        else if (strcmp(argv[at], "--root") == 0 && at + 1 < argc)
            base = argv[++at];
        else if (strcmp(argv[at], "--release") == 0 && at + 1 < argc)
            release = argv[++at];
        else
            return usage();
    }
    if (at >= argc)
        return usage();
    root = open(*base != '\0' ? base : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || !open_index(base, release))
        return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(argv[at], "coldplug") == 0 && at + 1 == argc)
        return coldplug();
    if (strcmp(argv[at], "stdin") == 0 && at + 1 == argc)
        return from_stdin();
    return by_name(argv + at);
}
