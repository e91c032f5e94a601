/* Does one act through io_uring, without the system call of its name, and prints what came of it.
 *
 * io_uring_acts HOW ACT ARGUMENT...
 * HOW: plain, polled (a kernel thread takes the requests in), worker (another thread carries them out), linked (behind
 * a request that does nothing), drained, untold (no result is asked for), overflow (the queue of results is full),
 * personality (in the name of the user who set the ring up, after becoming nobody).
 * ACT: open, open2, open-direct PATH; unlink, mkdir PATH; rename, exchange, link, symlink PATH PATH; tcp, direct-tcp,
 * multishot; udp; fail PATH; fast-open PORT;
 * truncate, allocate, attribute, attribute-file PATH; install PATH.
 * Sockets are on 127.0.0.1; the acts on them print the ports.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RENAME_EXCHANGE_FLAG 2
/* Newer than some header files. */
#define OP_BIND 56
#define OP_LISTEN 57
#define OP_FIXED_FD_INSTALL 54
#define OP_FTRUNCATE 55

static struct io_uring_params p;
static int ring;
static char *sq, *cq;
static struct io_uring_sqe *entries;
static unsigned queued;
static const char *how;

static int is(const char *name)
{
	return !strcmp(how, name);
}

static void die(const char *what)
{
	perror(what);
	exit(3);
}

static void set_up(void)
{
	p.flags = is("polled") ? IORING_SETUP_SQPOLL : 0;
	p.sq_thread_idle = 2000;
	ring = syscall(SYS_io_uring_setup, 4, &p);
	if (ring < 0)
		die("io_uring_setup");
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED,
		  ring, IORING_OFF_CQ_RING);
	entries = mmap(NULL, p.sq_entries * sizeof(*entries), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || entries == MAP_FAILED)
		die("mmap");
}

static unsigned *at(char *queue, unsigned offset)
{
	return (unsigned *)(queue + offset);
}

static struct io_uring_sqe *request(int operation, int fd, const void *address, unsigned length)
{
	unsigned tail = *at(sq, p.sq_off.tail) + queued, place = tail & (p.sq_entries - 1);
	struct io_uring_sqe *e = entries + place;

	memset(e, 0, sizeof(*e));
	e->opcode = operation;
	e->fd = fd;
	e->addr = (unsigned long)address;
	e->len = length;
	at(sq, p.sq_off.array)[place] = place;
	queued++;
	return e;
}

static void submit(unsigned wait)
{
	unsigned n = queued;

	__atomic_store_n(at(sq, p.sq_off.tail), *at(sq, p.sq_off.tail) + n, __ATOMIC_RELEASE);
	queued = 0;
	if (syscall(SYS_io_uring_enter, ring, is("polled") ? 0 : n, wait,
		    IORING_ENTER_GETEVENTS | (is("polled") ? IORING_ENTER_SQ_WAKEUP : 0), NULL, 0) < 0)
		die("io_uring_enter");
}

/* The next result, or what stands for none where none can come. */
static int result(void)
{
	unsigned head = *at(cq, p.cq_off.head);
	struct io_uring_cqe *e = (struct io_uring_cqe *)(cq + p.cq_off.cqes) + (head & (p.cq_entries - 1));

	while (__atomic_load_n(at(cq, p.cq_off.tail), __ATOMIC_ACQUIRE) == head)
		if (syscall(SYS_io_uring_enter, ring, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
			die("io_uring_enter");
	__atomic_store_n(at(cq, p.cq_off.head), head + 1, __ATOMIC_RELEASE);
	return e->res;
}

/* Has the request that was made last carried out, in the way that is asked for. */
static int done(struct io_uring_sqe *e)
{
	struct io_uring_sqe kept = *e;

	if (is("worker"))
		e->flags |= IOSQE_ASYNC;
	if (is("drained"))
		e->flags |= IOSQE_IO_DRAIN;
	if (is("untold")) {
		e->flags |= IOSQE_CQE_SKIP_SUCCESS;
		submit(0);
		return 0;
	}
	if (is("linked")) {
		queued--;
		request(IORING_OP_NOP, -1, NULL, 0)->flags |= IOSQE_IO_LINK;
		*request(0, 0, NULL, 0) = kept;
		submit(2);
		result();
		return result();
	}
	if (is("overflow")) {
		queued--;
		for (unsigned n = 0; n < p.cq_entries; n++) {
			request(IORING_OP_NOP, -1, NULL, 0)->user_data = 7;
			submit(0);
		}
		*request(0, 0, NULL, 0) = kept;
		submit(0);
		for (unsigned n = 0; n < p.cq_entries; n++)
			result();
		return result();
	}
	submit(1);
	return result();
}

static struct io_uring_sqe *on_path(int operation, const char *path, unsigned length)
{
	return request(operation, AT_FDCWD, path, length);
}

static struct io_uring_sqe *on_two(int operation, const char *from, const char *to, unsigned flags)
{
	struct io_uring_sqe *e = request(operation, AT_FDCWD, from, (unsigned)AT_FDCWD);

	e->addr2 = (unsigned long)to;
	e->rename_flags = flags;
	return e;
}

static void table_of_files(void)
{
	int none[4] = {-1, -1, -1, -1};

	if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, none, 4) < 0)
		die("io_uring_register");
}

