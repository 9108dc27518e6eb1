/*
 * A host for os/cloud/vmware-guestinfo.c: linked with it, it catches the fault of each `in` instruction
 * and answers as VMware does, out of the environment variable GUESTINFO ("KEY=VALUE\n" lines).
 */

#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

enum { CHANNEL = 5, COOKIE_HIGH = 0x1234abcd, COOKIE_LOW = 0x5678ef01, REPLY_ID = 3 };

static char request[4096], answer[2 << 20];
static size_t request_length, request_got, answer_sent, answer_length;
static int is_open;

static void find(void)
{
	const char *prefix = "info-get guestinfo.", *line = getenv("GUESTINFO");
	size_t length = request_length - strlen(prefix);

	strcpy(answer, "0 No value found");
	if (request_got < request_length || strncmp(request, prefix, strlen(prefix)))
		strcpy(answer, "0 Unknown command");
	else
		for (; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
			if (!strncmp(line, request + strlen(prefix), length) && line[length] == '=') {
				size_t size = strcspn(line + length + 1, "\n");

				memcpy(answer, "1 ", 2);
				memcpy(answer + 2, line + length + 1, size);
				answer[size + 2] = 0;
			}
	answer_length = strlen(answer);
	answer_sent = 0;
}

static void on_fault(int number, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	uint32_t what = (uint32_t)r[REG_RCX] >> 16, status = 1, piece;

	(void)number;
	(void)info;
	/* `in %dx, %eax` is the byte ED. */
	if (*(uint8_t *)r[REG_RIP] != 0xed || (uint32_t)r[REG_RAX] != 0x564d5868 ||
	    (r[REG_RDX] & 0xffff) != 0x5658 || (r[REG_RCX] & 0xffff) != 0x1e)
		abort();
	if (what && (!is_open || (uint32_t)r[REG_RDX] >> 16 != CHANNEL ||
		     (uint32_t)r[REG_RSI] != COOKIE_HIGH || (uint32_t)r[REG_RDI] != COOKIE_LOW))
		abort();
	switch (what) {
	case 0:
		if ((uint32_t)r[REG_RBX] != (0x49435052u | 0x80000000u))
			abort();
		is_open = 1;
		r[REG_RDX] = CHANNEL << 16;
		r[REG_RSI] = COOKIE_HIGH;
		r[REG_RDI] = COOKIE_LOW;
		break;
	case 1:
		request_length = (uint32_t)r[REG_RBX];
		request_got = 0;
		break;
	case 2:
		piece = (uint32_t)r[REG_RBX];
		memcpy(request + request_got, &piece, 4);
		request_got += 4;
		break;
	case 3:
		find();
		status = 1 | 2;
		r[REG_RBX] = (greg_t)answer_length;
		r[REG_RDX] = REPLY_ID << 16;
		break;
	case 4:
		if ((uint32_t)r[REG_RBX] != REPLY_ID)
			abort();
		piece = 0;
		memcpy(&piece, answer + answer_sent, 4);
		answer_sent += 4;
		r[REG_RBX] = piece;
		break;
	case 5:
		if (answer_sent < answer_length)
			abort();
		break;
	case 6:
		is_open = 0;
		break;
	default:
		status = 0;
	}
	r[REG_RCX] = status << 16;
	r[REG_RIP] += 1;
}

/* Instead of signal(3), with which the program asks to be told of the fault. */
sighandler_t signal(int number, sighandler_t handler)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};

	(void)handler;
	sigaction(number, &action, NULL);
	return SIG_DFL;
}
