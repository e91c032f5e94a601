/* Repeat one kind of work and print nanoseconds per operation: workload KIND COUNT.
 * Kinds: open (open and close a file that no rule matches), watched (one that rules match), various (500 files in
 * turn), missing (500 names of no file in turn), getppid, readwrite (one byte each through a pipe), forkexec, connect
 * (to its own port on loopback). The kind act opens a file that rules match once, and prints the time before, in
 * nanoseconds since the epoch; its COUNT only tells one command line from another. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FILES 500

extern char **environ;
static char names[FILES][64];
static struct sockaddr_in here = { .sin_family = AF_INET };
static int listener;

static void make_files(void)
{
	char folder[] = "/tmp/lanner-bench-XXXXXX";

	if (!mkdtemp(folder))
		exit(1);
	for (int i = 0; i < FILES; i++) {
		snprintf(names[i], sizeof(names[i]), "%s/file%d", folder, i);
		close(open(names[i], O_RDONLY | O_CREAT, 0600));
	}
}

static void remove_files(void)
{
	for (int i = 0; i < FILES; i++)
		unlink(names[i]);
	*strrchr(names[0], '/') = 0;
	rmdir(names[0]);
}

static void listen_on_loopback(void)
{
	socklen_t length = sizeof(here);

	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (void *)&here, sizeof(here)) || listen(listener, 16) || getsockname(listener, (void *)&here, &length))
		exit(1);
}

static void once(const char *kind, int pipe_ends[2], long turn)
{
	char byte = 'x';

	if (!strcmp(kind, "open")) {
		close(open("/etc/hostname", O_RDONLY));
	} else if (!strcmp(kind, "watched")) {
		close(open("/etc/shadow", O_RDONLY));
	} else if (!strcmp(kind, "various")) {
		close(open(names[turn % FILES], O_RDONLY));
	} else if (!strcmp(kind, "missing")) {
		open(names[turn % FILES], O_RDONLY);
	} else if (!strcmp(kind, "connect")) {
		struct linger at_once = { .l_onoff = 1 };
		int end = socket(AF_INET, SOCK_STREAM, 0), other;

		if (connect(end, (void *)&here, sizeof(here)) || (other = accept(listener, NULL, NULL)) < 0)
			exit(1);
		/* Without this the ports would be used up, each waiting for a minute. */
		setsockopt(end, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		close(end);
		close(other);
	} else if (!strcmp(kind, "getppid")) {
		syscall(SYS_getppid);
	} else if (!strcmp(kind, "readwrite")) {
		if (write(pipe_ends[1], &byte, 1) != 1 || read(pipe_ends[0], &byte, 1) != 1)
			exit(1);
	} else if (!strcmp(kind, "forkexec")) {
		pid_t child;
		char *arguments[] = { "/bin/true", NULL };

		if (posix_spawn(&child, arguments[0], NULL, NULL, arguments, environ) || waitpid(child, NULL, 0) != child)
			exit(1);
	} else {
		exit(2);
	}
}

int main(int count, char **arguments)
{
	struct timespec begin, end;
	int pipe_ends[2];

	if (count != 3 || pipe(pipe_ends))
		return 2;
	long loops = atol(arguments[2]);

	if (!strcmp(arguments[1], "act")) {
		clock_gettime(CLOCK_REALTIME, &begin);
		once("watched", pipe_ends, 0);
		printf("%lld\n", begin.tv_sec * 1000000000LL + begin.tv_nsec);
		return 0;
	}
	if (!strcmp(arguments[1], "various") || !strcmp(arguments[1], "missing"))
		make_files();
	if (!strcmp(arguments[1], "missing"))
		remove_files();
	if (!strcmp(arguments[1], "connect"))
		listen_on_loopback();
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (long i = 0; i < loops; i++)
		once(arguments[1], pipe_ends, i);
	clock_gettime(CLOCK_MONOTONIC, &end);
	if (!strcmp(arguments[1], "various"))
		remove_files();
	printf("%.1f\n", ((end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec)) / loops);
	return 0;
}