static struct sockaddr_in name_of(int socket)
{
	struct sockaddr_in name;
	socklen_t length = sizeof(name);

	getsockname(socket, (struct sockaddr *)&name, &length);
	return name;
}

static int socket_by_ring(int type)
{
	struct io_uring_sqe *e = request(IORING_OP_SOCKET, AF_INET, NULL, 0);

	e->off = type;
	return done(e);
}

/* Both ends of a connection; what is printed are the ports and the results. */
static void tcp(int is_multishot, int is_direct)
{
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, there;
	int server = socket_by_ring(SOCK_STREAM), one, two, sent, message;
	struct io_uring_sqe *e;
	struct iovec piece = {"by message", 10};
	struct msghdr header = {.msg_iov = &piece, .msg_iovlen = 1};
	int client = socket(AF_INET, SOCK_STREAM, 0);

	e = request(OP_BIND, server, &here, 0);
	e->addr2 = sizeof(here);
	if (done(e) < 0)
		die("bind");
	if (done(request(OP_LISTEN, server, NULL, 3)) < 0)
		die("listen");
	there = name_of(server);
	if (is_multishot) {
		e = request(IORING_OP_ACCEPT, server, NULL, 0);
		e->ioprio = IORING_ACCEPT_MULTISHOT;
		e->user_data = 9;
		submit(0);
	}
	if (is_direct) {
		table_of_files();
		if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES_UPDATE,
			    &(struct io_uring_files_update){.offset = 2, .fds = (unsigned long)&client}, 1) < 0)
			die("io_uring_register");
	}
	e = request(IORING_OP_CONNECT, is_direct ? 2 : client, &there, 0);
	e->off = sizeof(there);
	e->user_data = 1;
	e->flags = is_direct ? IOSQE_FIXED_FILE : 0;
	if (is_multishot) {
		/* Its result and that of the one that accepts, in whatever order. */
		int second = socket(AF_INET, SOCK_STREAM, 0);
		submit(2);
		result();
		result();
		if (connect(second, (struct sockaddr *)&there, sizeof(there)) < 0)
			die("connect");
		result();
		printf("%d %d\n", ntohs(there.sin_port), ntohs(name_of(client).sin_port));
		return;
	}
	one = done(e);
	e = request(IORING_OP_ACCEPT, server, NULL, 0);
	e->file_index = is_direct ? 2 : 0;
	two = done(e);
	e = request(IORING_OP_SEND, is_direct ? 2 : client, "by send", 7);
	e->flags = is_direct ? IOSQE_FIXED_FILE : 0;
	sent = done(e);
	e = request(IORING_OP_SENDMSG, client, &header, 1);
	message = done(e);
	printf("%d %d %d %d %d %d\n", ntohs(there.sin_port), ntohs(name_of(client).sin_port), one, two, sent, message);
}

static void udp(void)
{
	struct sockaddr_in there = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int server = socket(AF_INET, SOCK_DGRAM, 0), client = socket(AF_INET, SOCK_DGRAM, 0);
	struct io_uring_sqe *e;

	if (bind(server, (struct sockaddr *)&there, sizeof(there)) < 0)
		die("bind");
	there = name_of(server);
	e = request(IORING_OP_SEND, client, "datagram", 8);
	e->addr2 = (unsigned long)&there;
	e->addr_len = sizeof(there);
	printf("%d\n", done(e));
	printf("%d\n", ntohs(there.sin_port));
}

/* Asks a name server for what standard input has, and receives the answer. */
static void answer(const char *way, const char *server)
{
	static char data[512];
	struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(53)};
	struct iovec piece = {data, sizeof(data)};
	struct msghdr header = {.msg_iov = &piece, .msg_iovlen = 1};
	int length = read(0, data, sizeof(data)), client = socket(AF_INET, SOCK_DGRAM, 0);

	inet_pton(AF_INET, server, &there.sin_addr);
	if (connect(client, (struct sockaddr *)&there, sizeof(there)) < 0 || send(client, data, length, 0) != length)
		die("send");
	if (!strcmp(way, "recvmsg"))
		printf("%d\n", done(request(IORING_OP_RECVMSG, client, &header, 1)));
	else
		printf("%d\n", done(request(strcmp(way, "read") ? IORING_OP_RECV : IORING_OP_READ, client, data, sizeof(data))));
}

