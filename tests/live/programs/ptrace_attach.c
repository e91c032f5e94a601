/* Attaches to a child of its own by PTRACE_ATTACH, or by PTRACE_SEIZE where an argument is given, and ends both. */
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **arguments)
{
	pid_t child = fork();

	(void)arguments;
	if (child == 0) {
		pause();
		_exit(0);
	}
	if (ptrace(count > 1 ? PTRACE_SEIZE : PTRACE_ATTACH, child, NULL, NULL))
		return 3;
	if (count == 1)
		waitpid(child, NULL, 0);
	ptrace(PTRACE_DETACH, child, NULL, NULL);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return 0;
}
