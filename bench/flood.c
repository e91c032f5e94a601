/* Flood the collector for a number of seconds from a number of processes, and print the number of actions: flood KIND SECONDS PROCESSES.
 * Kinds: plain (opens of one file that a rule checks by path only), create (with O_CREAT), dots (with .. in the path), denied (opens of
 * /etc/shadow as nobody), varied (denied, each with another path), alert (as root, open a file below /root for
 * writing), exec (of true), connect (to its own port), chdir (denied, with a chdir before each). */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NOBODY 65534

extern char **environ;
static struct sockaddr_in here = { .sin_family = AF_INET };
static int listener;

static void listen_on_loopback(void)
{
	socklen_t length = sizeof(here);

	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (void *)&here, sizeof(here)) || listen(listener, 16) || getsockname(listener, (void *)&here, &length))
		exit(1);
}

static void connect_once(void)
{
	struct linger at_once = { .l_onoff = 1 };
	int end = socket(AF_INET, SOCK_STREAM, 0), other;

	if (connect(end, (void *)&here, sizeof(here)) || (other = accept(listener, NULL, NULL)) < 0)
		exit(1);
	setsockopt(end, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(end);
	close(other);
}

static void once(const char *kind, long turn)
{
	char path[64];

	if (!strcmp(kind, "plain")) {
		close(open("/etc/hostname", O_RDWR));
	} else if (!strcmp(kind, "create")) {
		close(open("/tmp/.lanner-flood", O_WRONLY | O_CREAT, 0600));
	} else if (!strcmp(kind, "dots")) {
		close(open("/etc/../etc/hostname", O_RDONLY));
	} else if (!strcmp(kind, "denied")) {
		open("/etc/shadow", O_RDONLY);
	} else if (!strcmp(kind, "varied")) {
		snprintf(path, sizeof(path), "/etc/./%ld/../shadow", turn);
		open(path, O_RDONLY);
	} else if (!strcmp(kind, "chdir")) {
		if (chdir(turn & 1 ? "/" : "/tmp"))
			exit(1);
		open("/etc/shadow", O_RDONLY);
	} else if (!strcmp(kind, "alert")) {
		close(open("/root/.lanner-flood", O_WRONLY | O_CREAT, 0600));
	} else if (!strcmp(kind, "connect")) {
		connect_once();
	} else if (!strcmp(kind, "exec")) {
		char *arguments[] = { "true", NULL };
		pid_t child;

		if (posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environ))
			exit(1);
		waitpid(child, NULL, 0);
	} else {
		exit(2);
	}
}

int main(int count, char **words)
{
	if (count != 4)
		return 2;
	long *done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), all = 0;
	int processes = atoi(words[3]);
	struct timespec now, start;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (int n = 0; n < processes; n++) {
		if (fork())
			continue;
		if (strcmp(words[1], "alert") && (setgid(NOBODY) || setuid(NOBODY)))
			return 1;
		if (!strcmp(words[1], "connect"))
			listen_on_loopback();
		do {
			for (int i = 0; i < 32; i++)
				once(words[1], done[n]++);
			clock_gettime(CLOCK_MONOTONIC, &now);
		} while (now.tv_sec - start.tv_sec < atoi(words[2]));
		return 0;
	}
	while (wait(NULL) > 0)
		;
	for (int n = 0; n < processes; n++)
		all += done[n];
	printf("%ld\n", all);
	return 0;
}
