#define _GNU_SOURCE
#include "modules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char MAGIC[] = "orlop-modules 1\n";

enum {
    INDEX_MAX_BYTES = 8 << 20, /* bounds what a damaged file can make us map */
    NEEDS_MAX = 64,
};

/* The next line of [*position, end) without its newline; false at the end. */
static bool next_line(const char **position, const char *end, struct slice *line)
{
    if (*position >= end)
        return false;
    const char *newline = memchr(*position, '\n', (size_t)(end - *position));
    if (newline == NULL)
        return false; /* every line of ours ends in one: the file is cut short */
    line->start = *position;
    line->length = (size_t)(newline - *position);
    *position = newline + 1;
    return true;
}

/* Take the next word, up to a space, off the front of *line; empty when there is none. */
static struct slice next_word(struct slice *line)
{
    struct slice word = {line->start, line->length};
    const char *space = memchr(line->start, ' ', line->length);
    if (space != NULL)
        word.length = (size_t)(space - line->start);
    size_t taken = word.length + (space != NULL);
    line->start += taken;
    line->length -= taken;
    return word;
}

/* A decimal number below *limit*, or -1. */
static int parse_number(struct slice word, int limit)
{
    int value = 0;
    if (word.length == 0 || word.length > 7)
        return -1;
    for (size_t i = 0; i < word.length; i++) {
        if (word.start[i] < '0' || word.start[i] > '9')
            return -1;
        value = value * 10 + (word.start[i] - '0');
    }
    return value < limit ? value : -1;
}

static char fold(char c)
{
    return c == '-' ? '_' : c;
}

static bool same_name(struct slice left, struct slice right)
{
    if (left.length != right.length)
        return false;
    for (size_t i = 0; i < left.length; i++)
        if (fold(left.start[i]) != fold(right.start[i]))
            return false;
    return true;
}

/* Match one character against the bracket expression at pattern[*at] == '['; moves *at behind it.
 * An expression without its closing bracket matches nothing. */
static bool match_bracket(struct slice pattern, size_t *at, char c)
{
    size_t i = *at + 1;
    bool found = false;
    for (; i < pattern.length && pattern.start[i] != ']'; i++) {
        char low = pattern.start[i], high = low;
        if (i + 2 < pattern.length && pattern.start[i + 1] == '-' && pattern.start[i + 2] != ']') {
            high = pattern.start[i + 2];
            i += 2;
        }
        found = found || (low <= c && c <= high);
    }
    if (i >= pattern.length)
        return false;
    *at = i + 1;
    return found;
}

