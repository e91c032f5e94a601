/* Makes the system calls that a file lists, a line each: THREAD ENTRY NUMBER ARGUMENT...
 * THREAD is - for the main thread, else the name of one of its own, which makes all the lines that follow with that
 * name. ENTRY is 64, or 32 for int 0x80, which takes five arguments. An ARGUMENT is a number, =text, or #bytes in hex;
 * text and bytes lie below 4 GiB, as that entry needs. Prints each result. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define ARENA (16 << 20)
#define MOST_LINES 4096
#define MOST_WORDS 10

struct line {
	char *words[MOST_WORDS];
	int count;
};

static struct line lines[MOST_LINES];
static char *arena;
static size_t used;

static char *take(size_t size)
{
	char *taken = arena + used;

	used += (size + 15) & ~(size_t)15;
	if (used > ARENA)
		exit(3);
	return taken;
}

static long argument(const char *word)
{
	size_t length = strlen(word);
	char *bytes;

	if (*word == '=')
		return (long)strcpy(take(length), word + 1);
	if (*word != '#')
		return strtol(word, NULL, 0);
	bytes = take(length);
	for (size_t at = 0; 2 * at + 2 < length; at++)
		sscanf(word + 1 + 2 * at, "%2hhx", (unsigned char *)bytes + at);
	return (long)bytes;
}

static long compat_call(long number, const long *a)
{
	long result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
			 : "memory", "r8", "r9", "r10", "r11");
	return result;
}

static void make(const struct line *line)
{
	long a[6] = {0}, number = strtol(line->words[2], NULL, 0), result;

	for (int at = 3; at < line->count && at < 9; at++)
		a[at - 3] = argument(line->words[at]);
	if (!strcmp(line->words[1], "32"))
		result = compat_call(number, a);
	else if ((result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5])) < 0)
		result = -errno;
	printf("%ld\n", result);
}

/* Makes the calls from a line on, as long as they are the same thread's; gives the first of another. */
static void *make_all(void *from)
{
	struct line *line = from;
	const char *thread = line->words[0];

	if (*thread != '-')
		prctl(PR_SET_NAME, thread);
	for (; line->count && !strcmp(line->words[0], thread); line++)
		make(line);
	return line;
}

int main(int count, char **arguments)
{
	size_t number = 0, size = 0;
	char *text = NULL, *word, *rest;
	struct line *line = lines;
	FILE *file;

	arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (count != 2 || arena == MAP_FAILED || !(file = fopen(arguments[1], "re")))
		return 2;
	while (getline(&text, &size, file) > 0 && number < MOST_LINES - 1) {
		rest = strdup(text);
		while (lines[number].count < MOST_WORDS && (word = strsep(&rest, " \n")) && *word)
			lines[number].words[lines[number].count++] = word;
		number += lines[number].count > 2;
	}
	fclose(file);
	while (line->count) {
		pthread_t thread;
		void *next = line;

		if (*line->words[0] == '-')
			next = make_all(line);
		else if (pthread_create(&thread, NULL, make_all, line) || pthread_join(thread, &next))
			return 4;
		line = next;
	}
	return 0;
}
