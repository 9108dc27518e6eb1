/*
 * The status board: GET /orlop/board on the system's socket, for one terminal at a time.
 *
 * PID 1 draws, because it knows everything already: asking costs a millisecond, a program of its own
 * would cost ten mebibytes. Nothing here waits: a terminal whose board does not come is a plain one.
 */

#define _GNU_SOURCE
#include "board.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	MAX_ANSWER = 48 << 10, /* 300 by 120 cells, and what there is between them */
	REFRESH_MS = 5000,     /* of a board that is shown */
	AGAIN_MS = 2000,       /* after nobody has answered */
	OFF_MS = 30000,        /* of a terminal without one: the configuration may change */
};

static const char socket_path[] = "/run/orlop/system.sock";
static char answer[MAX_ANSWER];
static size_t answer_size;
static int connection = -1;
static struct board *asking;

long long board_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

struct board *board_asking(void)
{
	return asking;
}

static void end(enum board_state state, long long pause_ms)
{
	asking->state = state;
	asking->due_ms = board_now_ms() + pause_ms;
	asking = NULL;
	if (connection >= 0)
		close(connection);
	connection = -1;
}

void board_give_up(void)
{
	asking->failures++;
	end(asking->state, AGAIN_MS);
}

int board_ask(struct board *board, const char *name, int terminal)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct winsize size = {0};
	char request[256];
	int length;

	if (asking)
		return -1;
	asking = board;
	answer_size = 0;
	ioctl(terminal, TIOCGWINSZ, &size);
	length = snprintf(request, sizeof request,
			  "GET /orlop/board?terminal=%.31s&columns=%d&rows=%d HTTP/1.1\r\n"
			  "Host: orlop\r\nConnection: close\r\n\r\n",
			  name, size.ws_col ? size.ws_col : 80, size.ws_row ? size.ws_row : 24);
	memcpy(address.sun_path, socket_path, sizeof socket_path);
	connection = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* A request is smaller than any socket's buffer: it goes at once, or nobody is there. */
	if (connection < 0 || connect(connection, (struct sockaddr *)&address, sizeof address) < 0 ||
	    send(connection, request, (size_t)length, MSG_NOSIGNAL) != length) {
		board_give_up();
		return -1;
	}
	return connection;
}

int board_read(const char **text, size_t *size)
{
	static const char fine[] = "HTTP/1.1 200", none[] = "HTTP/1.1 204";
	ssize_t got = recv(connection, answer + answer_size, sizeof answer - 1 - answer_size, 0);
	char *body;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got > 0) {
		answer_size += (size_t)got;
		if (answer_size < sizeof answer - 1)
			return 0;
	}
	answer[answer_size] = 0;
	*size = 0;
	body = strstr(answer, "\r\n\r\n");
	if (body && !strncmp(answer, fine, sizeof fine - 1)) {
		*text = body + 4;
		*size = answer_size - (size_t)(*text - answer);
		asking->failures = 0;
		end(BOARD_ON, REFRESH_MS);
	} else if (body && !strncmp(answer, none, sizeof none - 1)) {
		asking->failures = 0;
		end(BOARD_OFF, OFF_MS);
	} else {
		board_give_up();
	}
	return 1;
}
