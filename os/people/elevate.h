/* The socket on which `sudo` asks: see elevate.c. */

#ifndef ELEVATE_H
#define ELEVATE_H

#include <sys/types.h>

int elevate_listen(void);
void elevate_accept(int listener);
void elevate_reap(pid_t child);

#endif
