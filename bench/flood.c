/* Flood the collector for a number of seconds from a number of processes, and print the number of actions:
 * flood KIND SECONDS PROCESSES [ACTS [USERS]]. After so many acts a process ends, and another takes its place; 0: it lives on.
 * The processes belong to so many users in turn, from 65534 downward; 0: to root.
 * Kinds: plain (opens of one file that a rule checks by path only), create (with O_CREAT), dots (with .. in the path), denied (opens of
 * /etc/shadow as nobody), varied (denied, each with another path), long (denied, by a path too long to be counted as a repeat),
 * alert (open a file below /root for writing, which only root may), exec (of true), connect (to its own port), chdir (denied, with a chdir
 * before each), deep (chdir in a directory with a long path), fork (of processes that end at once). */
#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NOBODY 65534
#define COMPONENT 190
#define COMPONENTS 18

extern char **environ;
static struct sockaddr_in here = { .sin_family = AF_INET };
static int listener;
static char long_path[4096] = "/root/./", component[COMPONENT + 1];

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

static void go_deep(void)
{
	memset(component, 'd', COMPONENT);
	if (chdir("/tmp"))
		exit(1);
	for (int n = 0; n < COMPONENTS; n++) {
		mkdir(component, 0777);
		chmod(component, 0777);
		if (chdir(component))
			exit(1);
	}
}

static void remove_deep(void)
{
	go_deep();
	for (int n = 0; n < COMPONENTS; n++)
		if (chdir("..") || rmdir(component))
			exit(1);
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
	} else if (!strcmp(kind, "long")) {
		open(long_path, O_RDONLY);
	} else if (!strcmp(kind, "deep")) {
		if (chdir("."))
			exit(1);
	} else if (!strcmp(kind, "fork")) {
		pid_t child = fork();

		if (!child)
			_exit(0);
		waitpid(child, NULL, 0);
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

static void go_on(const char *kind, long *done, long most, time_t end)
{
	struct timespec now;

	for (long n = 0; !most || n < most;) {
		for (int i = 0; i < 32; i++, n++)
			once(kind, (*done)++);
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec >= end)
			break;
	}
}

static int work(const char *kind, long *done, long acts, time_t end, uid_t user)
{
	struct timespec now;

	if (user && (setgroups(0, NULL) || setgid(user) || setuid(user)))
		return 1;
	if (!strcmp(kind, "connect"))
		listen_on_loopback();
	if (!strcmp(kind, "deep"))
		go_deep();
	do {
		pid_t child = acts ? fork() : 0;

		if (!child) {
			go_on(kind, done, acts, end);
			_exit(0);
		}
		waitpid(child, NULL, 0);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec < end);
	return 0;
}

int main(int count, char **words)
{
	if (count < 4)
		return 2;
	long *done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), all = 0;
	int processes = atoi(words[3]), acts = count > 4 ? atoi(words[4]) : 0, users = count > 5 ? atoi(words[5]) : 1;
	struct timespec start;

	for (int n = 0; n < 19; n++)
		memset(memset(long_path + strlen(long_path), 'x', COMPONENT) + COMPONENT, '/', 1);
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (int n = 0; n < processes; n++)
		if (!fork())
			return work(words[1], done + n, acts, start.tv_sec + atoi(words[2]), users ? NOBODY - n % users : 0);
	while (wait(NULL) > 0)
		;
	if (!strcmp(words[1], "deep"))
		remove_deep();
	for (int n = 0; n < processes; n++)
		all += done[n];
	printf("%ld\n", all);
	return 0;
}
