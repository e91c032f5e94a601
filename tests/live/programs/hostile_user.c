/* What a user without rights may do to a watcher: hostile_user KIND SECONDS FOLDER, started as root, gives its rights up.
 * Prints how often it did it. It ends by itself: by the clock, by its limits, and with its parent.
 * Kinds: fork (children that end at once), exec (30 arguments of 4 KB with control characters), nested (1,024 processes
 * within each other, the innermost acts), deep (a path of 80 components), overlay (mounts in a user namespace), deleted
 * (executables that are gone, and some that never had a name), cgroup (FOLDER is a cgroup that it owns: groups named as
 * those of containers), names (processes that change what they are called all the time). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NOBODY 65534
#define DEPTH 1024
#define BUILDING 6
#define COMPONENTS 80
#define ARGUMENTS 30
#define CHILDREN 32

extern char **environ;
static struct timespec start;
static int seconds;
static long *done;

static int is_over(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec - start.tv_sec >= seconds;
}

static void look(void)
{
	int file = open("/etc/shadow", O_RDONLY);

	if (file >= 0)
		close(file);
	++*done;
}

static void run(char *const words[])
{
	pid_t child;

	if (!posix_spawn(&child, "/bin/true", NULL, NULL, words, environ))
		waitpid(child, NULL, 0);
	++*done;
}

static void fork_storm(void)
{
	while (!is_over()) {
		for (int n = 0; n < CHILDREN; n++)
			if (!fork())
				_exit(0);
		while (wait(NULL) > 0)
			++*done;
	}
}

static void exec_storm(void)
{
	static char text[4096];
	char *words[ARGUMENTS + 2];

	memset(text, 'A', sizeof(text) - 1);
	memcpy(text, "\n\033[2Jtoken=", 11);
	for (int n = 0; n <= ARGUMENTS; n++)
		words[n] = text;
	words[ARGUMENTS + 1] = NULL;
	while (!is_over())
		run(words);
}

static void nested(void)
{
	char *words[] = { "true", NULL };

	/* On a busy machine it takes a while to get there: what counts is how long it goes on within. */
	int patience = seconds;

	seconds += BUILDING;
	for (int depth = 0; depth < DEPTH && !is_over(); depth++) {
		pid_t child = fork();

		if (child) {
			if (child > 0)
				waitpid(child, NULL, 0);
			if (depth)
				_exit(0);
			return;
		}
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	}
	seconds = patience;
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (!is_over()) {
		look();
		run(words);
	}
	_exit(0);
}

static int copy_of_true(const char *path, int flags)
{
	int from = open("/bin/true", O_RDONLY | O_CLOEXEC), to = open(path, flags, 0755);
	struct stat status;
	off_t place = 0;

	if (from < 0 || to < 0 || fstat(from, &status))
		exit(3);
	while (place < status.st_size && sendfile(to, from, &place, status.st_size - place) > 0)
		;
	close(from);
	return to;
}

static void deep(void)
{
	char name[41], whole[4096] = "", *words[] = { "true", NULL };
	pid_t child;

	memset(name, 'd', 40);
	name[40] = 0;
	if (!getcwd(whole, sizeof(whole)))
		exit(3);
	for (int n = 0; n < COMPONENTS; n++) {
		if (mkdir(name, 0700) && errno != EEXIST)
			exit(3);
		if (chdir(name))
			exit(3);
		strcat(strcat(whole, "/"), name);
	}
	close(copy_of_true("true", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC));
	while (!is_over()) {
		int file = open("x", O_RDWR | O_CREAT, 0600);

		close(file);
		strcat(whole, "/x");
		close(open(whole, O_RDONLY));
		whole[strlen(whole) - 2] = 0;
		rename("x", "y");
		unlink("y");
		look();
		if (!posix_spawn(&child, "./true", NULL, NULL, words, environ))
			waitpid(child, NULL, 0);
	}
}

static void put(const char *path, const char *text)
{
	int file = open(path, O_WRONLY | O_CLOEXEC);

	if (file < 0 || write(file, text, strlen(text)) < 0)
		exit(4);
	close(file);
}

