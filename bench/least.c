/* Print the lowest processor time of one operation over many short runs, in ns: least KIND RUNS OPERATIONS.
 * Kinds: absolute, relative (open and close /etc/hostname by such a path), getppid, readwrite (write and read one byte
 * through a pipe). Other work on the machine can only add time, so the minimum is close to the real cost. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
	return time.tv_sec * 1e9 + time.tv_nsec;
}

int main(int count, char **arguments)
{
	int ends[2];
	char byte = 'x';

	if (count != 4 || chdir("/etc") || pipe(ends))
		return 2;
	int calls = !strcmp(arguments[1], "getppid"), passes = !strcmp(arguments[1], "readwrite");
	const char *path = strcmp(arguments[1], "relative") ? "/etc/hostname" : "hostname";
	long runs = atol(arguments[2]), operations = atol(arguments[3]);
	double least = 1e18;

	for (long run = 0; run < runs; run++) {
		double begin = now();

		for (long i = 0; i < operations; i++) {
			if (calls)
				syscall(SYS_getppid);
			else if (passes && (write(ends[1], &byte, 1) != 1 || read(ends[0], &byte, 1) != 1))
				return 1;
			else if (!passes)
				close(open(path, O_RDONLY));
		}
		double taken = (now() - begin) / operations;
		if (taken < least)
			least = taken;
	}
	printf("%.1f\n", least);
	return 0;
}
