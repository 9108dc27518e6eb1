/*
 * The console service: a login shell on every console of the machine, when somebody wants one.
 *
 * A terminal shows the greeting and waits. The first line typed there starts a shell (what was typed
 * is its first command); when that ends, the terminal waits again. So an idle machine spends one
 * small process on all its consoles. A terminal that the configuration has a status board for shows
 * that instead, and any key starts the shell; if the board does not come, it is one like the others.
 * The terminals are those of the kernel parameter `orlop.console=tty1,ttyS0`, or else those the kernel
 * itself uses; `orlop.console=none` offers no shell at all. Without anybody who has a password none is
 * asked for: whoever sits at the console owns the machine anyway (docs/services.md says what that means
 * for serial lines). With one, what is started is a login. `sudo` of those who logged in asks here, too.
 *
 * usage: console GREETING-PROGRAM
 */

#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "board.h"
#include "elevate.h"

#define PASSWORDS "/run/orlop/people/passwords" /* there if somebody has one */

enum {
	MAX_TERMINALS = 8,
	MAX_NAME = 32,
	MAX_LINE = 1024,       /* of the first command; the terminal driver gives at most 4095 */
	MAX_GREETING = 8192,   /* two screens; what is longer is cut */
	REOPEN_MS = 5000,      /* a terminal that is gone or broken is tried again this often */
	SIZE_ANSWER_MS = 500,  /* for the terminal behind a serial line to tell its size */
	WRITE_MS = 1000,       /* a terminal that takes no output for so long loses it */
	SIGNALS = MAX_TERMINALS,      /* slots of the poll set after the terminals */
	GREETING = MAX_TERMINALS + 1,
	BOARD = MAX_TERMINALS + 2,
	ELEVATE = MAX_TERMINALS + 3,
	SLOTS = MAX_TERMINALS + 4,
	BOARD_ANSWER_MS = 10000, /* for PID 1 to draw, when the machine is busy */
	BOARD_FAILURES = 3,      /* in a row, until a terminal goes without its board */
};

struct terminal {
	char name[MAX_NAME];
	int descriptor;       /* -1: cannot be opened now */
	pid_t shell;          /* 0: waiting for somebody */
	struct termios sane;  /* as it was opened, put back after each shell */
	struct board board;
	int shows_board;
};

static struct terminal terminals[MAX_TERMINALS];
static int terminal_count;
static struct pollfd slots[SLOTS];
static long long asked_ms;
static char greeting[MAX_GREETING];
static size_t greeting_size;
static pid_t greeter;
static const char *greeting_program;

static void add_terminal(const char *name, size_t size)
{
	if (size == 4 && !memcmp(name, "tty0", 4))
		name = "tty1"; /* tty0 is whatever is in front */
	if (!size || size >= MAX_NAME || terminal_count == MAX_TERMINALS || memchr(name, '/', size) ||
	    name[0] == '.')
		return;
	for (int i = 0; i < terminal_count; i++)
		if (strlen(terminals[i].name) == size && !memcmp(terminals[i].name, name, size))
			return;
	memcpy(terminals[terminal_count].name, name, size);
	terminals[terminal_count].name[size] = 0;
	terminals[terminal_count++].descriptor = -1;
}

static void add_terminals(const char *names, const char *separators)
{
	while (*(names += strspn(names, separators))) {
		size_t size = strcspn(names, separators);

		add_terminal(names, size);
		names += size;
	}
}

static void read_text(const char *path, char *text, size_t capacity)
{
	int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = descriptor < 0 ? -1 : read(descriptor, text, capacity - 1);

	if (descriptor >= 0)
		close(descriptor);
	text[size < 0 ? 0 : size] = 0;
}