int main(int count, char **arguments)
{
	const char *act = count > 2 ? arguments[2] : "", *one = count > 3 ? arguments[3] : "", *two = count > 4 ? arguments[4] : "";
	struct io_uring_sqe *e = NULL;
	static struct open_how how_to_open = {.flags = O_RDONLY | O_NOFOLLOW, .resolve = RESOLVE_NO_MAGICLINKS};
	int user = 0;

	how = count > 1 ? arguments[1] : "";
	set_up();
	if (is("personality")) {
		user = syscall(SYS_io_uring_register, ring, IORING_REGISTER_PERSONALITY, NULL, 0);
		if (user < 0 || setresuid(65534, 65534, 0))
			die("personality");
	}
	if (!strcmp(act, "tcp") || !strcmp(act, "direct-tcp") || !strcmp(act, "multishot")) {
		tcp(!strcmp(act, "multishot"), !strcmp(act, "direct-tcp"));
		return 0;
	}
	if (!strcmp(act, "answer")) {
		answer(one, two);
		return 0;
	}
	if (!strcmp(act, "udp")) {
		udp();
		return 0;
	}
	if (!strcmp(act, "fast-open")) {
		static struct sockaddr_in there = {.sin_family = AF_INET};

		there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		there.sin_port = htons(atoi(one));
		e = request(IORING_OP_SEND, socket(AF_INET, SOCK_STREAM, 0), "x", 1);
		e->addr2 = (unsigned long)&there;
		e->addr_len = sizeof(there);
		e->msg_flags = MSG_FASTOPEN;
	}
	if (!strcmp(act, "truncate")) {
		e = request(OP_FTRUNCATE, open(one, O_WRONLY), NULL, 0);
		e->off = 3;
	}
	if (!strcmp(act, "allocate")) {
		e = request(IORING_OP_FALLOCATE, open(one, O_WRONLY), (void *)4096, 3);
		e->off = 0;
	}
	if (!strcmp(act, "attribute") || !strcmp(act, "attribute-file")) {
		e = request(IORING_OP_SETXATTR, -1, "user.x", 1);
		e->addr2 = (unsigned long)"1";
		e->addr3 = (unsigned long)one;
		if (!strcmp(act, "attribute-file")) {
			e->opcode = IORING_OP_FSETXATTR;
			e->fd = open(one, O_RDONLY);
		}
	}
	if (!strcmp(act, "install")) {
		int file = open(one, O_RDONLY);

		table_of_files();
		if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES_UPDATE,
			    &(struct io_uring_files_update){.offset = 2, .fds = (unsigned long)&file}, 1) < 0)
			die("io_uring_register");
		e = request(OP_FIXED_FD_INSTALL, 2, NULL, 0);
		e->flags = IOSQE_FIXED_FILE;
	}
	if (!strcmp(act, "open"))
		e = on_path(IORING_OP_OPENAT, one, 0);
	if (!strcmp(act, "create")) {
		e = on_path(IORING_OP_OPENAT, one, 0640);
		e->open_flags = O_CREAT | O_WRONLY | O_TRUNC;
	}
	if (!strcmp(act, "open-direct")) {
		table_of_files();
		e = on_path(IORING_OP_OPENAT, one, 0);
		e->file_index = 3;
	}
	if (!strcmp(act, "open2")) {
		e = on_path(IORING_OP_OPENAT2, one, sizeof(how_to_open));
		e->addr2 = (unsigned long)&how_to_open;
	}
	if (!strcmp(act, "unlink"))
		e = on_path(IORING_OP_UNLINKAT, one, 0);
	if (!strcmp(act, "mkdir"))
		e = on_path(IORING_OP_MKDIRAT, one, 0750);
	if (!strcmp(act, "rename"))
		e = on_two(IORING_OP_RENAMEAT, one, two, 0);
	if (!strcmp(act, "exchange"))
		e = on_two(IORING_OP_RENAMEAT, one, two, RENAME_EXCHANGE_FLAG);
	if (!strcmp(act, "link"))
		e = on_two(IORING_OP_LINKAT, one, two, 0);
	if (!strcmp(act, "symlink")) {
		e = on_path(IORING_OP_SYMLINKAT, one, 0);
		e->addr2 = (unsigned long)two;
	}
	if (!e)
		return 2;
	e->personality = user;
	printf("%d\n", done(e));
	return 0;
}
