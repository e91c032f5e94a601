/* Maps memory by the 32-bit entry's first mmap, whose arguments lie behind a pointer. */
#include <sys/mman.h>

int main(void)
{
	unsigned long words[6] = { 0, 1234567, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0 };
	long result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(90L), "b"(words) : "memory");
	return result == -1;
}
