/* The status board of a terminal: what PID 1 draws, asked for again and again. See board.c. */

#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>

enum board_state {
	BOARD_UNKNOWN, /* nobody has answered yet */
	BOARD_OFF,     /* this terminal has none */
	BOARD_ON,
};

struct board {
	enum board_state state;
	int failures;     /* in a row */
	long long due_ms; /* when to ask again, on the monotonic clock */
};

long long board_now_ms(void);

/* Ask for the board of terminal *name*, whose descriptor is *terminal*. One at a time: -1 while another
 * question is open, else the descriptor to wait for (POLLIN), or -1 if nobody is there. */
int board_ask(struct board *board, const char *name, int terminal);

/* Read more of the answer. 1 when it is whole: *board* has its new state, and if that is BOARD_ON,
 * *text* and *size* are what to write. 0 while more is to come. */
int board_read(const char **text, size_t *size);

/* Whose question is open; NULL if none. */
struct board *board_asking(void);

/* Give the open question up: nobody answers. */
void board_give_up(void);

#endif
