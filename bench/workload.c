/* Loops over one kind of work and prints nanoseconds an operation: workload KIND COUNT.
 * Kinds: open (open and close an uninteresting file), getppid, readwrite (one byte each through a pipe), forkexec. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void once(const char *kind, int pipe_ends[2])
{
	char byte = 'x';

	if (!strcmp(kind, "open")) {
		close(open("/etc/hostname", O_RDONLY));
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

	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (long i = 0; i < loops; i++)
		once(arguments[1], pipe_ends);
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%.1f\n", ((end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec)) / loops);
	return 0;
}
