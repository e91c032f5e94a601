/* Connects to a port of 127.0.0.1 in the way that the first argument names; prints the errno of its first attempt. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static struct sockaddr_in there;
static int connection;

static int is(const char *one, const char *other) { return !strcmp(one, other); }

static void ignore(int number) { (void)number; }

/* Signals this process ten times a second, by timers or by death. */
static void interrupt(int flags)
{
	struct sigaction action = { .sa_handler = ignore, .sa_flags = flags };
	struct itimerval often = { { 0, 100000 }, { 0, 100000 } };

	sigaction(SIGALRM, &action, 0);
	setitimer(ITIMER_REAL, &often, 0);
}

/* While the connection waits: puts a file in the descriptor's place, or another address in the first one's. */
static void *replace(void *how)
{
	usleep(100000);
	if (is(how, "replaced"))
		dup2(open("/dev/null", O_RDONLY), connection);
	there.sin_addr.s_addr = htonl(0x0a010203);
	there.sin_port = htons(9);
	usleep(100000);
	kill(getpid(), SIGALRM);
	return 0;
}

static int send_first(const char *how)
{
	struct iovec data = { "x", 1 };
	struct msghdr message = { .msg_name = &there, .msg_namelen = sizeof there, .msg_iov = &data, .msg_iovlen = 1 };
	struct mmsghdr messages = { message, 0 };

	if (is(how, "sendto"))
		return sendto(connection, "x", 1, MSG_FASTOPEN, (void *)&there, sizeof there);
	if (is(how, "sendmsg"))
		return sendmsg(connection, &message, MSG_FASTOPEN);
	return sendmmsg(connection, &messages, 1, MSG_FASTOPEN);
}

int main(int count, char **arguments)
{
	const char *how = arguments[1];
	pthread_t other;
	int result, one = 1;

	if (count != 3)
		return 2;
	connection = socket(AF_INET, SOCK_STREAM, is(how, "multipath") ? 262 : 0);
	if (connection < 0)
		return 3;
	there.sin_family = AF_INET;
	there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	there.sin_port = htons(atoi(arguments[2]));
	if (is(how, "interrupted") || is(how, "repeated"))
		interrupt(0);
	if (is(how, "restarted"))
		interrupt(SA_RESTART);
	if (is(how, "timed")) {
		struct timeval long_time = { 60, 0 };

		setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &long_time, sizeof long_time);
		interrupt(0);
	}
	if (is(how, "killed")) {
		struct itimerval once = { { 0, 0 }, { 0, 100000 } };

		setitimer(ITIMER_REAL, &once, 0);
	}
	if (is(how, "replaced") || is(how, "changed")) {
		struct sigaction action = { .sa_handler = ignore };

		sigaction(SIGALRM, &action, 0);
		pthread_create(&other, 0, replace, (void *)how);
	}
	if (is(how, "deferred"))
		setsockopt(connection, IPPROTO_TCP, 30, &one, sizeof one); /* TCP_FASTOPEN_CONNECT */
	if (!strncmp(how, "send", 4)) {
		result = send_first(how);
	} else {
		do
			result = connect(connection, (void *)&there, sizeof there);
		while (result < 0 && is(how, "repeated") && (errno == EINTR || errno == EALREADY));
	}
	printf("%d\n", result < 0 ? errno : 0);
	if (is(how, "deferred"))
		return write(connection, "x", 1) != 1;
	return 0;
}