/* 0 if the kernel command line forbids consoles. The last word wins, as everywhere on that line. */
static int find_terminals(void)
{
	static const char key[] = "orlop.console=";
	char text[4096], active[256], *word, *rest = NULL, *wanted = NULL;

	read_text("/proc/cmdline", text, sizeof text);
	for (word = strtok_r(text, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest))
		if (!strncmp(word, key, sizeof key - 1))
			wanted = word + sizeof key - 1;
	if (wanted && !strcmp(wanted, "none"))
		return 0;
	if (wanted)
		add_terminals(wanted, ",");
	if (!terminal_count) {
		read_text("/sys/class/tty/console/active", active, sizeof active);
		add_terminals(active, " \n");
	}
	return 1;
}

static void device_path(const struct terminal *terminal, char *path, size_t capacity)
{
	snprintf(path, capacity, "/dev/%.*s", MAX_NAME - 1, terminal->name);
}

static int is_virtual(const struct terminal *terminal)
{
	return !strncmp(terminal->name, "tty", 3) && isdigit((unsigned char)terminal->name[3]);
}

/* Write all of it, unless the terminal stands still (a serial line with flow control, unplugged). */
static void put(int descriptor, const char *text, size_t size)
{
	while (size) {
		ssize_t written = write(descriptor, text, size);

		if (written > 0) {
			text += written;
			size -= (size_t)written;
		} else if (written < 0 && errno == EAGAIN) {
			struct pollfd slot = {.fd = descriptor, .events = POLLOUT};

			if (poll(&slot, 1, WRITE_MS) <= 0)
				return;
		} else if (errno != EINTR) {
			return;
		}
	}
}

static void greet(const struct terminal *terminal)
{
	static const char hint[] = "\nPress Enter for a shell.\n";

	if (terminal->shows_board)
		return;
	put(terminal->descriptor, greeting, greeting_size);
	put(terminal->descriptor, hint, sizeof hint - 1);
}

/* Each key by itself and unseen while there is a board; lines otherwise. */
static void set_mode(struct terminal *terminal, int shows_board)
{
	struct termios mode = terminal->sane;

	terminal->shows_board = shows_board;
	if (shows_board) {
		mode.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
		mode.c_cc[VMIN] = 1;
		mode.c_cc[VTIME] = 0;
	}
	tcsetattr(terminal->descriptor, TCSANOW, &mode);
}

static void show_board(struct terminal *terminal, const char *text, size_t size)
{
	static const char clear[] = "\033[H\033[2J";

	if (!terminal->shows_board) {
		set_mode(terminal, 1);
		put(terminal->descriptor, clear, sizeof clear - 1);
	}
	put(terminal->descriptor, text, size);
}

/* Clear the screen, show the cursor. */
static void leave_board(struct terminal *terminal)
{
	static const char clear[] = "\033[0m\033[H\033[2J\033[?25h";

	if (!terminal->shows_board)
		return;
	set_mode(terminal, 0);
	put(terminal->descriptor, clear, sizeof clear - 1);
}

static void close_terminal(struct terminal *terminal)
{
	if (board_asking() == &terminal->board)
		board_give_up();
	terminal->shows_board = 0;
	close(terminal->descriptor);
	terminal->descriptor = -1;
}

static void open_terminal(struct terminal *terminal)
{
	char path[MAX_NAME + 8];

	device_path(terminal, path, sizeof path);
	/* O_NONBLOCK: opening must not wait for a carrier, nor writing for a reader. */
	terminal->descriptor = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (terminal->descriptor < 0)
		return;
	if (tcgetattr(terminal->descriptor, &terminal->sane) < 0) {
		close_terminal(terminal); /* not a terminal */
		return;
	}
	terminal->sane.c_iflag |= ICRNL | IXON | BRKINT;
	terminal->sane.c_iflag &= ~(tcflag_t)(IGNCR | INLCR);
	terminal->sane.c_oflag |= OPOST | ONLCR;
	terminal->sane.c_cflag |= CREAD | CLOCAL | HUPCL;
	terminal->sane.c_lflag |= ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | ISIG | IEXTEN;
	terminal->sane.c_cc[VEOF] = 4;
	set_mode(terminal, 0);
	terminal->board = (struct board){BOARD_UNKNOWN, 0, 0};
	if (greeting_size)
		greet(terminal);
}

