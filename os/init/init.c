/* /init of the initrd: make the system image the root and start PID 1's program in it.
 *
 * The initrd holds this program and /os.erofs, the whole user space. The image is mounted from that
 * file, without a loop device (a file on ramfs can be mounted, one on tmpfs cannot: hence
 * rootfstype=ramfs on the command line), and becomes the root. This process then becomes Python.
 *
 * It has to explain itself when something is wrong, because nothing else can by then: every failure
 * says on the console and in the kernel log what failed and what to do. Then it ends, at which the
 * kernel panics: firmware that has room for that keeps the log, so that an update on trial is known
 * to be bad at once, and after CONFIG_PANIC_TIMEOUT a boot loader with a fallback gets its turn.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <unistd.h>

#define IMAGE "/os.erofs"
#define NEW_ROOT "/root"
/* What systemd's stub leaves of a signed image: with which key, and what of the TPM's registers. */
#define EXTRA "/.extra"
#define EXTRA_KEPT NEW_ROOT "/usr/lib/orlop/extra"

static char *const ARGUMENTS[] = {
    "/usr/bin/python3.13", "-I", "-S", "-OO", "/usr/lib/orlop/python", "init", NULL,
};
static char *const ENVIRONMENT[] = {
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/",
    "LANG=C.UTF-8",
    NULL,
};

static char message[512];
static size_t message_length;

/* Append to the message; what does not fit is left out. stdio would be most of this program. */
static void say(const char *text)
{
    size_t length = strlen(text);
    if (length > sizeof message - message_length)
        length = sizeof message - message_length;
    memcpy(message + message_length, text, length);
    message_length += length;
}

static void say_number(int number)
{
    char digits[12];
    size_t at = sizeof digits - 1;
    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0 && at > 0);
    say(digits + at);
}

static void say_error(int error)
{
    switch (error) {
    case ENOENT: say("not there"); break;
    case ENODEV: say("this kernel has no such file system"); break;
    case EINVAL: say("not a valid file system, or damaged"); break;
    case EUCLEAN: say("damaged"); break;
    case EOPNOTSUPP: say("it uses a feature that this kernel lacks"); break;
    case ENOTBLK: say("the initrd was unpacked to tmpfs: rootfstype=ramfs is missing"); break;
    case ENOEXEC: say("not a program for this machine"); break;
    case ENOMEM: say("out of memory"); break;
    default: say("error"); break;
    }
    say(" (errno ");
    say_number(error);
    say(")");
}

static void show_message(void)
{
    static const char *const OUTPUTS[] = {"/dev/console", "/dev/kmsg"};
    for (size_t i = 0; i < sizeof OUTPUTS / sizeof *OUTPUTS; i++) {
        int output = open(OUTPUTS[i], O_WRONLY | O_NOCTTY | O_CLOEXEC);
        if (output < 0)
            continue;
        if (write(output, message, message_length) < 0)
            (void)errno; /* no console: the panic below is all that is left */
        close(output);
    }
}

static _Noreturn void fail(const char *act, const char *advice)
{
    int error = errno;
    say("orlop: cannot ");
    say(act);
    say(": ");
    say_error(error);
    say("\norlop: ");
    say(advice);
    say("\norlop: the kernel panics because of that, and restarts the machine\n");
    /* For /dev/kmsg; a console may exist without it. */
    (void)mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, NULL);
    show_message();
    _exit(1);
}

/* Python wants random numbers before it can open /dev/urandom, and ends without them. A processor
 * without RDRAND (the default one of several hypervisors) has none this early: waiting makes the
 * kernel collect them, in about a second. */
static void wait_for_random_numbers(void)
{
    char byte;
    while (getrandom(&byte, 1, 0) < 0 && errno == EINTR)
        ;
}

int main(void)
{
    if (access(IMAGE, R_OK) != 0)
        fail("find the system image " IMAGE " in the initrd",
             "Check that the boot entry loads Orlop's own initrd, whole.");
    if (mount(IMAGE, NEW_ROOT, "erofs", MS_RDONLY | MS_NODEV | MS_NOSUID, NULL) != 0)
        fail("mount the system image " IMAGE,
             "Kernel and initrd must be of one release and complete: copy both again.");
    /* Nobody could get at it any more; without it a TPM opens nothing, which is not for here. */
    if (mount(EXTRA, EXTRA_KEPT, NULL, MS_BIND, NULL) == 0)
        (void)mount(NULL, EXTRA_KEPT, NULL,
                    MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NODEV | MS_NOSUID | MS_NOEXEC, NULL);
    if (chdir(NEW_ROOT) != 0 || mount(".", "/", NULL, MS_MOVE, NULL) != 0 || chroot(".") != 0 ||
        chdir("/") != 0)
        fail("make the system image the root", "This is a bug: please report it.");
    wait_for_random_numbers();
    execve(ARGUMENTS[0], ARGUMENTS, ENVIRONMENT);
    fail("start /usr/bin/python3.13", "The system image is incomplete: copy the initrd again.");
}
