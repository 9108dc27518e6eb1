/* The program `modload`: load modules for the devices that are there, or by name. */
#ifndef ORLOP_MODLOAD_H
#define ORLOP_MODLOAD_H

int modload_main(int argc, char **argv);

#endif
