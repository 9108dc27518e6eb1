/*
 * The power service: tells PID 1 when somebody presses the machine's power button.
 *
 * Every input device that has KEY_POWER is watched, also those that appear later. The wish goes to
 * PID 1 as the line "poweroff" on its power socket; what happens then is PID 1's business. This
 * program holds no capability, links nothing and keeps no state, so it may be killed at any moment.
 *
 * It leaves out sleep and lid keys (a server ignores them) and the reset button (hardware).
 * Source: Linux 6.12 include/uapi/linux/input.h, Documentation/input/event-codes.rst.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	MAX_DEVICES = 32,      /* more buttons than any machine has; the rest is reported and left alone */
	DIRECTORIES = 0,       /* the first slot of the poll set; the devices follow */
	FIRST_DEVICE = 1,
	RETRY_S = 1,           /* PID 1 may be busy, or replacing itself */
	ATTEMPTS = 30,
	QUIET_S = 5,           /* a bouncing or impatient button is one wish */
};

static const char INPUT[] = "/dev/input";
static const char DEFAULT_SOCKET[] = "/run/orlop/power.sock";

static struct pollfd watched[FIRST_DEVICE + MAX_DEVICES];
static unsigned int event_number[FIRST_DEVICE + MAX_DEVICES];
static nfds_t watched_count = FIRST_DEVICE;

static int has_power_key(int descriptor)
{
	unsigned char keys[KEY_MAX / 8 + 1] = {0};

	if (ioctl(descriptor, EVIOCGBIT(EV_KEY, sizeof keys), keys) < 0)
		return 0;
	return keys[KEY_POWER / 8] >> (KEY_POWER % 8) & 1;
}

static int is_watched(unsigned int number)
{
	for (nfds_t i = FIRST_DEVICE; i < watched_count; i++)
		if (event_number[i] == number)
			return 1;
	return 0;
}

static void add_device(unsigned int number)
{
	char path[sizeof INPUT + 32];
	int descriptor;

	if (is_watched(number))
		return;
	snprintf(path, sizeof path, "%s/event%u", INPUT, number);
	descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (descriptor < 0) {
		if (errno != ENOENT && errno != ENODEV && errno != ENXIO)
			fprintf(stderr, "power: cannot open %s: %s, ignoring\n", path, strerror(errno));
		return;
	}
	if (!has_power_key(descriptor)) {
		close(descriptor);
		return;
	}
	if (watched_count == FIRST_DEVICE + MAX_DEVICES) {
		fprintf(stderr, "power: too many power buttons, ignoring %s\n", path);
		close(descriptor);
		return;
	}
	watched[watched_count] = (struct pollfd){.fd = descriptor, .events = POLLIN};
	event_number[watched_count++] = number;
}

static void remove_device(nfds_t index)
{
	close(watched[index].fd);
	watched_count--;
	watched[index] = watched[watched_count];
	event_number[index] = event_number[watched_count];
}

static void add_all_devices(void)
{
	DIR *directory = opendir(INPUT);
	struct dirent *entry;
	unsigned int number;
	int used;

	if (!directory)
		return;
	while ((entry = readdir(directory)) != NULL) {
		used = 0;
		if (sscanf(entry->d_name, "event%9u%n", &number, &used) == 1 && used &&
		    !entry->d_name[used])
			add_device(number);
	}
	closedir(directory);
}

/* Watch /dev/input where it exists, and /dev for the case that it does not yet, or not any more. */
static int watch_directories(int inotify)
{
	if (inotify_add_watch(inotify, "/dev", IN_CREATE | IN_ONLYDIR) < 0)
		return -1;
	/* IN_ATTRIB: a node may be made first and become readable a moment later. */
	if (inotify_add_watch(inotify, INPUT, IN_CREATE | IN_ATTRIB | IN_ONLYDIR) < 0 &&
	    errno != ENOENT)
		return -1;
	return 0;
}

static int send_wish(const char *path)
{
	static const char wish[] = "poweroff\n";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	ssize_t sent;
	int descriptor;

	if (strlen(path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (descriptor < 0)
		return -1;
	if (connect(descriptor, (struct sockaddr *)&address, sizeof address) < 0) {
		close(descriptor);
		return -1;
	}
	sent = send(descriptor, wish, sizeof wish - 1, MSG_NOSIGNAL);
	close(descriptor);
	return sent == sizeof wish - 1 ? 0 : -1;
}

static void power_off(const char *path)
{
	static time_t last_s;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (last_s && now.tv_sec - last_s < QUIET_S)
		return;
	last_s = now.tv_sec;
	fprintf(stderr, "power: the power button was pressed\n");
	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		if (send_wish(path) == 0)
			return;
		sleep(RETRY_S);
	}
	fprintf(stderr, "power: nobody answers on %s: %s\n", path, strerror(errno));
}

/* Read what a device has; 1 when the power key went down, -1 when the device is gone. */
static int read_device(int descriptor)
{
	struct input_event events[16];
	int pressed = 0;

	for (;;) {
		ssize_t size = read(descriptor, events, sizeof events);

		if (size <= 0)
			return size < 0 && (errno == EAGAIN || errno == EINTR) ? pressed : -1;
		for (size_t i = 0; i < (size_t)size / sizeof *events; i++)
			if (events[i].type == EV_KEY && events[i].code == KEY_POWER && events[i].value == 1)
				pressed = 1;
	}
}

static void stop(int signal_number)
{
	(void)signal_number;
	_exit(0);
}

int main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : DEFAULT_SOCKET;
	struct sigaction action = {.sa_handler = stop};
	char names[4096];
	int inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	if (inotify < 0 || watch_directories(inotify) < 0) {
		fprintf(stderr, "power: cannot watch /dev: %s\n", strerror(errno));
		return 1;
	}
	watched[DIRECTORIES] = (struct pollfd){.fd = inotify, .events = POLLIN};
	add_all_devices();
	for (;;) {
		if (poll(watched, watched_count, -1) < 0)
			continue; /* EINTR only */
		/* Backwards, because removing moves the last device into the gap. */
		for (nfds_t i = watched_count; i-- > FIRST_DEVICE;) {
			int pressed;

			if (!watched[i].revents)
				continue;
			pressed = read_device(watched[i].fd);
			if (pressed > 0)
				power_off(path);
			else if (pressed < 0)
				remove_device(i);
		}
		if (watched[DIRECTORIES].revents) {
			while (read(inotify, names, sizeof names) > 0)
				; /* which name it was does not matter */
			watch_directories(inotify);
			add_all_devices();
		}
	}
}