/*
 * Ask the terminal behind a serial line how large it is: put the cursor far outside, ask where it is.
 * Nobody answers on a line to a mere program; then the size stays as it is.
 */
static void ask_size(const struct terminal *terminal)
{
	static const char question[] = "\0337\033[r\033[999;999H\033[6n\0338";
	struct termios raw = terminal->sane;
	struct pollfd slot = {.fd = terminal->descriptor, .events = POLLIN};
	struct winsize size = {0};
	char answer[64];
	size_t length = 0;
	unsigned int rows, columns;
	char *start;

	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
	tcsetattr(terminal->descriptor, TCSANOW, &raw);
	put(terminal->descriptor, question, sizeof question - 1);
	while (length < sizeof answer - 1 && poll(&slot, 1, SIZE_ANSWER_MS) > 0) {
		ssize_t got = read(terminal->descriptor, answer + length, sizeof answer - 1 - length);

		if (got <= 0)
			break;
		length += (size_t)got;
		if (memchr(answer, 'R', length))
			break;
	}
	tcsetattr(terminal->descriptor, TCSANOW, &terminal->sane);
	answer[length] = 0;
	start = strstr(answer, "\033[");
	if (start && sscanf(start, "\033[%5u;%5uR", &rows, &columns) == 2 && rows >= 2 && rows < 1000 &&
	    columns >= 10 && columns < 1000) {
		size.ws_row = (unsigned short)rows;
		size.ws_col = (unsigned short)columns;
		ioctl(terminal->descriptor, TIOCSWINSZ, &size);
	}
}

static void reset_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child: become the leader of a session on the terminal and the shell. Does not return. */
static void exec_shell(const struct terminal *terminal, const char *first_command)
{
	static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char device[MAX_NAME + 8], tty[MAX_NAME + 16], first[MAX_LINE + 32];
	char term[32];
	char *environment[] = {path, term, tty, "HOME=/root", "USER=root", "LOGNAME=root",
			       "SHELL=/bin/sh", NULL, NULL};
	char *arguments[] = {"-sh", NULL};
	char *login[] = {"python3.13", "-I", "-S", "-OO", "/usr/lib/orlop/python", "service", "login",
			 (char *)first_command, NULL};
	int asks = access(PASSWORDS, F_OK) == 0, descriptor;

	reset_signals();
	setsid();
	device_path(terminal, device, sizeof device);
	snprintf(tty, sizeof tty, "TTY=%s", device);
	snprintf(term, sizeof term, "TERM=%s", is_virtual(terminal) ? "linux" : "vt220");
	if (*first_command && !asks) {
		snprintf(first, sizeof first, "ORLOP_FIRST_COMMAND=%s", first_command);
		environment[sizeof environment / sizeof *environment - 2] = first;
	}
	descriptor = open(device, O_RDWR | O_NOCTTY);
	if (descriptor < 0 || ioctl(descriptor, TIOCSCTTY, 0) < 0)
		_exit(126);
	for (int standard = 0; standard < 3; standard++)
		dup2(descriptor, standard);
	if (descriptor > 2)
		close(descriptor);
	if (chdir("/root") < 0 && chdir("/") < 0)
		_exit(126);
	if (asks)
		execve("/usr/bin/python3.13", login, environment);
	execve("/usr/lib/orlop/login", arguments, environment);
	execve("/bin/sh", arguments, environment);
	_exit(127);
}

