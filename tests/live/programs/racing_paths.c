/* Makes calls whose path another thread changes all the time, and prints by which of two names each one went: racing_paths
 * CALL COUNT. Makes more until both names have been used. Works in the current directory. Calls: unlink, symlink, link, rename, mkdir. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BURST 40

/* The four letters that change are stored at once. */
static char path[16] __attribute__((aligned(16))) = "././good";
static volatile int is_over;

static void *change(void *unused)
{
	volatile unsigned *letters = (void *)(path + 4);
	unsigned evil, good;

	memcpy(&evil, "evil", 4);
	memcpy(&good, "good", 4);
	while (!is_over) {
		for (int i = 0; i < BURST; i++)
			*letters = evil;
		for (int i = 0; i < BURST; i++)
			*letters = good;
	}
	return unused;
}

static void make(const char *name)
{
	close(open(name, O_CREAT | O_WRONLY, 0600));
}

static int is_there(const char *name)
{
	return !faccessat(AT_FDCWD, name, F_OK, AT_SYMLINK_NOFOLLOW);
}

int main(int count, char **words)
{
	pthread_t thread;

	if (count != 3 || pthread_create(&thread, NULL, change, NULL))
		return 2;
	int least = atoi(words[2]), most = 20 * least, evil = 0, good = 0;

	for (int done = 0; done < least || (done < most && !(evil && good)); done++) {
		int failed = 0, is_removed = !strcmp(words[1], "unlink");

		remove("evil");
		remove("good");
		make("other");
		if (is_removed) {
			make("evil");
			make("good");
			failed = unlink(path);
		} else if (!strcmp(words[1], "symlink")) {
			failed = symlink("/nowhere", path);
		} else if (!strcmp(words[1], "link")) {
			failed = link("other", path);
		} else if (!strcmp(words[1], "rename")) {
			failed = rename("other", path);
		} else {
			failed = mkdir(path, 0700);
		}
		int is_evil = is_there("evil") != is_removed;

		evil += !failed && is_evil;
		good += !failed && !is_evil;
		puts(failed ? "-" : is_evil ? "evil" : "good");
	}
	is_over = 1;
	pthread_join(thread, NULL);
	return 0;
}
