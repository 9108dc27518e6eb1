/*
 * The floor: the least a user space can do. Prints the time since the kernel started, as one line on the console,
 * and switches the machine off. What Orlop's time exceeds this by is Orlop's own.
 */
#include <stdio.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    printf("\nfloor reached after %.3f s (floor)\n", now.tv_sec + now.tv_nsec / 1e9);
    fflush(stdout);
    sleep(1); /* the line leaves the serial port before the power does */
    reboot(RB_POWER_OFF);
    return 1;
}
