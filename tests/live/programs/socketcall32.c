/* Connects to a port of 127.0.0.1 by socketcall(2), the 32-bit entry's multiplexer. Prints what connect gave. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long call(unsigned number, unsigned long *words)
{
	long result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(102L), "b"((long)number), "c"(words) : "memory");
	return result;
}

int main(int count, char **arguments)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	unsigned long socket_words[3] = { AF_INET, 1, 0 };

	if (count != 2)
		return 2;
	address.sin_port = htons(atoi(arguments[1]));
	long descriptor = call(1, socket_words);
	unsigned long connect_words[3] = { descriptor, (unsigned long)&address, sizeof(address) };

	printf("%ld\n", call(3, connect_words));
	return 0;
}
