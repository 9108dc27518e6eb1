/* The gate: what UEFI firmware starts first. It unpacks GRUB, which is in its section `.grub`: the
 * size as four bytes, lowest first, and a deflate stream. Packed it takes a third of the room, and
 * every medium has to hold it.
 *
 * Under Secure Boot GRUB starts nothing unless somebody answers for it, and the one it asks is a
 * protocol that the program shim offers. The gate offers that protocol, gives every question to the
 * firmware, whose keys are the only ones that count, and starts GRUB.
 *
 * It holds no keys and no policy: an image is good if the firmware's LoadImage takes it. Under
 * this protocol GRUB also refuses to load modules.
 *
 * Sources: UEFI specification 2.10 (4, 7, 9.1), shim's shim_lock protocol as GRUB's kern/efi/sb.c
 * uses it. No relocations: everything is addressed relative to the code, nothing is initialised.
 */
#include <stddef.h>
#include <stdint.h>

#include "inflate.h"

#define EFIAPI __attribute__((ms_abi))

typedef uint64_t status_t;
typedef void *handle_t;

struct guid {
    uint32_t a;
    uint16_t b, c;
    uint8_t d[8];
};

/* The tables of the specification as far as they are used; `skip` is what lies between. */
struct boot_services {
    uint8_t skip_pages[64];
    status_t(EFIAPI *allocate_pool)(int, uint64_t, void **);
    status_t(EFIAPI *free_pool)(void *);
    uint8_t skip_a[128 - 80];
    status_t(EFIAPI *install_protocol_interface)(handle_t *, const struct guid *, int, void *);
    uint8_t skip_b[152 - 136];
    status_t(EFIAPI *handle_protocol)(handle_t, const struct guid *, void **);
    uint8_t skip_c[200 - 160];
    status_t(EFIAPI *load_image)(uint8_t, handle_t, void *, const void *, uint64_t, handle_t *);
    status_t(EFIAPI *start_image)(handle_t, uint64_t *, uint16_t **);
    uint8_t skip_d[224 - 216];
    status_t(EFIAPI *unload_image)(handle_t);
};

struct system_table {
    uint8_t skip[96];
    struct boot_services *boot;
};

struct loaded_image {
    uint8_t skip[64];
    const uint8_t *base;
};

struct section {
    char name[8];
    uint32_t size, address;
    uint8_t skip[24];
};

/* GRUB calls it by the calling convention of System V, as shim has it. */
struct shim_lock {
    status_t (*verify)(const void *, uint32_t);
    void *not_offered[2];
};

static const struct guid LOADED_IMAGE = {
    0x5b1b31a1, 0x9562, 0x11d2, {0x8e, 0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const struct guid LOADED_IMAGE_DEVICE_PATH = {
    0xbc62157e, 0x3e33, 0x4fec, {0x99, 0x20, 0x2d, 0x3b, 0x36, 0xd7, 0x50, 0xdf}};
static const struct guid SHIM_LOCK = {
    0x605dab50, 0xe046, 0x4300, {0xab, 0xb6, 0x3d, 0xd8, 0x10, 0xdd, 0x8b, 0x23}};

enum { LOAD_ERROR = 1, NATIVE_INTERFACE = 0, LOADER_DATA = 2, SIZE_BYTES = 4 };
static const status_t FAILED = (status_t)1 << 63;

static struct boot_services *boot;
static handle_t self;
static void *own_path;
static struct shim_lock lock;

/* Whether the firmware would start this: it checks the signature, nothing is run. */
static status_t verify(const void *image, uint32_t size)
{
    handle_t loaded = NULL;
    status_t status = boot->load_image(0, self, own_path, image, size, &loaded);
    if (loaded != NULL)
        boot->unload_image(loaded);
    return status;
}

/* The section `.grub` of the image at *base*, or NULL. The firmware has checked the headers. */
static const struct section *find_grub(const uint8_t *base)
{
    const uint8_t *header = base + *(const uint32_t *)(base + 60);
    uint16_t count = *(const uint16_t *)(header + 6);
    uint16_t optional_size = *(const uint16_t *)(header + 20);
    const struct section *section = (const struct section *)(header + 24 + optional_size);
    for (; count > 0; count--, section++)
        if (section->name[0] == '.' && section->name[1] == 'g' && section->name[2] == 'r' &&
            section->name[3] == 'u' && section->name[4] == 'b' && section->name[5] == '\0')
            return section;
    return NULL;
}

/* Load what is packed in *section* of the image at *base*. With the gate's own path, so that GRUB
 * looks for its menu where the gate came from. */
static status_t load_packed(const uint8_t *base, const struct section *section, handle_t *loaded)
{
    const uint8_t *packed = base + section->address;
    if (section->size < SIZE_BYTES)
        return FAILED | LOAD_ERROR;
    uint32_t size = *(const uint32_t *)packed;
    void *grub;
    status_t status = boot->allocate_pool(LOADER_DATA, size, &grub);
    if (status != 0)
        return status;
    if (inflate(packed + SIZE_BYTES, section->size - SIZE_BYTES, grub, size) == 0)
        status = boot->load_image(0, self, own_path, grub, size, loaded);
    else
        status = FAILED | LOAD_ERROR;
    boot->free_pool(grub);
    return status;
}

status_t EFIAPI efi_main(handle_t image, struct system_table *system)
{
    struct loaded_image *loaded;
    boot = system->boot;
    self = image;
    if (boot->handle_protocol(image, &LOADED_IMAGE, (void **)&loaded) != 0 ||
        boot->handle_protocol(image, &LOADED_IMAGE_DEVICE_PATH, &own_path) != 0)
        return FAILED | LOAD_ERROR;
    const struct section *grub = find_grub(loaded->base);
    if (grub == NULL)
        return FAILED | LOAD_ERROR;
    lock.verify = verify;
    handle_t place = NULL;
    status_t status =
        boot->install_protocol_interface(&place, &SHIM_LOCK, NATIVE_INTERFACE, &lock);
    if (status != 0)
        return status;
    handle_t started = NULL;
    status = load_packed(loaded->base, grub, &started);
    if (status == 0)
        status = boot->start_image(started, NULL, NULL);
    return status;
}
