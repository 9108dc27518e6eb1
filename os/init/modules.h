/* Find and load kernel modules by name or alias, from the index that the builder makes.
 *
 * The index is `modules.index` beside the modules; its format is described in
 * src/orlop/image/module_index.py. Nothing here allocates: the index is mapped, results are
 * numbers in arrays of fixed size.
 */
#ifndef ORLOP_MODULES_H
#define ORLOP_MODULES_H

#include <stdbool.h>
#include <stddef.h>

enum {
    MODULES_MAX = 1024, /* the image has some 200 */
    SECTIONS_MAX = 256, /* one per bus: pci, usb, virtio, ... some 60 */
    ALIAS_MAX = 512,    /* longest modalias that is looked up; longer ones match nothing */
    OPTIONS_MAX = 1024, /* the parameters of one module; what does not fit fails its loading */
};

struct slice {
    const char *start;
    size_t length;
};

struct section {
    struct slice key;   /* what comes before the colon of its aliases: "pci" */
    struct slice lines; /* "NUMBER PATTERN" each */
};

struct module_index {
    int directory;           /* descriptor of the directory that paths are relative to */
    struct slice parameters; /* the kernel's command line, for words like module.key=value */
    int module_count;
    int section_count;
    struct slice modules[MODULES_MAX]; /* "NAME PATH [NEED...]", needs as numbers in load order */
    struct section sections[SECTIONS_MAX];
};

/* What finit_module is in real use; tests give another one. *options* is what the command line has
 * for this module, "key=value key=value". Returns 0 or -errno. */
typedef int (*module_loader)(const struct module_index *index, struct slice path,
                             const char *options);

/* Map the index of the modules directory *directory*, and read the file *command_line*; false with
 * errno set, EBADMSG when there is no index in the file. A missing command line is an empty one. */
bool modules_open(struct module_index *index, const char *directory, const char *command_line);

/* Parse an index that is in memory already: for modules_open and tests. */
bool modules_parse(struct module_index *index, const char *data, size_t size);

/* Mark in *wanted* (MODULES_MAX entries) every module that *name* means: the module of that name,
 * or all whose alias patterns match. Returns how many were not marked before, or -1 when the name
 * is not one that is looked up at all. */
int modules_match(const struct module_index *index, const char *name, size_t length,
                  bool *wanted);

/* Load module *number* after everything it needs. 0 also when it is loaded already; else -errno. */
int modules_load(const struct module_index *index, int number, module_loader load);

/* The name of module *number*. */
struct slice modules_name(const struct module_index *index, int number);

/* finit_module(2) on a path relative to the index's directory. */
int modules_finit(const struct module_index *index, struct slice path, const char *options);

/* Collect the words "NAME.KEY=VALUE" or "NAME.KEY" of the command line for module *name* as
 * "KEY=VALUE ..." in *options* (OPTIONS_MAX bytes); false when they do not fit. */
bool modules_options(struct slice command_line, struct slice name, char *options);

/* Whether *text* matches the shell pattern *pattern* (`*`, `?`, `[a-z]`), `-` and `_` being the
 * same outside brackets. Linear in practice and bounded by the product of the lengths. */
bool modules_glob(struct slice pattern, struct slice text);

#endif
