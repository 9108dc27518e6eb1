/* Stands in for libsystemd, which crun links and, with its cgroupfs manager, never calls.
 *
 * The real library is 1.1 MB and would be mapped and relocated at each start of a container. Here each
 * call answers "not implemented": crun reports that as an error of its own if a configuration ever
 * asks for the systemd manager, for journald or for readiness messages, of which Orlop has none.
 * A symbol that a new crun wants in addition fails the build (see src/orlop/image/check_root.py).
 *
 * No argument is looked at, so none is declared; the calling convention allows it.
 */
#include <errno.h>
#include <stddef.h>

#define NOT_IMPLEMENTED(name) \
    int name(void); \
    int name(void) { return -ENOSYS; }

#define NOTHING(name) \
    void *name(void); \
    void *name(void) { return NULL; }

NOT_IMPLEMENTED(sd_journal_send_with_location)
NOT_IMPLEMENTED(sd_notify)
NOT_IMPLEMENTED(sd_bus_call)
NOT_IMPLEMENTED(sd_bus_default_system)
NOT_IMPLEMENTED(sd_bus_default_user)
NOTHING(sd_bus_error_free) /* returns nothing at all */
NOT_IMPLEMENTED(sd_bus_error_get_errno)
NOT_IMPLEMENTED(sd_bus_message_append)
NOT_IMPLEMENTED(sd_bus_message_append_array)
NOT_IMPLEMENTED(sd_bus_message_append_basic)
NOT_IMPLEMENTED(sd_bus_message_append_strv)
NOT_IMPLEMENTED(sd_bus_message_close_container)
NOT_IMPLEMENTED(sd_bus_message_new_method_call)
NOT_IMPLEMENTED(sd_bus_message_open_container)
NOT_IMPLEMENTED(sd_bus_message_read)
NOTHING(sd_bus_message_unref)
NOT_IMPLEMENTED(sd_bus_process)
NOTHING(sd_bus_unref)
NOT_IMPLEMENTED(sd_bus_wait)
NOT_IMPLEMENTED(sd_bus_match_signal_async)
NOT_IMPLEMENTED(sd_notify_barrier)
