/* Prints the least processor time, in ns, that one operation took over many short runs: least KIND RUNS OPERATIONS.
 * Kinds: absolute, relative (open and close /etc/hostname by such a name), getppid. What else the machine does only
 * ever adds, so that the least is near what the operation itself costs. */
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
	if (count != 4 || chdir("/etc"))
		return 2;
	int calls = !strcmp(arguments[1], "getppid");
	const char *path = strcmp(arguments[1], "relative") ? "/etc/hostname" : "hostname";
	long runs = atol(arguments[2]), operations = atol(arguments[3]);
	double least = 1e18;

	for (long run = 0; run < runs; run++) {
		double begin = now();

		for (long i = 0; i < operations; i++) {
			if (calls)
				syscall(SYS_getppid);
			else
				close(open(path, O_RDONLY));
		}
		double taken = (now() - begin) / operations;
		if (taken < least)
			least = taken;
	}
	printf("%.1f\n", least);
	return 0;
}
