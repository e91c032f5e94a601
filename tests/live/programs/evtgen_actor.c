/*
 * Plays the processes of a case: each is this program under the name that the case gives, and makes the system calls
 * that the case lists, no other ones between them that a rule could match.
 *
 * Without LANNER_ACT it is the stage: reads cases from its input ("ID PARALLEL SCRIPT", fields by 0x1c, cases by 0x1d)
 * and gives each a child. With LANNER_ACT, that is the process's script: operations by 0x1e, their words by 0x1f.
 *
 *   env NAME=VALUE            for the processes that follow
 *   dir PATH / file PATH      make it, and the directories above it, unless it is there
 *   copy PATH                 put this program there
 *   script TEXT               let a shell run this and wait for it
 *   child SLOT                start a process that only waits, its number into the slot
 *   call SLOT NAME ARG...     a system call, its result into the slot
 *   exec PATH UID GID ARGV... start a process; the rest of the script is its
 *
 * An ARG is i:NUMBER, s:TEXT, b:HEX (bytes in memory), z:SIZE (a buffer) or v:SLOT.
 * Tells, a line each: "p ID - PID" process started, "c ID NAME RESULT" call made, "f ID WHAT ERRNO" failed, and "e - - 0"
 * if all are played and the stage, which is a container's first process, stays.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPORT 100
#define SLOTS 64
#define WORDS 256
#define LAST_CAPABILITY 63

static const struct {
	const char *name;
	long number;
} CALLS[] = {
#define CALL(name) { #name, SYS_##name },
#ifdef SYS_open
	CALL(open) CALL(creat) CALL(link) CALL(symlink) CALL(dup2) CALL(unlink) CALL(rename) CALL(mkdir) CALL(rmdir)
	CALL(chmod) CALL(mknod) CALL(chown)
#endif
	CALL(openat) CALL(openat2) CALL(linkat) CALL(symlinkat) CALL(unlinkat) CALL(renameat) CALL(renameat2)
	CALL(mkdirat) CALL(mknodat) CALL(fchmod) CALL(fchmodat) CALL(fchown) CALL(fchownat) CALL(dup) CALL(dup3)
	CALL(close) CALL(read) CALL(write) CALL(pread64) CALL(pwrite64) CALL(ftruncate) CALL(chdir) CALL(fchdir)
	CALL(socket) CALL(bind) CALL(listen) CALL(connect) CALL(accept) CALL(accept4) CALL(setsockopt) CALL(sendto)
	CALL(recvfrom) CALL(shutdown) CALL(socketpair) CALL(ptrace) CALL(kill) CALL(tkill) CALL(tgkill) CALL(setns)
	CALL(unshare) CALL(userfaultfd) CALL(setuid) CALL(setgid) CALL(setresuid) CALL(setresgid) CALL(setsid)
	CALL(memfd_create) CALL(bpf) CALL(init_module) CALL(finit_module) CALL(mount) CALL(umount2) CALL(chroot)
	CALL(prctl) CALL(process_vm_readv) CALL(process_vm_writev) CALL(pipe2) CALL(eventfd2) CALL(inotify_init1)
	CALL(execveat) CALL(splice) CALL(sendfile) CALL(getpid)
};

static const char *identity;
static long slots[SLOTS];
static pid_t waiting[SLOTS];
static int waiting_count;

static void report(const char *kind, const char *what, long number)
{
	char line[512];
	int size = snprintf(line, sizeof line, "%s %s %s %ld\n", kind, identity, what, number);

	if (write(REPORT, line, size) != size)
		_exit(3);
}

static _Noreturn void give_up(const char *what)
{
	report("f", what, errno);
	_exit(2);
}

static int split(char *text, char separator, char **parts)
{
	int count = 0;

	for (;;) {
		if (count == WORDS - 1)
			give_up("too-many-words");
		parts[count++] = text;
		text = strchr(text, separator);
		if (!text)
			break;
		*text++ = 0;
	}
	parts[count] = NULL;
	return count;
}

static void make_parents(const char *path)
{
	char copy[4096];

	snprintf(copy, sizeof copy, "%s", path);
	for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(copy, 0755) && errno != EEXIST)
			give_up("mkdir");
		*slash = '/';
	}
}

static void make_file(const char *path)
{
	struct stat found;
	int fd;

	if (!stat(path, &found))
		return;
	make_parents(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
	if (fd < 0)
		give_up("file");
	close(fd);
}

static void copy_self(const char *path)
{
	char buffer[65536];
	ssize_t size;
	int from = open("/proc/self/exe", O_RDONLY), to;

	make_parents(path);
	unlink(path);
	to = open(path, O_WRONLY | O_CREAT | O_EXCL, 0755);
	if (from < 0 || to < 0)
		give_up("copy");
	while ((size = read(from, buffer, sizeof buffer)) > 0)
		if (write(to, buffer, size) != size)
			give_up("copy");
	close(from);
	close(to);
}

static long argument(char *word)
{
	char *text = word + 2, *memory;
	size_t size;

	switch (word[0]) {
	case 'i':
		return strtoll(text, NULL, 0);
	case 's':
		return (long)text;
	case 'v':
		return slots[strtol(text, NULL, 10) % SLOTS];
	case 'z':
		return (long)calloc(1, strtoul(text, NULL, 10));
	case 'b':
		size = strlen(text) / 2;
		memory = calloc(1, size + 1);
		for (size_t i = 0; i < size; i++) {
			char digits[3] = { text[2 * i], text[2 * i + 1], 0 };
			memory[i] = strtol(digits, NULL, 16);
		}
		return (long)memory;
	}
	give_up("argument");
}

static void call(char **words, int count)
{
	long values[6] = { 0 }, number = -1, result;

	for (size_t i = 0; i < sizeof CALLS / sizeof CALLS[0]; i++)
		if (!strcmp(CALLS[i].name, words[2]))
			number = CALLS[i].number;
	if (number < 0 || count > 9)
		give_up(words[2]);
	for (int i = 3; i < count; i++)
		values[i - 3] = argument(words[i]);
	result = syscall(number, values[0], values[1], values[2], values[3], values[4], values[5]);
	if (result == -1)
		result = -errno;
	slots[strtol(words[1], NULL, 10) % SLOTS] = result;
	report("c", words[2], result);
}

/* Falco's generator gives its processes every capability, whoever their user is. */
static void become(uid_t uid, gid_t gid)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (uid == getuid() && gid == getgid())
		return;
	prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
	if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
		give_up("setresuid");
	if (syscall(SYS_capget, &header, data))
		give_up("capget");
	for (int i = 0; i < 2; i++)
		data[i].effective = data[i].inheritable = data[i].permitted;
	if (syscall(SYS_capset, &header, data))
		give_up("capset");
	for (int capability = 0; capability <= LAST_CAPABILITY; capability++)
		prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
}

