/* Calls clone3 while another thread changes the flags in memory all the time; prints the children in a user namespace of
 * their own. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NEW_USER 0x10000000

static volatile struct {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
} arguments = { .exit_signal = SIGCHLD };

static void *change(void *unused)
{
	for (;;)
		arguments.flags ^= NEW_USER;
	return unused;
}

int main(int count, char **words)
{
	pthread_t other;

	pthread_create(&other, 0, change, 0);
	for (int rounds = count > 1 ? atoi(words[1]) : 0; rounds; rounds--) {
		int status = 0, child = syscall(SYS_clone3, &arguments, sizeof(arguments));

		if (!child) /* Nobody is mapped yet, so that even root is nobody there. */
			_exit(geteuid() != 0);
		waitpid(child, &status, 0);
		if (WEXITSTATUS(status))
			printf("%d\n", child);
	}
	return 0;
}