bool modules_glob(struct slice pattern, struct slice text)
{
    size_t p = 0, t = 0;
    size_t star = SIZE_MAX, resume = 0; /* where to go back to: the last `*` takes one more */

    while (t < text.length) {
        size_t next = p;
        bool matches = false;
        if (p < pattern.length && pattern.start[p] == '*') {
            star = ++p;
            resume = t;
            continue;
        }
        if (p < pattern.length) {
            if (pattern.start[p] == '[') {
                matches = match_bracket(pattern, &next, text.start[t]);
            } else {
                matches = pattern.start[p] == '?' || fold(pattern.start[p]) == fold(text.start[t]);
                next = p + 1;
            }
        }
        if (matches) {
            p = next;
            t++;
        } else if (star != SIZE_MAX) {
            p = star;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.length && pattern.start[p] == '*')
        p++;
    return p == pattern.length;
}

/* Read "@KEY BYTES" and step over the BYTES that follow. */
static bool parse_section(struct module_index *index, struct slice line, const char **position,
                          const char *end)
{
    if (index->section_count == SECTIONS_MAX || line.length == 0 || line.start[0] != '@')
        return false;
    struct section *section = &index->sections[index->section_count++];
    section->key = next_word(&line);
    section->key.start++;
    section->key.length--;
    int bytes = parse_number(line, INDEX_MAX_BYTES);
    if (bytes < 0 || bytes > end - *position)
        return false;
    section->lines = (struct slice){*position, (size_t)bytes};
    *position += bytes;
    return true;
}

bool modules_parse(struct module_index *index, const char *data, size_t size)
{
    const char *end = data + size;
    const char *position = data + sizeof MAGIC - 1;
    struct slice line;

    index->module_count = index->section_count = 0;
    errno = EBADMSG;
    if (size < sizeof MAGIC - 1 || memcmp(data, MAGIC, sizeof MAGIC - 1) != 0)
        return false;
    for (;;) {
        if (!next_line(&position, end, &line))
            return false;
        if (line.length == 0)
            break;
        if (index->module_count == MODULES_MAX)
            return false;
        index->modules[index->module_count++] = line;
    }
    while (next_line(&position, end, &line))
        if (!parse_section(index, line, &position, end))
            return false;
    return position == end;
}

/* The command line without its newline, from a file that stays small. */
static void read_command_line(struct module_index *index, const char *path)
{
    static char line[4096];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? 0 : read(file, line, sizeof line);
    if (file >= 0)
        close(file);
    while (size > 0 && line[size - 1] == '\n')
        size--;
    index->parameters = (struct slice){line, size > 0 ? (size_t)size : 0};
}

bool modules_open(struct module_index *index, const char *directory, const char *command_line)
{
    read_command_line(index, command_line);
    index->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (index->directory < 0)
        return false;
    int file = openat(index->directory, "modules.index", O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    struct stat status;
    if (fstat(file, &status) != 0)
        return false;
    if (status.st_size <= 0 || status.st_size > INDEX_MAX_BYTES) {
        errno = EBADMSG;
        return false;
    }
    void *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    return data != MAP_FAILED && modules_parse(index, data, (size_t)status.st_size);
}

struct slice modules_name(const struct module_index *index, int number)
{
    struct slice line = index->modules[number];
    return next_word(&line);
}

static bool acceptable(const char *name, size_t length)
{
    if (length == 0 || length >= ALIAS_MAX)
        return false;
    for (size_t i = 0; i < length; i++)
        if (name[i] <= ' ' || name[i] > '~' || name[i] == '/')
            return false;
    return true;
}

static int mark(bool *wanted, int number)
{
    if (wanted[number])
        return 0;
    wanted[number] = true;
    return 1;
}

static int match_section(const struct module_index *index, const struct section *section,
                         struct slice text, bool *wanted)
{
    const char *position = section->lines.start;
    const char *end = position + section->lines.length;
    struct slice line;
    int added = 0;

    while (next_line(&position, end, &line)) {
        int number = parse_number(next_word(&line), index->module_count);
        if (number >= 0 && !wanted[number] && modules_glob(line, text))
            added += mark(wanted, number);
    }
    return added;
}

/* The sections of the index that can hold a match for *text* are the one named by what comes
 * before its colon ("-" without one), and "*", for patterns that have a wildcard there. */
int modules_match(const struct module_index *index, const char *name, size_t length, bool *wanted)
{
    struct slice text = {name, length}, key = {"-", 1};
    const struct slice any = {"*", 1};
    int added = 0;

    if (!acceptable(name, length))
        return -1;
    for (int i = 0; i < index->module_count; i++)
        if (same_name(modules_name(index, i), text))
            return mark(wanted, i); /* a module's own name is never somebody else's alias */

    const char *colon = memchr(name, ':', length);
    if (colon != NULL)
        key = (struct slice){name, (size_t)(colon - name)};
    for (int i = 0; i < index->section_count; i++) {
        const struct section *section = &index->sections[i];
        if (same_name(section->key, key) || same_name(section->key, any))
            added += match_section(index, section, text, wanted);
    }
    return added;
}

bool modules_options(struct slice command_line, struct slice name, char *options)
{
    struct slice line = command_line;
    size_t used = 0;

    options[0] = '\0';
    while (line.length > 0) {
        struct slice word = next_word(&line);
        if (word.length <= name.length + 1 || word.start[name.length] != '.' ||
            !same_name((struct slice){word.start, name.length}, name))
            continue;
        word.start += name.length + 1;
        word.length -= name.length + 1;
        if (used + word.length + 2 > OPTIONS_MAX)
            return false;
        if (used > 0)
            options[used++] = ' ';
        memcpy(options + used, word.start, word.length);
        used += word.length;
        options[used] = '\0';
    }
    return true;
}

int modules_finit(const struct module_index *index, struct slice path, const char *options)
{
    char name[256];
    if (path.length == 0 || path.length >= sizeof name)
        return -ENAMETOOLONG;
    memcpy(name, path.start, path.length);
    name[path.length] = '\0';

    int file = openat(index->directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0)
        return -errno;
    long result = syscall(SYS_finit_module, file, options, 0);
    int error = result == 0 ? 0 : -errno;
    close(file);
    return error;
}

static int load_one(const struct module_index *index, int number, module_loader load)
{
    struct slice line = index->modules[number];
    struct slice name = next_word(&line);
    char options[OPTIONS_MAX];
    if (!modules_options(index->parameters, name, options))
        return -E2BIG;
    int error = load(index, next_word(&line), options);
    return error == -EEXIST ? 0 : error;
}

int modules_load(const struct module_index *index, int number, module_loader load)
{
    if (number < 0 || number >= index->module_count)
        return -EINVAL;
    struct slice line = index->modules[number];
    (void)next_word(&line);
    (void)next_word(&line);
    for (int needs = 0; line.length > 0 && needs < NEEDS_MAX; needs++) {
        int need = parse_number(next_word(&line), index->module_count);
        int error = need < 0 ? -EBADMSG : load_one(index, need, load);
        if (error != 0)
            return error;
    }
    return load_one(index, number, load);
}