static void start(char **words, const char *rest)
{
	pid_t pid = fork();

	if (pid < 0)
		give_up("fork");
	if (!pid) {
		setenv("LANNER_ACT", rest, 1);
		report("p", "-", getpid());
		become(strtoul(words[2], NULL, 10), strtoul(words[3], NULL, 10));
		execv(words[1], words + 4);
		give_up("exec");
	}
	waitpid(pid, NULL, 0);
}

static void shell(char *text)
{
	pid_t pid = fork();

	if (!pid) {
		execl("/bin/sh", "sh", "-c", text, NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

static void wait_for_signal(char *slot)
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		for (;;)
			pause();
	}
	slots[strtol(slot, NULL, 10) % SLOTS] = pid;
	waiting[waiting_count++ % SLOTS] = pid;
}

static int play(char *script)
{
	char *words[WORDS];

	while (script && *script) {
		char *rest = strchr(script, 0x1e);
		int count;

		if (rest)
			*rest++ = 0;
		count = split(script, 0x1f, words);
		if (!strcmp(words[0], "call")) {
			call(words, count);
		} else if (!strcmp(words[0], "exec")) {
			start(words, rest ? rest : "");
			break;
		} else if (!strcmp(words[0], "env")) {
			putenv(words[1]);
		} else if (!strcmp(words[0], "dir")) {
			make_parents(words[1]);
			if (mkdir(words[1], 0755) && errno != EEXIST)
				give_up("dir");
		} else if (!strcmp(words[0], "file")) {
			make_file(words[1]);
		} else if (!strcmp(words[0], "copy")) {
			copy_self(words[1]);
		} else if (!strcmp(words[0], "script")) {
			shell(words[1]);
		} else if (!strcmp(words[0], "child")) {
			wait_for_signal(words[1]);
		} else {
			give_up(words[0]);
		}
		script = rest;
	}
	for (int i = 0; i < waiting_count; i++) {
		kill(waiting[i], SIGKILL);
		waitpid(waiting[i], NULL, __WALL);
	}
	return 0;
}

static void play_case(char *text)
{
	char *fields[WORDS];

	identity = "-";
	if (split(text, 0x1c, fields) != 3)
		give_up("case");
	identity = fields[0];
	setenv("LANNER_CASE", identity, 1);
	pid_t pid = fork();
	if (!pid) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, 0);
		dup2(null, 1);
		_exit(play(fields[2]));
	}
	/* A parallel case is one that sleeps; the stage waits for those at its own end. */
	if (fields[1][0] != '1')
		waitpid(pid, NULL, 0);
}

static int stage(void)
{
	char *text = NULL;
	size_t room = 0;
	ssize_t size;

	dup2(1, REPORT);
	while ((size = getdelim(&text, &room, 0x1d, stdin)) > 0) {
		if (text[size - 1] == 0x1d)
			text[size - 1] = 0;
		if (text[0])
			play_case(text);
	}
	while (wait(NULL) > 0 || errno == EINTR)
		;
	/* A container's files can be read while its first process lives, which ends with the container. */
	if (getpid() == 1) {
		dprintf(REPORT, "e - - 0\n");
		for (;;)
			pause();
	}
	return 0;
}

int main(void)
{
	char *script = getenv("LANNER_ACT");

	if (!script)
		return stage();
	identity = getenv("LANNER_CASE");
	script = strdup(script);
	unsetenv("LANNER_ACT");
	return play(script);
}