/* Somebody typed a line, or the terminal hung up. */
static void wake(struct terminal *terminal)
{
	char line[MAX_LINE];
	ssize_t size = read(terminal->descriptor, line, sizeof line - 1);
	pid_t child;

	if (size < 0) {
		if (errno != EAGAIN && errno != EINTR)
			close_terminal(terminal);
		return;
	}
	if (size == 0) { /* Ctrl-D, or a hangup, which the next poll tells apart */
		greet(terminal);
		return;
	}
	if (terminal->shows_board) {
		static const char hint[] = "exit, or Ctrl-D, leads back to the board.\n";

		leave_board(terminal);
		put(terminal->descriptor, hint, sizeof hint - 1);
		size = 0; /* a key is no command */
	}
	while (size && isspace((unsigned char)line[size - 1]))
		size--;
	line[size] = 0;
	if (memchr(line, 0, (size_t)size))
		line[0] = 0; /* line noise */
	if (!is_virtual(terminal))
		ask_size(terminal);
	child = fork();
	if (child == 0)
		exec_shell(terminal, line);
	if (child < 0)
		put(terminal->descriptor, "no process for a shell\n", 23);
	else
		terminal->shell = child;
}

/* Collect the greeting once for all terminals: it costs the start of a Python program. */
static void start_greeter(void)
{
	char *arguments[] = {(char *)greeting_program, NULL};
	char *environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=linux", NULL};
	int ends[2];

	if (greeter || pipe2(ends, O_CLOEXEC) < 0)
		return;
	greeter = fork();
	if (greeter == 0) {
		reset_signals();
		dup2(ends[1], 1);
		execve(greeting_program, arguments, environment);
		_exit(127);
	}
	close(ends[1]);
	if (greeter < 0) {
		greeter = 0;
		close(ends[0]);
		return;
	}
	greeting_size = 0;
	slots[GREETING].fd = ends[0];
}

static void read_greeting(void)
{
	char rest[512];
	size_t room = sizeof greeting - greeting_size;
	ssize_t size = room ? read(slots[GREETING].fd, greeting + greeting_size, room)
			    : read(slots[GREETING].fd, rest, sizeof rest);

	if (size < 0 && errno == EINTR)
		return;
	if (size > 0) {
		greeting_size += room ? (size_t)size : 0;
		return;
	}
	close(slots[GREETING].fd);
	slots[GREETING].fd = -1;
	for (int i = 0; i < terminal_count; i++)
		if (terminals[i].descriptor >= 0 && !terminals[i].shell)
			greet(&terminals[i]);
}

static void reap(void)
{
	pid_t child;

	while ((child = waitpid(-1, NULL, WNOHANG)) > 0) {
		if (child == greeter)
			greeter = 0;
		elevate_reap(child);
		for (int i = 0; i < terminal_count; i++) {
			struct terminal *terminal = &terminals[i];

			if (terminal->shell != child)
				continue;
			terminal->shell = 0;
			/* The end of the session may have hung up our descriptor as well. */
			close_terminal(terminal);
			open_terminal(terminal);
		}
	}
}

/* What interactive shells end for: SIGHUP; they ignore SIGTERM. */
static void stop(void)
{
	for (int i = 0; i < terminal_count; i++)
		if (terminals[i].shell)
			kill(-terminals[i].shell, SIGHUP);
	_exit(0);
}

static void take_signals(void)
{
	struct signalfd_siginfo information;

	while (read(slots[SIGNALS].fd, &information, sizeof information) == sizeof information)
		switch (information.ssi_signo) {
		case SIGCHLD:
			reap();
			break;
		case SIGHUP: /* something that the greeting tells has changed */
			start_greeter();
			for (int i = 0; i < terminal_count; i++)
				terminals[i].board.due_ms = 0;
			break;
		default:
			stop();
		}
}

