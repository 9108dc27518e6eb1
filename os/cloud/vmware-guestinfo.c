/*
 * Prints the value of guestinfo.KEY that VMware's host has for this guest.
 *
 * The host is asked over the "backdoor": reading I/O port 0x5658 with a magic number in a register.
 * VMware lets any process do that; elsewhere the kernel ends the attempt with SIGSEGV. A request is a
 * message of text, sent and received four bytes at a time through a channel that is opened for it.
 *
 * Exit status: 0 the value is on stdout, 1 the host knows no such key, 2 there is no such host or it
 * does not do as it should.
 *
 * Source: open-vm-tools, lib/include/backdoor_def.h and lib/message/message.c.
 */

#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	NO_SUCH_KEY = 1,
	NO_HOST = 2,

	PORT = 0x5658,
	COMMAND_RPC = 0x1e,
	OPEN = 0, SEND_LENGTH = 1, SEND = 2, RECEIVE_LENGTH = 3, RECEIVE = 4, RECEIVED = 5, CLOSE = 6,
	OK = 1, HAS_DATA = 2, /* of a reply's status */

	MAX_REQUEST = 1024,
	MAX_REPLY = (1 << 20) + 2,
};

static const uint32_t MAGIC = 0x564d5868;
static const uint32_t RPCI_WITH_COOKIES = 0x49435052u | 0x80000000u;

struct registers {
	uint32_t a, b, c, d, si, di;
};

struct channel {
	uint32_t number, cookie_high, cookie_low;
};

static char reply[MAX_REPLY];

static void fail(const char *what)
{
	dprintf(STDERR_FILENO, "%s\n", what);
	_exit(NO_HOST);
}

static void on_fault(int number)
{
	(void)number;
	fail("not a guest of VMware");
}

/* One exchange. The low half of c is the command, the high half what it is about; d the port and channel. */
static struct registers call(struct channel *channel, uint32_t what, uint32_t value)
{
	struct registers r = {
		.a = MAGIC, .b = value, .c = what << 16 | COMMAND_RPC,
		.d = channel->number << 16 | PORT, .si = channel->cookie_high, .di = channel->cookie_low,
	};

	__asm__ volatile("inl %%dx, %%eax"
		: "+a"(r.a), "+b"(r.b), "+c"(r.c), "+d"(r.d), "+S"(r.si), "+D"(r.di)
		:
		: "memory", "cc");
	return r;
}

static uint32_t status_of(struct registers r)
{
	return r.c >> 16;
}

static void open_channel(struct channel *channel)
{
	struct registers r = call(channel, OPEN, RPCI_WITH_COOKIES);

	if (!(status_of(r) & OK))
		fail("the host opens no channel");
	*channel = (struct channel){.number = r.d >> 16, .cookie_high = r.si, .cookie_low = r.di};
}

static void send_message(struct channel *channel, const char *text)
{
	size_t length = strlen(text);

	if (!(status_of(call(channel, SEND_LENGTH, (uint32_t)length)) & OK))
		fail("the host takes no message");
	for (size_t at = 0; at < length; at += 4) {
		uint32_t piece = 0;

		memcpy(&piece, text + at, length - at < 4 ? length - at : 4);
		if (!(status_of(call(channel, SEND, piece)) & OK))
			fail("the host takes no message");
	}
}

static size_t receive_message(struct channel *channel)
{
	struct registers r = call(channel, RECEIVE_LENGTH, 0);
	uint32_t length = r.b, id = r.d >> 16;

	if (!(status_of(r) & OK))
		fail("the host does not reply");
	if (!(status_of(r) & HAS_DATA))
		return 0;
	if (length > sizeof reply)
		fail("the host's reply is too long");
	for (size_t at = 0; at < length; at += 4) {
		r = call(channel, RECEIVE, id);
		if (!(status_of(r) & OK))
			fail("the host's reply is cut off");
		memcpy(reply + at, &r.b, length - at < 4 ? length - at : 4);
	}
	call(channel, RECEIVED, id);
	return length;
}

static int write_all(const char *data, size_t length)
{
	while (length > 0) {
		ssize_t written = write(STDOUT_FILENO, data, length);

		if (written <= 0)
			return -1;
		data += written;
		length -= (size_t)written;
	}
	return 0;
}

int main(int argc, char **argv)
{
	char request[MAX_REQUEST];
	struct channel channel = {0};
	size_t length;

	if (argc != 2 || strlen(argv[1]) > 256)
		fail("usage: vmware-guestinfo KEY");
	signal(SIGSEGV, on_fault);
	snprintf(request, sizeof request, "info-get guestinfo.%s", argv[1]);
	open_channel(&channel);
	send_message(&channel, request);
	length = receive_message(&channel);
	call(&channel, CLOSE, 0);
	/* "1 VALUE", or "0 " and why not. */
	if (length < 2 || reply[0] != '1')
		return NO_SUCH_KEY;
	return write_all(reply + 2, length - 2) < 0 ? NO_HOST : 0;
}
