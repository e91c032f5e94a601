/* Opens the file of the first argument by the 32-bit gate (int 0x80), from a 64-bit process where built as one.
 * The path is copied to below 4 GiB, because that gate takes 32-bit addresses. Prints the result. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

int main(int count, char **arguments)
{
	char *path = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	long result;

	if (count != 2 || path == MAP_FAILED)
		return 2;
	strncpy(path, arguments[1], 4095);
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(5L /* open */), "b"(path), "c"(0L), "d"(0L) : "memory");
	printf("%ld\n", result);
	return 0;
}
