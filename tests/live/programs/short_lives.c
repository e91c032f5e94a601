/* Starts as many processes as the first argument says, one after another, each of which ends at once. */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **arguments)
{
	if (count != 2)
		return 2;
	for (long left = atol(arguments[1]); left > 0; left--) {
		pid_t child = fork();

		if (child == 0)
			_exit(0);
		if (child < 0 || waitpid(child, NULL, 0) != child)
			return 1;
	}
	return 0;
}