/* Ask for the board that is due, if there is one; how long nothing is, in ms, -1 for ever. */
static int ask_boards(void)
{
	long long now = board_now_ms(), next = -1;

	if (board_asking() && now - asked_ms > BOARD_ANSWER_MS)
		board_give_up();
	for (int i = 0; i < terminal_count; i++) {
		struct terminal *terminal = &terminals[i];

		if (terminal->descriptor < 0 || terminal->shell)
			continue;
		if (terminal->shows_board && terminal->board.failures >= BOARD_FAILURES) {
			leave_board(terminal);
			start_greeter();
			greet(terminal);
		}
		if (!board_asking() && terminal->board.due_ms <= now) {
			asked_ms = now;
			slots[BOARD].fd = board_ask(&terminal->board, terminal->name, terminal->descriptor);
		}
		if (next < 0 || terminal->board.due_ms < next)
			next = terminal->board.due_ms;
	}
	if (board_asking())
		return BOARD_ANSWER_MS;
	return next < 0 ? -1 : next < now ? 0 : (int)(next - now);
}

static void read_board(void)
{
	struct board *board = board_asking();
	const char *text = NULL;
	size_t size = 0;

	if (!board || !board_read(&text, &size))
		return;
	slots[BOARD].fd = -1;
	for (int i = 0; i < terminal_count; i++) {
		struct terminal *terminal = &terminals[i];

		if (&terminal->board != board || terminal->descriptor < 0 || terminal->shell)
			continue;
		if (size) {
			show_board(terminal, text, size);
		} else if (terminal->shows_board && board->state == BOARD_OFF) {
			leave_board(terminal);
			greet(terminal);
		}
	}
}

static int sooner(int one_ms, int other_ms)
{
	return one_ms < 0 ? other_ms : other_ms < 0 || one_ms < other_ms ? one_ms : other_ms;
}

static void serve(void)
{
	for (int events = 0;;) {
		int missing = 0, board_ms;

		for (int i = 0; i < terminal_count; i++) {
			struct terminal *terminal = &terminals[i];

			/* Not sooner than after a pause: one that hangs up at once must not keep us busy. */
			if (terminal->descriptor < 0 && events == 0)
				open_terminal(terminal);
			missing |= terminal->descriptor < 0;
			/* While a shell reads the terminal, we must not. */
			slots[i].fd = terminal->shell ? -1 : terminal->descriptor;
			slots[i].events = POLLIN;
		}
		board_ms = ask_boards();
		if (!board_asking())
			slots[BOARD].fd = -1;
		events = poll(slots, SLOTS, sooner(board_ms, missing ? REOPEN_MS : -1));
		if (events <= 0)
			continue;
		for (int i = 0; i < terminal_count; i++) {
			if (slots[i].fd < 0 || !slots[i].revents)
				continue;
			if (slots[i].revents & (POLLHUP | POLLERR | POLLNVAL))
				close_terminal(&terminals[i]);
			else
				wake(&terminals[i]);
		}
		if (slots[GREETING].fd >= 0 && slots[GREETING].revents)
			read_greeting();
		if (slots[BOARD].fd >= 0 && slots[BOARD].revents)
			read_board();
		if (slots[ELEVATE].fd >= 0 && slots[ELEVATE].revents)
			elevate_accept(slots[ELEVATE].fd);
		if (slots[SIGNALS].revents)
			take_signals();
	}
}

int main(int argc, char **argv)
{
	sigset_t handled;

	if (argc != 2) {
		fprintf(stderr, "usage: console GREETING-PROGRAM\n");
		return 2;
	}
	greeting_program = argv[1];
	sigemptyset(&handled);
	sigaddset(&handled, SIGCHLD);
	sigaddset(&handled, SIGHUP);
	sigaddset(&handled, SIGINT);
	sigaddset(&handled, SIGTERM);
	sigprocmask(SIG_BLOCK, &handled, NULL);
	for (int i = 0; i < SLOTS; i++)
		slots[i] = (struct pollfd){.fd = -1, .events = POLLIN};
	slots[SIGNALS].fd = signalfd(-1, &handled, SFD_NONBLOCK | SFD_CLOEXEC);
	if (slots[SIGNALS].fd < 0) {
		fprintf(stderr, "console: signalfd: %s\n", strerror(errno));
		return 1;
	}
	slots[ELEVATE].fd = elevate_listen();
	if (find_terminals())
		start_greeter();
	serve();
}