static void overlay(void)
{
	char *words[] = { "true", NULL };

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		exit(4);
	put("/proc/self/setgroups", "deny");
	put("/proc/self/uid_map", "0 65534 1");
	put("/proc/self/gid_map", "0 65534 1");
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("t", "/mnt", "tmpfs", 0, NULL))
		exit(4);
	if (mkdir("/mnt/u", 0700) || mkdir("/mnt/w", 0700) || mkdir("/mnt/m", 0700))
		exit(4);
	while (!is_over()) {
		if (mount("o", "/mnt/m", "overlay", 0, "lowerdir=/etc,upperdir=/mnt/u,workdir=/mnt/w"))
			exit(4);
		close(open("/mnt/m/shadow", O_RDONLY));
		close(open("/mnt/m/passwd", O_RDONLY));
		close(open("/mnt/m/new", O_WRONLY | O_CREAT, 0600));
		unlink("/mnt/m/new");
		mount("/mnt/m/passwd", "/etc/hostname", NULL, MS_BIND, NULL);
		close(open("/etc/hostname", O_RDONLY));
		umount2("/etc/hostname", MNT_DETACH);
		run(words);
		umount2("/mnt/m", MNT_DETACH);
	}
}

static void deleted(void)
{
	char *words[] = { "gone", NULL };

	while (!is_over()) {
		int file = copy_of_true("gone", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC), nameless, from;
		pid_t child;

		close(file);
		from = open("gone", O_PATH | O_CLOEXEC);
		child = fork();
		if (!child) {
			unlink("gone");
			look();
			syscall(SYS_execveat, from, "", words, environ, AT_EMPTY_PATH);
			_exit(1);
		}
		waitpid(child, NULL, 0);
		close(from);
		nameless = memfd_create("evil\n", MFD_CLOEXEC);
		from = open("/bin/true", O_RDONLY | O_CLOEXEC);
		while (sendfile(nameless, from, NULL, 1 << 20) > 0)
			;
		close(from);
		child = fork();
		if (!child) {
			syscall(SYS_execveat, nameless, "", words, environ, AT_EMPTY_PATH);
			_exit(1);
		}
		waitpid(child, NULL, 0);
		close(nameless);
		++*done;
	}
}

static void cgroup(const char *folder)
{
	char name[512], procs[600], home[600];
	char *words[] = { "true", NULL };

	snprintf(home, sizeof(home), "%s/cgroup.procs", folder);
	for (unsigned turn = 0; !is_over(); turn++) {
		snprintf(name, sizeof(name), "%s/docker-%064x.scope", folder, turn);
		snprintf(procs, sizeof(procs), "%s/cgroup.procs", name);
		if (mkdir(name, 0755))
			exit(5);
		put(procs, "0");
		look();
		run(words);
		put(home, "0");
		rmdir(name);
	}
}

static void names(char **words)
{
	static const char *called[] = { "systemd", "\033[2J", "a\nb", "", "sshd: root@pts", "\xff\xfe" };

	for (unsigned turn = 0; !is_over(); turn++) {
		prctl(PR_SET_NAME, called[turn % 6]);
		memset(words[0], 1 + turn % 255, strlen(words[0]));
		look();
		if (turn % 8 == 0 && !fork()) {
			look();
			_exit(0);
		}
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

int main(int count, char **words)
{
	struct rlimit processes = { DEPTH + 200, DEPTH + 200 }, size = { 64 << 20, 64 << 20 };

	if (count != 4)
		return 2;
	done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	clock_gettime(CLOCK_MONOTONIC, &start);
	seconds = atoi(words[2]);
	if (setrlimit(RLIMIT_NPROC, &processes) || setrlimit(RLIMIT_FSIZE, &size))
		return 1;
	if (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY))
		return 1;
	/* After the rights are given up, so that its own /proc entries are its own. */
	prctl(PR_SET_DUMPABLE, 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (strcmp(words[1], "cgroup") && chdir(words[3]))
		return 1;
	if (!strcmp(words[1], "fork"))
		fork_storm();
	else if (!strcmp(words[1], "exec"))
		exec_storm();
	else if (!strcmp(words[1], "nested"))
		nested();
	else if (!strcmp(words[1], "deep"))
		deep();
	else if (!strcmp(words[1], "overlay"))
		overlay();
	else if (!strcmp(words[1], "deleted"))
		deleted();
	else if (!strcmp(words[1], "cgroup"))
		cgroup(words[3]);
	else if (!strcmp(words[1], "names"))
		names(words);
	else
		return 2;
	printf("%ld\n", *done);
	return 0;
}
