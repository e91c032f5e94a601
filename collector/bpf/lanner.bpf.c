/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
 *
 * What it sees: every return from a system call that user space requested (64-bit and 32-bit entry alike), every
 * exec, every fork of a process and the end of every process.
 * How: five raw tracepoints; the one at sys_exit is typed (tp_btf), so that its registers are read without a helper
 * call, and it continues by tail calls. At sys_exit the registers still hold the arguments, so no enter probe is needed;
 * kernel objects (dentries, sockets, credentials) are preferred to user memory, which another thread may change; of a path
 * argument, the kernel's own copy is read when the kernel frees it.
 * What it can't see: user memory that was paged out or changed between the call and its return. Operations of io_uring
 * without a call are reported by io_uring.bpf.c, which is compiled after this file.
 *
 * Offsets of kernel structs (O_...), ids of types and what the kernel has (N_...) are placeholders here. They are replaced
 * when the program is loaded, from the running kernel's BTF, never from header files: headers of another kernel gave wrong
 * fields without any error. A descriptor for each system call number, filled in by user space, specifies what to read.
 */
#include <linux/types.h>
#include <linux/bpf.h>

#define NONE 0xff
#define PATH_MAX_BYTES 4096
#define DATA_LIMIT 16383
/* The largest program takes 129,000 of the verifier's one million steps with this size. */
#define WALK_STEPS 256
#define MAX_EVENTS 256
#define REPEAT_WINDOW 1000000000ULL /* ns */
/* Counters in a row, by which bytes in a ring are charged to accounts. */
#define CHARGES 4096
#define CHARGE_BITS 12
/* The same for begun ClientHellos. */
#define HELLO_CHARGES 512
#define HELLO_CHARGE_BITS 9
#define CGROUP_LEVELS 3
/* Threads whose paths are copied at a time. */
#define MAX_NAMING 2048
/* Copies of paths at a time whose addresses are noted. */
#define MAX_COPIES 8192
#define NAME_BYTES 512
/* Variables of a program that are compared, and bytes compared of each. */
#define MAX_VARIABLES 512
#define VARIABLE_BYTES 32
/* Bytes read of an answer of the Domain Name System, at most; and its port, in network byte order. */
#define ANSWER_BYTES 1023
#define DNS_PORT 0x3500
/* Pieces of memory of one call that are read; messages of one call, each of which takes two of 33 tail calls. */
#define MAX_PIECES 8
#define MAX_MESSAGES 8
/* Bytes read of a TLS ClientHello, at most; and sockets on which one may go on: twice as many as accounts may begin (user
 * space's MAX_HELLOS), so that none is evicted that an account has a share for. */
#define HELLO_BYTES 2047
#define MAX_HELLOS 2048
#define SAME_BYTES 112
/* Threads whose connections are noted at a time. */
#define MAX_CONNECTING 4096
/* The number of io_uring_enter on all architectures, and what stands for connect in socketcall. */
#define NR_IO_URING_ENTER 426
#define SOCKETCALL_CONNECT 3
#define INTERRUPTED -4 /* EINTR */
#define IN_PROGRESS -115 /* EINPROGRESS */
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define TCP 6
#define MPTCP 262
#define SYN_SENT 2
#define CLOSED 7
#define NEW_USER 0x10000000ULL       /* CLONE_NEWUSER */
#define NEW_NAMESPACES 0x6E020080ULL /* CLONE_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC, _NEWPID, _NEWNET, _NEWTIME */
#define PF_IO_WORKER_FLAG 0x10
#define PF_KTHREAD_FLAG 0x00200000

enum kind { K_SYSCALL = 1, K_FORK, K_EXEC, K_STATE, K_EXIT, K_REQUEST, K_RESULT, K_REPEATS };
enum region { R_KERNEL_PATH, R_PATH1, R_PATH2, R_DIR1, R_DIR2, R_BLOB1, R_BLOB2, R_SOCKET, R_COUNT };
enum exec_region { X_EXEPATH, X_CWD, X_ARGS, X_ENV, X_FILENAME, X_CGROUP, X_COUNT };
enum record_flag { F_COMPAT = 1, F_KERNEL_PATH_CUT = 2, F_OVERLAY = 4, F_UPPER = 8, F_PSEUDO = 16, F_ARGS_CUT = 32, F_DATA_CUT = 64, F_CREATED = 128, F_LAST_WHOLE = 256, F_ENV_CUT = 512, F_SCRIPT = 1024, F_SECURE = 2048, F_CODE_UNKNOWN = 4096, F_NEW_SETUID = 8192, F_CONTENTS = 16384 };
enum descriptor_flag {
  D_EMIT = 1,          /* send an event */
  D_STATE = 2,         /* on success, send the process's state */
  D_FD_IS_RESULT = 4,  /* the descriptor of the event is the call's result */
  D_FAILED_ONLY = 8,   /* success is reported by another probe */
  D_BLOB1_RESULT = 16, /* the length of blob 1 is the call's result */
  D_MESSAGE = 32,      /* argument 1 is a struct msghdr */
  D_PRCTL_NAME = 64,   /* path 1 is a string only for PR_SET_NAME */
  D_SOCKETCALL = 128,  /* 32-bit multiplexer: the real call and its arguments are behind a pointer */
  D_STRING_BLOB1 = 256,/* blob 1 ends at its NUL */
  D_POINTED = 512,     /* 32-bit: the arguments are behind a pointer */
  D_INTERRUPTED = 1024,/* reported if a signal interrupts it, too */
  D_CONNECTS = 2048,   /* the same if it has sent a packet, and only once for each connection */
  D_CLONE_ARGUMENTS = 4096, /* the flags are in memory, and are put into argument 2 */
  D_ANSWERS = 8192,    /* blob 1 is longer if it is an answer of the Domain Name System */
  D_HELLOS = 16384,    /* blob 1 is a TLS ClientHello, if the call sends one */
  D_VECTOR = 32768,    /* argument 1 is an array: of pieces of memory, or with D_MESSAGE of messages */
};
enum filter_kind { FILTER_NONE, FILTER_OPEN, FILTER_OPENAT, FILTER_OPENAT2, FILTER_CREAT, FILTER_PATH, FILTER_TEXT, FILTER_FD, FILTER_EITHER };
enum call_class { CLASS_READ = 1, CLASS_WRITE = 2, CLASS_CREATE = 4, CLASS_TRUNCATE = 8, CLASS_FAILED = 16 };
/* Of a call that is judged by its path, does the beginning or the ending of the path matter? */
enum verdict { DROP, PASS, JUDGE, VERDICT = 3, BY_BEGINNING = 4, BY_ENDING = 8 };
enum subject { OF_RESULT = 1, OF_REGISTER, OF_UID, OF_FAMILY, OF_LOCAL_PORT, OF_REMOTE_PORT, OF_LOCAL_IP, OF_REMOTE_IP, OF_PROTOCOL, OF_NEW_SETUID, OF_CREATED, OF_ANSWER, OF_HELLO };
enum answer { NO, YES, EITHER };
enum search { SEARCHED = 1, FOUND, FOUND_IN_STREAM };
enum counter {
  C_EVENTS, C_EVENTS_LOST, C_LIFECYCLE, C_LIFECYCLE_LOST, C_FILTERED, C_REPEATS, C_EVENTS_OVER_SHARE,
  C_LIFECYCLE_OVER_SHARE, C_COUNT,
};
enum setting { S_INTEREST, S_WAKING, S_SENT_WHOLE, S_FACTS_VERSION, S_HOST_MOUNTS, S_COUNT };
enum variable_use { FOR_RULES = 1, FOR_PROGRAMS = 2, FOR_SCRIPTS = 4 };
enum watching { UNWATCHED, WATCHED, WATCHED_BY_NAME };
enum doubled { AT_SYS_EXIT, AT_EXEC, AT_FORK, AT_EXIT, DOUBLED };
enum turn { ONLY, FIRST, SECOND };
/* Which records wake the reader: those below its setting. Answers and ClientHellos may come by the thousand, and most of
 * them match no rule. */
enum urgency { URGENT, WITH_CONTENTS, OTHERS };
/* The room for begun ClientHellos is shared as that in a ring is; what is older than some seconds counts as read. */
enum ring { RING_EVENTS, RING_LIFECYCLE, RING_COUNT, OPEN_HELLOS = RING_COUNT };
/* Whom a record is charged to, each within the one before: the first levels of its cgroup's path, a user, a process. */
enum account { OF_USER = CGROUP_LEVELS, OF_PROCESS, ACCOUNTS };
enum outcome { SENT, NO_ROOM, OVER_SHARE };
enum role { ROLE_UNKNOWN, ROLE_CLIENT, ROLE_SERVER };
enum step { STEP_STATE, STEP_JUDGE, STEP_PATH, STEP_TELL, STEP_SEND, STEP_COUNT };

struct descriptor {
  u16 event, flags;
  u8 fd, path1, path2, dir1, dir2, blob1, blob1_length, blob2, blob2_length, blob1_size, blob2_size, filter;
  u8 registers;        /* a bit for each argument whose register the event carries */
};

struct head {
  u64 time, start_time, cgroup_id;
  u32 tgid, tid, uid, exec_id;
  u16 kind, flags;
  u32 cpu;
};

struct syscall_record {
  struct head head;
  s64 result;
  u64 arguments[6];
  u64 ino;
  u32 dev, magic;
  s32 fd;
  u16 mode, event;
  u32 vtid, pad;
  u16 length[R_COUNT];
  char data[DATA_LIMIT + 1 + PATH_MAX_BYTES];
};

struct socket_info {
  u16 family, type, protocol, local_port, remote_port, unix_length;
  u8 state, role, pad[2];
  u8 local[16], remote[16];
  char unix_name[128];
};

struct state {
  u32 ppid, vpid, pgid, vpgid, sid, tty, loginuid, gid, pid_namespace, mount_namespace;
  u64 cap_effective, cap_permitted, cap_inheritable, pid_namespace_init_start;
  char comm[16];
};

struct process_record {
  struct head head;
  struct state state;
  u64 exe_ino, ctime_s, mtime_s;
  u32 ctime_ns, mtime_ns, exe_dev, exe_uid, exe_gid, nr;
  u16 exe_mode, pad[3];
  u16 length[8];
  char data[DATA_LIMIT + 1 + PATH_MAX_BYTES];
  volatile u64 end; /* of what is in data; not sent */
};

struct fork_record {
  struct head head;
  u64 start_time;
  u32 pid, vpid, exec_id, real_parent;
};

struct exit_record {
  struct head head;
  u32 status, pad;
};

/* One record that a process repeats, and how often it was repeated without being sent. The count only grows until another
 * record takes the slot, so user space may read it at any time: generation is odd while the slot changes hands. */
struct repeat {
  u64 count, last, window, version;
  u32 generation, size, whole, pad;
};

struct repeated_record {
  char bytes[REPEAT_BYTES];
};

/* Reports how often the record at its end was repeated until its slot was taken. */
struct repeats_record {
  struct head head;
  u64 count, last;
  u32 slot, generation;
};

/* Bytes written to a ring since its creation; the rest is user space's: bytes read, the ring's size, a secret, the epoch,
 * which ends when all that was written before it is read, together with the unread part of the previous one, in 256ths. */
struct ring_use {
  u64 written, read, size, seed, progress;
};

/* Bytes written to a ring, by the parity of the epoch. */
struct charge {
  u32 epoch[2], bytes[2];
};

struct path_buffer {
  char bytes[PATH_MAX_BYTES + 512 + 32];
  u32 position;
  volatile u64 path; /* the argument of walk_path */
};

/* A bit for each clause by which an open may matter. The filter's generation is part of every key, so that no open is
 * evaluated by a mixture of two versions. */
struct mask {
  u64 words[MASK_WORDS];
};

/* A predicate of a call: does the masked subject equal one of these values? */
struct test {
  u8 subject, reg, pad[2];
  u32 mask, values[MAX_VALUES];
};

/* What the filter says about an event type; row is the index of its masks. */
struct filter {
  u8 verdicts[CLASSES];
  u8 row, tests, has_places;
  u8 needs_contents; /* an answer of a name server, or a ClientHello: nothing else that such calls receive or send matters */
  struct test test[MAX_TESTS];
};

struct prefix_key {
  u32 bits, generation;
  char bytes[MAX_PREFIX];
};

/* The beginning of an environment variable that is sent. */
struct variable_key {
  u32 bits;
  char bytes[VARIABLE_BYTES];
};

/* The last 32 bytes in reverse order, so that a suffix is a prefix. */
struct suffix_key {
  u32 bits, generation;
  u64 words[4];
};

/* The current call. Results of one step reach the next through this struct: the verifier forgets what it knew about them,
 * so it follows each step once instead of once for every path to it. */
struct call {
  struct descriptor descriptor;
  volatile s64 result;
  volatile u32 compat, off, generation, names;
  volatile s32 fd;
  /* The file whose path the filter left in the buffer, and where that path begins; 0 if there is none. */
  volatile u64 walked;
  volatile u32 from;
  volatile u32 most; /* bytes of blob 1 */
  /* Has what the call is about been looked for, an answer of a name server or a ClientHello; in which message of the call is
   * the answer, and where do the messages begin? */
  volatile u32 search, message;
  volatile u64 messages;
  /* Where the further pieces of memory begin that an answer fills, their number, and how many bytes they have. */
  volatile u64 pieces_at, pieces, left;
  /* Has a connect begun a TCP connection? Its ends follow if they aren't those of the descriptor's socket, or no longer. */
  volatile u32 has_begun, is_replaced;
  struct socket_info ends;
};

/* The bytes of a TLS ClientHello that a call sends, and what is known while they are collected: in memory, so that the
 * verifier doesn't follow the loop for every way into it. */
struct hello {
  volatile u64 address, size, vector, pieces;
  volatile u32 left, most, have, pad;
  char bytes[2 * (HELLO_BYTES + 1)];
};

/* The TCP connection that a thread's connect has begun: noted while the kernel prepares its first packet, because the call
 * may wait for long, in which other threads can change the address in memory and what the descriptor stands for. */
struct connecting {
  u64 task;
  u32 is_interrupted, pad; /* a signal interrupted the call, which is reported */
  struct socket_info ends;
};

/* The kernel's copies of the path arguments, captured as they are freed at the end of the call. */
struct copied_name {
  u64 pointer; /* the path's address in user memory */
  u32 length, pad;
  char text[NAME_BYTES];
};

struct copied_names {
  u64 task;
  u32 count, pad;
  struct copied_name name[2];
};

struct filter_scratch {
  char before[24];
  /* Together with the members that follow, a key of prefix_masks. */
  u32 bits, generation;
  char raw[512 + 32];
  /* Read again wherever it is used: what a loop reveals about a length would multiply the verifier's states. */
  volatile u32 length, class, answer, filter, verdict;
  volatile u32 from, end;
  volatile s32 fd, directory;
  volatile u64 path;
  volatile u32 second, is_second; /* the argument with another path of the call, and is that the one evaluated? */
  volatile u32 family; /* of a TCP socket that is no longer the descriptor's, else 0 */
  struct mask ways;
};

/* Is any call of this number watched, by the 64-bit or the 32-bit entry, and do only its paths identify the file that it
 * changed? */
BPF_ARRAY(watched, u8, 512);
BPF_ARRAY(descriptors, struct descriptor, 1024);
BPF_ARRAY(socketcalls, struct descriptor, 32);
BPF_ARRAY(settings, u64, S_COUNT);
BPF_HASH(ignored, u32, u8, 64);
BPF_PERCPU_ARRAY(counters, u64, C_COUNT);
/* The task for which each doubled program's first copy has run last on this CPU; 0 if the second has seen it. */
BPF_PERCPU_ARRAY(begun, u64, DOUBLED);
/* Of these, the loader gives each entry program its own: from Linux 7.0 on, one may be preempted, and others run meanwhile.
 * The kernel doesn't run the same one again on that CPU until it ends. */
BPF_PERCPU_ARRAY(syscall_scratch, struct syscall_record, 1);
BPF_PERCPU_ARRAY(process_scratch, struct process_record, 1);
BPF_PERCPU_ARRAY(path_scratch, struct path_buffer, 1);
BPF_PERCPU_ARRAY(call_scratch, struct call, 1);
BPF_PERCPU_ARRAY(filter_scratch, struct filter_scratch, 1);
BPF_PERCPU_ARRAY(hello_scratch, struct hello, 1);
/* The slab cache of the kernel's path copies; 0 until the first one is freed. */
BPF_ARRAY(name_cache, u64, 1);
BPF_PERCPU_ARRAY(filtered, u64, MAX_EVENTS);
BPF_ARRAY(filters, struct filter, 2 * MAX_EVENTS);
BPF_ARRAY(class_masks, struct mask, 2 * MAX_ROWS * CLASSES);
BPF_ARRAY(test_masks, struct mask, 2 * MAX_ROWS * MAX_TESTS * 2);
BPF_ARRAY(anywhere_masks, struct mask, 2);
BPF_LPM_TRIE(prefix_masks, struct prefix_key, struct mask, 8192);
BPF_LPM_TRIE(suffix_masks, struct suffix_key, struct mask, 8192);
/* The environment variables that are sent, by their beginning; the value is a bit for each use. */
BPF_LPM_TRIE(variables, struct variable_key, u8, 4096);
/* Remaining steps of a watched call, so that each step is verified separately. */
BPF_PROG_ARRAY(steps, STEP_COUNT);
BPF_RINGBUF_OUTPUT(events, EVENT_PAGES);
BPF_RINGBUF_OUTPUT(lifecycle, LIFECYCLE_PAGES);
BPF_F_TABLE("array", u32, struct ring_use, ring_uses, RING_COUNT + 1, BPF_F_MMAPABLE);
/* Slots of all CPUs, one CPU after another; user space sizes the maps by the number of CPUs. */
BPF_F_TABLE("array", u32, struct repeat, repeats, REPEAT_SLOTS, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct repeated_record, repeated_records, REPEAT_SLOTS, 0);
/* Increases whenever the facts of any process may have changed. */
BPF_ARRAY(facts_version, u64, 1);
BPF_ARRAY(charges, struct charge, 4 * (RING_COUNT * CHARGES + HELLO_CHARGES));
/* By thread: it may run on another CPU between the freeing of a path and the end of the call. */
BPF_TABLE("lru_hash", u32, struct copied_names, copied_names, MAX_NAMING);
/* By the kernel's copy of a path, from when it is made until it is freed: the path's address in user memory, where the copy
 * itself doesn't have it (from Linux 7.0 on). Nothing is evicted, so that no other thread can remove an address; the loader
 * makes the map small where it isn't used. */
BPF_HASH(copied_from, u64, u64, MAX_COPIES);
BPF_TABLE("lru_hash", u32, struct connecting, connecting, MAX_CONNECTING);
/* By socket: the bytes that may be left of a ClientHello whose beginning a call has sent; 0 if it is complete. */
BPF_TABLE("lru_hash", u64, u32, open_hellos, MAX_HELLOS);
/* What a thread begins with: too large for the stack. */
BPF_ARRAY(no_names, struct copied_names, 1);
BPF_ARRAY(no_connecting, struct connecting, 1);

/* What depends on the kernel, put where the loader finds and replaces it (relocations.py): a number, an address some bytes
 * after another, a product, whose bounds older verifiers know only so, and a member, read by one instruction. No member of our own structs may be as far from their
 * beginning as the first placeholder. */
_Static_assert(sizeof(struct syscall_record) <= 0x6000 && sizeof(struct process_record) <= 0x6000, "see relocations.py");
#define NUMBER(n) ({ u64 _n; asm volatile("%0 = %1" : "=r"(_n) : "i"(PLACEHOLDER + (n))); _n; })
#define AT(p, o) ({ void *_p = (void *)(p); asm volatile("%0 += %1" : "+r"(_p) : "i"(PLACEHOLDER + (o))); _p; })
#define TIMES(x, n) ({ u64 _x = (x); asm volatile("%0 *= %1" : "+r"(_x) : "i"(PLACEHOLDER + (n))); _x; })
#define LOAD(type, p, o) ({ u64 _v; asm volatile("%0 = *(" #type " *)(%1 + %2)" : "=r"(_v) : "r"(p), "i"(o)); _v; })
#define POINTER(p, o) ((void *)LOAD(u64, p, o))
#define WORD(p, o) ((u32)LOAD(u32, p, o))
#define LONG(p, o) LOAD(u64, p, o)
#define READ(destination, base, o) bpf_probe_read_kernel(&(destination), sizeof(destination), AT(base, o))
/* The verifier must see the mask; the compiler, which knows the range already, would remove it. */
#define MASK(x, m) asm volatile("%0 &= %1" : "+r"(x) : "i"(m))

/* Calls a function that the verifier follows once, whatever calls it: build.py links them to the programs. What is passed
 * lies in maps. */
#define CALL(function) ((u64 (*)(void))CALL_##function)()

static __always_inline void *pointer_at(void *address) {
  void *p = 0;
  bpf_probe_read_kernel(&p, 8, address);
  return p;
}
#define follow(base, o) pointer_at(AT(base, o))

/* A kernel object of a known type: its members are read by one load each, where a helper call takes ten times as long. An
 * address that can't be read gives 0, as follow() does. */
#ifdef CAST_CALL
static void *(*cast)(void *, u32) = (void *)CAST_CALL;
#define OBJECT(p, type) cast((void *)(p), NUMBER(TYPE_##type))
#define MEMBER(p, type, o) POINTER(OBJECT(p, type), o)
#define FIELD(destination, p, type, o) \
  ((destination) = sizeof(destination) == 8 ? LOAD(u64, OBJECT(p, type), o) \
                 : sizeof(destination) == 4 ? LOAD(u32, OBJECT(p, type), o) \
                 : sizeof(destination) == 2 ? LOAD(u16, OBJECT(p, type), o) : LOAD(u8, OBJECT(p, type), o))
#else
#define OBJECT(p, type) (p)
#define MEMBER(p, type, o) follow(p, o)
#define FIELD(destination, p, type, o) READ(destination, p, o)
#endif
/* Cast although its type is known: for each pointer that is read from an object that can be trusted, the verifier looks
 * up four names among all types of the kernel, which was half of the time that loading took. */
#define CURRENT_TASK() OBJECT(bpf_get_current_task_btf(), TASK_STRUCT)
#define CURRENT_REGISTERS() ((void *)bpf_task_pt_regs((void *)bpf_get_current_task_btf()))

static __always_inline void count(u32 which) {
  u64 *n = counters.lookup(&which);
  if (n) *n += 1;
}

/* The same where one program may preempt another that counts the same. */
static __always_inline void count_shared(u32 which) {
  u64 *n = counters.lookup(&which);
  if (n) __sync_fetch_and_add(n, 1);
}

/* From Linux 7.0 on, a program may be preempted, and until it ends, the kernel skips its runs on that CPU. So some programs
 * are attached twice, and the second copy does what the first one was skipped for: has the first copy run for this task? A
 * task that is preempted between both is reported twice. */
static __always_inline bool is_done(u32 which) {
  u64 turn = NUMBER(N_TURN);
  if (turn == ONLY) return false;
  u64 task = (u64)bpf_get_current_task(), *by = begun.lookup(&which);
  if (!by) return false;
  if (turn == FIRST) {
    *by = task;
    return false;
  }
  if (*by != task) return false;
  *by = 0;
  return true;
}

static __always_inline void *cgroup_of(void *task) {
  void *set = POINTER(task, O_TASK_CGROUPS);
  if (!NUMBER(N_PIDS_ON_V1)) return MEMBER(set, CSS_SET, O_CSS_SET_DFL_CGRP);
  return MEMBER(MEMBER(set, CSS_SET, O_CSS_SET_PIDS), CGROUP_SUBSYS_STATE, O_CSS_CGROUP);
}

static __always_inline void *cgroup_node(void *task) {
  return MEMBER(cgroup_of(task), CGROUP, O_CGROUP_KN);
}

static __always_inline void fill_head(struct head *h, void *task, u16 kind) {
  u64 ids = bpf_get_current_pid_tgid();
  h->time = bpf_ktime_get_boot_ns();
  h->kind = kind;
  h->flags = 0;
  h->cpu = bpf_get_smp_processor_id();
  h->tgid = ids >> 32;
  h->tid = ids;
  void *leader = POINTER(task, O_TASK_GROUP_LEADER);
  h->start_time = LONG(leader, O_TASK_START_BOOTTIME);
  h->exec_id = LONG(task, O_TASK_SELF_EXEC_ID);
  h->uid = WORD(POINTER(task, O_TASK_CRED), O_CRED_EUID);
  h->cgroup_id = 0;
  FIELD(h->cgroup_id, cgroup_node(task), KERNFS_NODE, O_KN_ID);
}

struct dentry_facts {
  void *parent;
  u32 hash, length;
  void *name;
};

static __always_inline void read_dentry(struct dentry_facts *q, void *dentry) {
#ifdef CAST_CALL
  void *typed = OBJECT(dentry, DENTRY);
  q->parent = POINTER(typed, O_DENTRY_PARENT);
  q->length = WORD(typed, O_DENTRY_NAME_LEN);
  q->name = POINTER(typed, O_DENTRY_NAME);
#else
  u64 from = NUMBER(O_DENTRY_PARENT);
  if (NUMBER(O_DENTRY_NAME_LEN) == from + 12 && NUMBER(O_DENTRY_NAME) == from + 16) {
    bpf_probe_read_kernel(q, sizeof(*q), AT(dentry, O_DENTRY_PARENT));
    return;
  }
  q->parent = follow(dentry, O_DENTRY_PARENT);
  q->name = follow(dentry, O_DENTRY_NAME);
  READ(q->length, dentry, O_DENTRY_NAME_LEN);
#endif
}

struct path_facts {
  void *mnt, *dentry;
};

static __always_inline void read_path(struct path_facts *q, void *path) {
#ifdef CAST_CALL
  void *typed = OBJECT(path, PATH);
  q->mnt = POINTER(typed, O_PATH_MNT);
  q->dentry = POINTER(typed, O_PATH_DENTRY);
#else
  if (NUMBER(O_PATH_DENTRY) == NUMBER(O_PATH_MNT) + 8) {
    bpf_probe_read_kernel(q, sizeof(*q), AT(path, O_PATH_MNT));
    return;
  }
  q->mnt = follow(path, O_PATH_MNT);
  q->dentry = follow(path, O_PATH_DENTRY);
#endif
}

struct mount_facts {
  void *parent, *mountpoint, *root;
};

static __always_inline void read_mount(struct mount_facts *q, void *mount) {
#ifdef CAST_CALL
  void *typed = OBJECT(mount, MOUNT);
  q->parent = POINTER(typed, O_MOUNT_PARENT);
  q->mountpoint = POINTER(typed, O_MOUNT_MOUNTPOINT);
  q->root = POINTER(typed, O_MOUNT_ROOT);
#else
  u64 from = NUMBER(O_MOUNT_PARENT);
  if (NUMBER(O_MOUNT_MOUNTPOINT) == from + 8 && NUMBER(O_MOUNT_ROOT) == from + 16) {
    bpf_probe_read_kernel(q, sizeof(*q), AT(mount, O_MOUNT_PARENT));
    return;
  }
  q->parent = follow(mount, O_MOUNT_PARENT);
  q->mountpoint = follow(mount, O_MOUNT_MOUNTPOINT);
  q->root = follow(mount, O_MOUNT_ROOT);
#endif
}

/* Writes the path of (mount, dentry) right-aligned into the buffer; returns its start, or PATH_MAX_BYTES if it has more
 * components than we walk or does not fit. */
u64 walk_path(void *none) {
  u32 zero = 0;
  struct path_buffer *buffer = path_scratch.lookup(&zero);
  struct path_facts at;
  struct mount_facts m;
  struct dentry_facts q;
  if (!buffer) return PATH_MAX_BYTES;
  read_path(&at, (void *)buffer->path);
  void *dentry = at.dentry, *mount = OBJECT(at.mnt - NUMBER(O_MOUNT_MNT), MOUNT);
  read_mount(&m, mount);
  volatile u32 *position = &buffer->position;
  bool done = false;
  *position = PATH_MAX_BYTES;
  for (int i = 0; i < WALK_STEPS; i++) {
    if (dentry == m.root) {
      if (m.parent == mount || !m.parent) {
        done = true;
        break;
      }
      dentry = m.mountpoint;
      mount = m.parent;
      read_mount(&m, mount);
      continue;
    }
    read_dentry(&q, dentry);
    if (q.parent == dentry) {
      done = true;
      break;
    }
    u32 p = *position, l = q.length & 255;
    if (p < l + 1) break;
    p -= l + 1;
    *position = p;
    p = *position & (PATH_MAX_BYTES - 1);
    buffer->bytes[p] = '/';
    asm volatile("" : "+r"(l));
    l &= 255;
    bpf_probe_read_kernel(&buffer->bytes[p + 1], l, q.name);
    dentry = q.parent;
  }
  if (!done) return PATH_MAX_BYTES;
  if (*position >= PATH_MAX_BYTES) {
    *position = PATH_MAX_BYTES - 1;
    buffer->bytes[PATH_MAX_BYTES - 1] = '/';
  }
  return *position & (PATH_MAX_BYTES - 1);
}

static __always_inline u32 walk(void *path, struct path_buffer *buffer) {
  buffer->path = (u64)path;
  return CALL(WALK_PATH);
}

#define APPEND_WALK(record, off, which, path) APPEND_BUILT(record, off, which, walk(path, buffer))
/* Appends the path that begins at a position of the buffer. */
#define APPEND_BUILT(record, off, which, position)                                  \
  do {                                                                              \
    if ((off) > DATA_LIMIT) { (record)->head.flags |= F_DATA_CUT; break; }          \
    u32 from = (position);                                                          \
    if (from >= PATH_MAX_BYTES) { (record)->head.flags |= F_KERNEL_PATH_CUT; break; } \
    u64 n = PATH_MAX_BYTES - from;                                                  \
    MASK(n, PATH_MAX_BYTES - 1);                                                    \
    MASK(off, DATA_LIMIT);                                                          \
    bpf_probe_read_kernel((record)->data + (off), n, buffer->bytes + from);         \
    (record)->length[which] = n;                                                    \
    (off) += n;                                                                     \
  } while (0)

#define APPEND_USER_STRING(record, off, which, pointer, limit)                      \
  do {                                                                              \
    if ((off) > DATA_LIMIT) { (record)->head.flags |= F_DATA_CUT; break; }          \
    MASK(off, DATA_LIMIT);                                                          \
    long got = bpf_probe_read_user_str((record)->data + (off), limit, (void *)(pointer)); \
    if (got <= 0) break;                                                            \
    u64 n = got;                                                                    \
    if (n > (limit)) break;                                                         \
    (record)->length[which] = n;                                                    \
    (off) += n;                                                                     \
  } while (0)

#define APPEND_USER_BYTES(record, off, which, pointer, size, mask)                  \
  do {                                                                              \
    if ((off) > DATA_LIMIT) { (record)->head.flags |= F_DATA_CUT; break; }          \
    MASK(off, DATA_LIMIT);                                                          \
    u64 n = (size);                                                                 \
    if (n > (mask)) n = (mask);                                                     \
    MASK(n, mask);                                                                  \
    if (bpf_probe_read_user((record)->data + (off), n, (void *)(pointer))) break;   \
    (record)->length[which] = n;                                                    \
    (off) += n;                                                                     \
  } while (0)

/* The struct file behind a descriptor of the current process, or 0. */
static __always_inline void *file_of(void *task, u32 fd) {
  void *files = POINTER(task, O_TASK_FILES);
  if (!files) return 0;
  void *table = POINTER(files, O_FILES_FDT);
  if (!table || fd >= WORD(table, O_FDTABLE_MAX_FDS)) return 0;
  /* To the verifier, a struct that begins with a pointer. */
  return MEMBER(POINTER(table, O_FDTABLE_FD) + (u64)fd * 8, PATH, 0);
}

/* The socket behind a descriptor of the current process, or 0. */
static __always_inline void *socket_of(void *task, s32 fd) {
  u16 mode = 0;
  void *file = fd >= 0 ? file_of(task, fd) : 0;
  if (!file) return 0;
  FIELD(mode, MEMBER(file, FILE, O_FILE_INODE), INODE, O_INODE_MODE);
  return (mode & 0170000) == 0140000 ? MEMBER(MEMBER(file, FILE, O_FILE_PRIVATE), SOCKET, O_SOCKET_SK) : 0;
}

/* Which end of a TCP connection is this? An accepted socket is a copy of the one that listens, with its backlog. A port that
 * connect has chosen is marked as one that no socket may bind itself to (inet_hash_connect() in net/ipv4/inet_hashtables.c). */
static __always_inline enum role role_of(void *sk) {
  u32 backlog = 0;
  signed char reuse = 0;
  if (!NUMBER(N_TCP_ROLES)) return ROLE_UNKNOWN;
  FIELD(backlog, sk, SOCK, O_SOCK_MAX_ACK_BACKLOG);
  void *port = follow(sk, O_CONNECTION_BIND_HASH);
  if (port) READ(reuse, port, O_BUCKET_FASTREUSE);
  /* A program can have a socket listen before it connects. */
  if (reuse < 0) return backlog ? ROLE_UNKNOWN : ROLE_CLIENT;
  return backlog ? ROLE_SERVER : ROLE_UNKNOWN;
}

static __always_inline void fill_socket(struct socket_info *s, void *sk) {
  u16 port = 0;
  __builtin_memset(s, 0, sizeof(*s));
  FIELD(s->family, sk, SOCK, O_SOCK_FAMILY);
  FIELD(s->type, sk, SOCK, O_SOCK_TYPE);
  FIELD(s->protocol, sk, SOCK, O_SOCK_PROTOCOL);
  FIELD(s->state, sk, SOCK, O_SOCK_STATE);
  if (s->family == 2 || s->family == 10) {
    FIELD(s->local_port, sk, SOCK, O_SOCK_NUM);
    FIELD(port, sk, SOCK, O_SOCK_DPORT);
    s->remote_port = (port >> 8) | (port << 8);
    if (s->type == SOCK_STREAM && s->protocol == TCP) s->role = role_of(sk);
    if (s->family == 2) {
      bpf_probe_read_kernel(s->local, 4, AT(sk, O_SOCK_RCV_SADDR));
      bpf_probe_read_kernel(s->remote, 4, AT(sk, O_SOCK_DADDR));
    } else if (NUMBER(N_IPV6)) {
      bpf_probe_read_kernel(s->local, 16, AT(sk, O_SOCK_V6_RCV_SADDR));
      bpf_probe_read_kernel(s->remote, 16, AT(sk, O_SOCK_V6_DADDR));
    }
  } else if (s->family == 1 && NUMBER(N_UNIX)) {
    void *peer = follow(sk, O_UNIX_PEER), *address = follow(sk, O_UNIX_ADDR);
    if (!address && peer) address = follow(peer, O_UNIX_ADDR);
    if (address) {
      u32 l = 0;
      READ(l, address, O_UNIX_ADDRESS_LEN);
      if (l > 2) {
        l -= 2;
        if (l > 108) l = 108;
        s->unix_length = l;
        MASK(l, 127);
        bpf_probe_read_kernel(s->unix_name, l, AT(address, O_UNIX_ADDRESS_NAME + 2));
      }
    }
  }
}

static __always_inline void overlay_layer(struct head *h, void *inode, u32 magic) {
  if (!NUMBER(N_OVERLAY) || magic != 0x794c7630) return;
  h->flags |= F_OVERLAY;
  if (follow(inode, O_OVL_UPPER)) h->flags |= F_UPPER;
}

static __always_inline bool is_created(void *file) {
  u32 mode = 0;
  FIELD(mode, file, FILE, O_FILE_MODE);
  return mode & 0x100000; /* FMODE_CREATED */
}

/* Has the open of a file created it, perhaps without a name, with the setuid bit? */
static __always_inline bool is_new_setuid(void *file) {
  u32 flags = 0;
  u16 permissions = 0;
  FIELD(flags, file, FILE, O_FILE_FLAGS);
  FIELD(permissions, MEMBER(file, FILE, O_FILE_INODE), INODE, O_INODE_MODE);
  return (is_created(file) || flags & 020000000) && permissions & 04000; /* __O_TMPFILE */
}

/* Pipes, memfds, sockets ...: in no directory. */
static __always_inline bool is_pseudo(void *file) {
  struct path_facts at;
  read_path(&at, AT(file, O_FILE_PATH));
  return MEMBER(at.dentry, DENTRY, O_DENTRY_PARENT) == at.dentry && MEMBER(at.mnt, VFSMOUNT, O_VFSMOUNT_ROOT) != at.dentry;
}

/* Does a thread make its current call by the 32-bit entry? */
static __always_inline bool is_compat(void *task) {
  return WORD(task, O_TASK_COMPAT) & NUMBER(N_COMPAT);
}

/* 32-bit programs pass 32-bit registers, on x86 in another order. */
static __always_inline void fill_arguments(struct syscall_record *r, void *regs, bool compat) {
  if (compat) {
    r->arguments[0] = WORD(regs, O_COMPAT_ARGUMENT_1);
    r->arguments[1] = WORD(regs, O_COMPAT_ARGUMENT_2);
    r->arguments[2] = WORD(regs, O_COMPAT_ARGUMENT_3);
    r->arguments[3] = WORD(regs, O_COMPAT_ARGUMENT_4);
    r->arguments[4] = WORD(regs, O_COMPAT_ARGUMENT_5);
    r->arguments[5] = WORD(regs, O_COMPAT_ARGUMENT_6);
  } else {
    r->arguments[0] = LONG(regs, O_ARGUMENT_1);
    r->arguments[1] = LONG(regs, O_ARGUMENT_2);
    r->arguments[2] = LONG(regs, O_ARGUMENT_3);
    r->arguments[3] = LONG(regs, O_ARGUMENT_4);
    r->arguments[4] = LONG(regs, O_ARGUMENT_5);
    r->arguments[5] = LONG(regs, O_ARGUMENT_6);
  }
}

static __always_inline u64 argument(struct syscall_record *r, u8 which) {
  return which < 6 ? r->arguments[which] : 0;
}

static __always_inline u32 tty_number(void *signal) {
  if (!NUMBER(N_TTY)) return 0;
  void *tty = follow(signal, O_SIGNAL_TTY);
  if (!tty) return 0;
  u32 index = 0, major = 0, minor = 0;
  void *driver = follow(tty, O_TTY_DRIVER);
  READ(index, tty, O_TTY_INDEX);
  READ(major, driver, O_TTY_DRIVER_MAJOR);
  READ(minor, driver, O_TTY_DRIVER_MINOR_START);
  return major << 8 | (minor + index);
}

static __always_inline u32 own_number(void *pid) {
  u32 level = 0, number = 0;
  FIELD(level, pid, PID, O_PID_LEVEL);
  READ(number, pid + TIMES(level & 31, N_UPID_BYTES), O_PID_NUMBERS);
  return number;
}

static __always_inline void fill_state(struct state *s, void *task) {
  void *leader = POINTER(task, O_TASK_GROUP_LEADER), *cred = POINTER(task, O_TASK_CRED);
  void *signal = POINTER(task, O_TASK_SIGNAL), *namespaces = POINTER(task, O_TASK_NSPROXY);
  __builtin_memset(s, 0, sizeof(*s));
  s->ppid = WORD(POINTER(task, O_TASK_REAL_PARENT), O_TASK_TGID);
  s->gid = WORD(cred, O_CRED_EGID);
  s->cap_effective = LONG(cred, O_CRED_CAP_EFFECTIVE);
  s->cap_permitted = LONG(cred, O_CRED_CAP_PERMITTED);
  s->cap_inheritable = LONG(cred, O_CRED_CAP_INHERITABLE);
  s->loginuid = NUMBER(N_LOGINUID) ? WORD(task, O_TASK_LOGINUID) : -1;
  void *pid = follow(leader, O_TASK_THREAD_PID);
  s->vpid = own_number(pid);
  void *group = follow(signal, O_SIGNAL_PIDS + 16), *session = follow(signal, O_SIGNAL_PIDS + 24);
  READ(s->pgid, group, O_PID_NUMBERS);
  s->vpgid = own_number(group);
  READ(s->sid, session, O_PID_NUMBERS);
  s->tty = tty_number(signal);
  if (namespaces) {
    void *pid_namespace = follow(namespaces, O_NSPROXY_PID_NS);
    READ(s->mount_namespace, follow(namespaces, O_NSPROXY_MNT_NS), O_MNT_NS_INUM);
    READ(s->pid_namespace, pid_namespace, O_PID_NS_INUM);
    void *reaper = follow(pid_namespace, O_PID_NS_CHILD_REAPER);
    if (reaper) READ(s->pid_namespace_init_start, reaper, O_TASK_START_BOOTTIME);
  }
  bpf_probe_read_kernel(s->comm, 16, AT(leader, O_TASK_COMM));
}

/* The cgroup's path, right-aligned like a file's path. */
static __always_inline u32 walk_cgroup(void *node, struct path_buffer *buffer) {
  volatile u32 *position = &buffer->position;
  *position = PATH_MAX_BYTES;
  for (int i = 0; i < 16; i++) {
    void *parent = follow(node, O_KN_PARENT);
    if (!parent) break;
    char name[128];
    long got = bpf_probe_read_kernel_str(name, 128, follow(node, O_KN_NAME));
    if (got <= 1) break;
    u32 l = got - 1, p = *position;
    if (p < l + 1) break;
    p -= l + 1;
    *position = p;
    p = *position & (PATH_MAX_BYTES - 1);
    buffer->bytes[p] = '/';
    asm volatile("" : "+r"(l));
    l &= 127;
    bpf_probe_read_kernel(&buffer->bytes[p + 1], l, name);
    node = parent;
  }
  if (*position >= PATH_MAX_BYTES) {
    *position = PATH_MAX_BYTES - 1;
    buffer->bytes[PATH_MAX_BYTES - 1] = '/';
  }
  return *position & (PATH_MAX_BYTES - 1);
}

#define APPEND_CGROUP(record, off, which, task)                                     \
  do {                                                                              \
    if ((off) > DATA_LIMIT) { (record)->head.flags |= F_DATA_CUT; break; }          \
    u32 from = walk_cgroup(cgroup_node(task), buffer);                              \
    u64 n = PATH_MAX_BYTES - from;                                                  \
    MASK(n, PATH_MAX_BYTES - 1);                                                    \
    MASK(off, DATA_LIMIT);                                                          \
    bpf_probe_read_kernel((record)->data + (off), n, buffer->bytes + from);         \
    (record)->length[which] = n;                                                    \
    (off) += n;                                                                     \
  } while (0)

/* A wake-up costs the traced program more than everything else, so only send one if the reader waits for such a record. */
static __always_inline u64 whether_to_wake(enum urgency urgency) {
  u32 setting = S_WAKING;
  u64 *waking = settings.lookup(&setting);
  return waking && *(volatile u64 *)waking > urgency ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

static __always_inline u64 mix(u64 hash, u64 value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15ULL;
  return hash ^ hash >> 32;
}

/* An account has a counter in each of two rows, and others may have the same (a count-min sketch: Cormode and Muthukrishnan,
 * Journal of Algorithms 55(1), 2005). So no charge is forgotten, however many accounts there are. Processes, of which there
 * are most, have rows of their own. */
static __always_inline struct charge *charge_of(u32 ring, bool is_process, u32 row, u64 account) {
  u32 bits = ring == OPEN_HELLOS ? HELLO_CHARGE_BITS : CHARGE_BITS;
  u32 at = row ? account >> (64 - bits) : account & ((1 << bits) - 1);
  at += 4 * ring * CHARGES + ((2 * is_process + row) << bits);
  return charges.lookup(&at);
}

/* Those that are still in the ring: of the previous epoch, as large a part as of all that was written in it. */
static __always_inline u64 held(struct charge *c, u32 epoch, u64 unread) {
  u32 i = epoch & 1, before = i ^ 1;
  u64 n = c->epoch[i] == epoch ? c->bytes[i] : 0;
  return n + (c->epoch[before] == epoch - 1 ? c->bytes[before] * unread >> 8 : 0);
}

static __always_inline void add(struct charge *c, u32 epoch, u32 size) {
  u32 i = epoch & 1;
  if (c->epoch[i] == epoch) {
    __sync_fetch_and_add(&c->bytes[i], size);
  } else {
    c->bytes[i] = size;
    c->epoch[i] = epoch;
  }
}

/* How much of a whole one account may hold, if so much of the whole is left: all of it while 1/times is left, and less by the
 * third power below. This is a dynamic threshold (Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998). With
 * theirs, each account that fills up halves what is left; with the third power, k of them leave 1/sqrt(1 + 2k times^3). */
static __always_inline u64 share(u64 whole, s64 left, u64 times) {
  if (left <= 0 || !whole) return 0;
  u64 part = (times * left << 10) / whole;
  if (part >= 1024) return whole;
  return ((whole * part >> 10) * part >> 10) * part >> 10;
}

/* Charges so many bytes to the accounts of the current process, if they fit into the share of each. The outermost account
 * has a share of the ring, and each other one a share of the account around it. What is shared among the accounts within one is
 * at most three quarters of what it is shared from itself, so they can't take the room of its siblings, however many they are.
 * The user is the real one, whom a setuid program keeps; from 65,536 on, a block of as many, which one user may own. */
static __always_inline enum outcome take_share(u32 ring, struct ring_use *use, u64 size) {
  u64 accounts[ACCOUNTS] = {};
  void *task = CURRENT_TASK(), *cgroup = cgroup_of(task);
  u64 progress = *(volatile u64 *)&use->progress, unread = progress & 511;
  u32 level = 0, epoch = progress >> 9, uid = WORD(POINTER(task, O_TASK_CRED), O_CRED_UID);
  FIELD(level, cgroup, CGROUP, O_CGROUP_LEVEL);
  if (level) bpf_probe_read_kernel(accounts, 8 * CGROUP_LEVELS, AT(cgroup, O_CGROUP_ANCESTORS + 8));
  accounts[OF_USER] = uid < 65536 ? uid : (u64)(uid >> 16) << 32;
  accounts[OF_PROCESS] = bpf_get_current_pid_tgid() >> 32;
  s64 left = use->size - (use->written - use->read);
  u64 hash = use->seed, of_user = 0, allowed = share(use->size, left, 2), whole = use->size - use->size / 3;
  if (whole > allowed) whole = allowed;
  bool fits = left >= (s64)size;
#pragma clang loop unroll(full)
  for (u32 i = 0; i < ACCOUNTS; i++) {
    if (i < OF_USER && i >= level) continue;
    accounts[i] = hash = mix(hash, accounts[i] ^ (u64)i << 60);
    struct charge *one = charge_of(ring, i == OF_PROCESS, 0, hash), *other = charge_of(ring, i == OF_PROCESS, 1, hash);
    if (!one || !other) return NO_ROOM;
    u64 holds = held(one, epoch, unread), most = held(other, epoch, unread);
    if (holds > most) holds = most;
    if (i == OF_USER) of_user = holds;
    fits &= holds + size <= allowed;
    allowed = share(whole, whole - holds, 4);
    whole -= whole / 4;
    if (whole > allowed) whole = allowed;
  }
  /* Others have filled the ring if the user holds next to nothing. */
  if (!fits) return of_user > use->size >> 8 ? OVER_SHARE : NO_ROOM;
#pragma clang loop unroll(full)
  for (u32 i = 0; i < 2 * ACCOUNTS; i++) {
    if (i / 2 < OF_USER && i / 2 >= level) continue;
    struct charge *charged = charge_of(ring, i / 2 == OF_PROCESS, i & 1, accounts[i / 2]);
    if (charged) add(charged, epoch, size);
  }
  return SENT;
}

static __always_inline u64 in_ring(u64 size) {
  return (size + 8 + 7) & ~7ULL;
}

static __always_inline enum outcome write_record(enum ring ring, void *record, u64 size) {
  u32 key = ring;
  struct ring_use *use = ring_uses.lookup(&key);
  enum outcome outcome = use ? take_share(ring, use, in_ring(size)) : NO_ROOM;
  if (!use || outcome != SENT) return outcome;
  struct head *head = record;
  /* Only events and execs may raise an alert. */
  enum urgency urgency = ring == RING_EVENTS || head->kind == K_EXEC ? URGENT : OTHERS;
  if (ring == RING_EVENTS && head->flags & F_CONTENTS) urgency = WITH_CONTENTS;
  u64 wake = whether_to_wake(urgency);
  if (ring == RING_EVENTS ? events.ringbuf_output(record, size, wake) : lifecycle.ringbuf_output(record, size, wake))
    return NO_ROOM;
  __sync_fetch_and_add(&use->written, in_ring(size));
  return SENT;
}

static __always_inline bool send_event(void *record, u64 size) {
  enum outcome outcome = write_record(RING_EVENTS, record, size);
  count_shared(C_EVENTS);
  if (outcome != SENT) count_shared(outcome == OVER_SHARE ? C_EVENTS_OVER_SHARE : C_EVENTS_LOST);
  return outcome == SENT;
}

static __always_inline void send_lifecycle(void *record, u64 size) {
  enum outcome outcome = write_record(RING_LIFECYCLE, record, size);
  count_shared(C_LIFECYCLE);
  if (outcome != SENT) count_shared(outcome == OVER_SHARE ? C_LIFECYCLE_OVER_SHARE : C_LIFECYCLE_LOST);
}

/* Facts of a process, or of one of its ancestors, are about to change: its repeated calls are sent whole again. */
static __always_inline void change_facts(void) {
  u32 zero = 0;
  u64 *version = facts_version.lookup(&zero);
  if (version) __sync_fetch_and_add(version, 1);
}

static __always_inline bool is_ignored(u32 tgid) {
  return ignored.lookup(&tgid) != 0;
}

static __always_inline void send_state(void *task) {
  u32 zero = 0;
  struct process_record *r = process_scratch.lookup(&zero);
  struct path_buffer *buffer = path_scratch.lookup(&zero);
  if (!r || !buffer) return;
  change_facts();
  fill_head(&r->head, task, K_STATE);
  fill_state(&r->state, task);
  __builtin_memset(r->length, 0, sizeof(r->length));
  u64 off = 0;
  APPEND_WALK(r, off, X_CWD, AT(POINTER(task, O_TASK_FS), O_FS_PWD));
  APPEND_CGROUP(r, off, X_CGROUP, task);
  off += offsetof(struct process_record, data);
  MASK(off, 32767);
  if (off > sizeof(*r)) return;
  send_lifecycle(r, off);
}

static __always_inline bool overlap(struct mask *a, struct mask *b) {
  u64 found = 0;
  if (!b) return false;
  for (int i = 0; i < MASK_WORDS; i++) found |= a->words[i] & b->words[i];
  return found != 0;
}

/* Does the end of a path match a suffix? At least 32 bytes before its end can be read. */
static __always_inline bool is_suffix_of_interest(struct filter_scratch *f, u64 *tail, u32 length, u32 generation) {
  struct suffix_key key;
  if (!(f->verdict & BY_ENDING)) return false;
  for (int i = 0; i < 4; i++) key.words[i] = __builtin_bswap64(tail[3 - i]);
  key.generation = generation;
  key.bits = 32 + 8 * (length > 32 ? 32 : length);
  return overlap(&f->ways, suffix_masks.lookup(&key));
}

static __always_inline bool is_prefix_of_interest(struct filter_scratch *f, struct prefix_key *key, u32 length, u32 generation) {
  if (!(f->verdict & BY_BEGINNING)) return false;
  key->bits = 32 + 8 * (length > MAX_PREFIX ? MAX_PREFIX : length);
  key->generation = generation;
  return overlap(&f->ways, prefix_masks.lookup(key));
}

static __always_inline bool is_raw_of_interest(struct filter_scratch *f, u32 generation) {
  u64 length = f->length;
  MASK(length, 511);
  if (is_prefix_of_interest(f, (void *)&f->bits, length + 1, generation)) return true;
  return is_suffix_of_interest(f, (void *)f->raw + length - 32, length, generation);
}

/* The same for a path in the buffer. What comes before it there is overwritten. */
static __always_inline bool is_built_of_interest(struct filter_scratch *f, struct path_buffer *buffer, u32 generation) {
  u64 from = f->from, end = f->end;
  MASK(from, PATH_MAX_BYTES - 1);
  if (from < offsetof(struct prefix_key, bytes)) return true;
  struct prefix_key *key = (void *)buffer->bytes + from - offsetof(struct prefix_key, bytes);
  if (is_prefix_of_interest(f, key, end - from + 1, generation)) return true;
  u64 at = end - PATH_MAX_BYTES;
  MASK(at, 1023);
  if (at > 512) return true;
  return is_suffix_of_interest(f, (void *)buffer->bytes + PATH_MAX_BYTES - 32 + at, end - from, generation);
}

/* The kernel's copy of a path argument of the current call, by its address; 0 if there is none. Equal addresses are matched
 * in order. */
static __always_inline struct copied_name *copy_of(struct call *call, u64 pointer, bool is_second) {
  u32 tid = bpf_get_current_pid_tgid(), count = call->names;
  if (!count) return 0;
  struct copied_names *names = copied_names.lookup(&tid);
  if (!names) return 0;
  struct copied_name *first = &names->name[0], *second = &names->name[1];
  bool is_first = first->pointer == pointer, is_other = count > 1 && second->pointer == pointer;
  if (is_other && (is_second || !is_first)) return second;
  return is_first ? first : 0;
}

/* The root directory of a process in the host's mount namespace if it is another one (chroot), else 0. */
static __always_inline void *other_root(void *task) {
  void *root = AT(POINTER(task, O_TASK_FS), O_FS_ROOT), *namespaces = POINTER(task, O_TASK_NSPROXY);
  u32 setting = S_HOST_MOUNTS, namespace = 0;
  u64 *host = settings.lookup(&setting);
  struct path_facts at;
  struct mount_facts m;
  read_path(&at, root);
  void *dentry = at.dentry, *mount = OBJECT(at.mnt - NUMBER(O_MOUNT_MNT), MOUNT);
  /* The host's own root may lie on that of the initial file system. */
  for (int i = 0; i < 4; i++) {
    read_mount(&m, mount);
    if (dentry != m.root) break;
    if (m.parent == mount || !m.parent) return 0;
    dentry = m.mountpoint;
    mount = m.parent;
  }
  if (!host || !namespaces) return 0;
  READ(namespace, follow(namespaces, O_NSPROXY_MNT_NS), O_MNT_NS_INUM);
  return namespace == *host ? root : 0;
}

/* A path argument, and the directory that the kernel started from, not a remembered one: if the path is relative, or if
 * the process has another root. */
static __always_inline u64 append_path(struct call *call, struct syscall_record *r, struct path_buffer *buffer, void *task,
                                       u64 off, int path_region, int directory_region, u8 path, u8 directory) {
  struct copied_name *known = copy_of(call, argument(r, path), path_region == R_PATH2);
  u64 length = known ? known->length : 0;
  if (known && length > 1 && length < NAME_BYTES && off <= DATA_LIMIT) {
    MASK(off, DATA_LIMIT);
    MASK(length, NAME_BYTES - 1);
    bpf_probe_read_kernel(r->data + off, length, known->text);
    r->length[path_region] = length;
    off += length;
  } else {
    APPEND_USER_STRING(r, off, path_region, argument(r, path), PATH_MAX_BYTES);
  }
  if (!r->length[path_region] || directory == NONE) return off;
  u64 at = off - r->length[path_region];
  MASK(at, DATA_LIMIT);
  s32 fd = directory < 6 ? (s32)argument(r, directory) : -100;
  void *start = AT(POINTER(task, O_TASK_FS), O_FS_PWD);
  if (r->data[at] == '/') {
    start = other_root(task);
  } else if (fd != -100) {
    void *file = fd >= 0 ? file_of(task, fd) : 0;
    start = file ? AT(file, O_FILE_PATH) : 0;
  }
  if (start) APPEND_WALK(r, off, directory_region, start);
  return off;
}

#define EVERY_BYTE(c) ((u64)(c) * 0x0101010101010101ULL)

/* The top bit of each byte that equals c, all others 0. */
static __always_inline u64 bytes_equal(u64 word, char c) {
  u64 x = word ^ EVERY_BYTE(c);
  return ~(((x & EVERY_BYTE(0x7f)) + EVERY_BYTE(0x7f)) | x | EVERY_BYTE(0x7f));
}

/* Does the path contain "//", "/." or ".."? The last byte of each word is carried over to the next. */
static __always_inline bool is_unclean(struct filter_scratch *f) {
  u64 slash_before = 0, dot_before = 0;
  for (int i = 0; i < 64; i++) {
    u32 at = 8 * i;
    if (at >= f->length) return false;
    u64 word = *(u64 *)(f->raw + at);
    u64 slash = bytes_equal(word, '/'), dot = bytes_equal(word, '.');
    u64 after_slash = slash << 8 | slash_before, after_dot = dot << 8 | dot_before;
    if ((after_slash & (slash | dot)) | (after_dot & dot)) return true;
    slash_before = slash >> 56;
    dot_before = dot >> 56;
  }
  return false;
}

/* Does the kernel's path equal the requested one? Long ones count as different. */
static __always_inline bool is_same_path(struct filter_scratch *f, char *kernels) {
  u64 difference = 0;
  u32 length = f->length;
  if (length > SAME_BYTES) return false;
  for (int i = 0; i < SAME_BYTES / 8; i++) {
    u32 at = 8 * i;
    if (at >= length) break;
    u64 word = *(u64 *)(f->raw + at) ^ *(u64 *)(kernels + at);
    u32 left = length - at;
    if (left < 8) word <<= 64 - 8 * left;
    difference |= word;
  }
  return difference == 0;
}

/* The address of a socket's end; 0 if the event will not carry it unchanged. */
static __always_inline u32 ipv4_of(void *v4, void *v6, u16 family) {
  u32 address = 0, words[4] = {};
  if (family == 2) {
    bpf_probe_read_kernel(&address, 4, v4);
    return __builtin_bswap32(address);
  }
  if (family != 10 || !NUMBER(N_IPV6)) return 0;
  bpf_probe_read_kernel(words, 16, v6);
  return !words[0] && !words[1] && words[2] == 0xffff0000 ? __builtin_bswap32(words[3]) : 0;
}

/* Of a socket; family and protocol are 0 if the event's descriptor isn't one. */
static __always_inline enum answer subject_of_socket(u8 subject, void *file, u32 *value) {
  void *inode = follow(file, O_FILE_INODE);
  u16 mode = 0, family = 0, port = 0, protocol = 0;
  READ(mode, inode, O_INODE_MODE);
  if ((mode & 0170000) != 0140000) {
    *value = 0;
    return subject == OF_FAMILY || subject == OF_PROTOCOL ? YES : EITHER;
  }
  void *sk = follow(follow(file, O_FILE_PRIVATE), O_SOCKET_SK);
  READ(family, sk, O_SOCK_FAMILY);
  READ(protocol, sk, O_SOCK_PROTOCOL);
  *value = subject == OF_FAMILY ? family : protocol;
  if (subject == OF_FAMILY || subject == OF_PROTOCOL) return YES;
  if (family != 2 && family != 10) return EITHER;
  READ(port, sk, O_SOCK_DPORT);
  if (!port) return EITHER;
  *value = (u16)((port >> 8) | (port << 8));
  if (subject == OF_LOCAL_PORT) {
    READ(port, sk, O_SOCK_NUM);
    *value = port;
  }
  if (subject == OF_LOCAL_IP) *value = ipv4_of(AT(sk, O_SOCK_RCV_SADDR), AT(sk, O_SOCK_V6_RCV_SADDR), family);
  if (subject == OF_REMOTE_IP) *value = ipv4_of(AT(sk, O_SOCK_DADDR), AT(sk, O_SOCK_V6_DADDR), family);
  return *value ? YES : EITHER;
}

/* Where the message begins whose header is described: those of recvmmsg are followed by their length. */
static __always_inline u64 header_of(struct call *call) {
  return call->messages + (call->compat ? 32 : 64) * (u64)call->message;
}

/* Finds what a call has received from a name server: from port 53, by its socket's other end or else by the address that
 * the call returned. Begins with the message after the last one found; returns whether there is one. */
u64 find_answer(void *none) {
  u32 zero = 0;
  struct call *call = call_scratch.lookup(&zero);
  struct syscall_record *r = syscall_scratch.lookup(&zero);
  if (!call || !r) return 0;
  if (call->search) return call->search >= FOUND;
  call->search = SEARCHED;
  u16 flags = call->descriptor.flags, family = 0, port = 0, type = 0;
  void *sk = call->result > 0 ? socket_of(CURRENT_TASK(), r->arguments[0]) : 0;
  if (!sk) return 0;
  FIELD(family, sk, SOCK, O_SOCK_FAMILY);
  if (family != AF_INET && family != AF_INET6) return 0;
  FIELD(port, sk, SOCK, O_SOCK_DPORT);
  if (!call->message) call->messages = r->arguments[1];
  s64 count = flags & D_MESSAGE && flags & D_VECTOR ? call->result : 1;
  if (port && (port != DNS_PORT || call->message >= count || call->message >= MAX_MESSAGES)) return 0;
#pragma clang loop unroll(disable)
  for (int i = 0; i < MAX_MESSAGES && port != DNS_PORT; i++) {
    if (i < call->message) continue;
    if (i >= count) return 0;
    call->message = i;
    u16 sender[2] = {};
    u64 address = argument(r, call->descriptor.blob2);
    if (flags & D_MESSAGE) {
      address = 0;
      bpf_probe_read_user(&address, call->compat ? 4 : 8, (void *)header_of(call));
    }
    bpf_probe_read_user(sender, sizeof(sender), (void *)address);
    port = sender[1];
  }
  if (port != DNS_PORT) return 0;
  FIELD(type, sk, SOCK, O_SOCK_TYPE);
  call->search = type == SOCK_STREAM ? FOUND_IN_STREAM : FOUND;
  return 1;
}

/* One piece of memory of an array of them. */
static __always_inline void read_piece(struct call *call, u64 at, u64 *address, u64 *size) {
  u64 piece[2] = {};
  u32 short_piece[2] = {};
  if (call->compat) {
    bpf_probe_read_user(short_piece, sizeof(short_piece), (void *)at);
    *address = short_piece[0];
    *size = short_piece[1];
  } else {
    bpf_probe_read_user(piece, sizeof(piece), (void *)at);
    *address = piece[0];
    *size = piece[1];
  }
}

/* Appends to blob 1 the rest of an answer, which the further pieces of memory have. */
u64 append_pieces(void *none) {
  u32 zero = 0;
  struct call *call = call_scratch.lookup(&zero);
  struct syscall_record *r = syscall_scratch.lookup(&zero);
  if (!call || !r) return 0;
  u64 off = call->off;
#pragma clang loop unroll(disable)
  for (int i = 0; i < MAX_PIECES - 1; i++) {
    u64 address = 0, n = 0, left = call->left;
    if (i >= call->pieces || !left) break;
    read_piece(call, call->pieces_at + (call->compat ? 8 : 16) * i, &address, &n);
    if (n > left) n = left;
    MASK(n, ANSWER_BYTES);
    MASK(off, DATA_LIMIT);
    if (bpf_probe_read_user(r->data + off, n, (void *)address)) break;
    r->length[R_BLOB1] += n;
    call->left -= n;
    off += n;
  }
  call->off = off;
  return 0;
}

/* Does this begin like a TLS record with a ClientHello, as far as it goes (RFC 8446, sections 4 and 5.1)? */
static __always_inline bool begins_hello(u8 *b, u64 size) {
  return size && b[0] == 0x16 && (size < 2 || b[1] == 3) && (size < 3 || b[2] <= 4) && (size < 6 || b[5] == 1);
}

/* Has the account of the current process room for one more ClientHello that goes on? */
static __always_inline bool may_begin_hello(void) {
  u32 key = OPEN_HELLOS;
  struct ring_use *use = ring_uses.lookup(&key);
  if (!use || take_share(OPEN_HELLOS, use, 1) != SENT) return false;
  __sync_fetch_and_add(&use->written, 1);
  return true;
}

/* Collects what a call sends over TCP, if it is a ClientHello or a further part of one; returns whether it is. */
u64 find_hello(void *none) {
  u32 zero = 0;
  struct call *call = call_scratch.lookup(&zero);
  struct syscall_record *r = syscall_scratch.lookup(&zero);
  struct hello *h = hello_scratch.lookup(&zero);
  if (!call || !r || !h) return 0;
  if (call->search) return call->search >= FOUND;
  call->search = SEARCHED;
  u16 flags = call->descriptor.flags, family = 0, protocol = 0;
  s64 result = call->result;
  void *sk = result > 0 ? socket_of(CURRENT_TASK(), r->arguments[0]) : 0;
  if (!sk) return 0;
  FIELD(family, sk, SOCK, O_SOCK_FAMILY);
  FIELD(protocol, sk, SOCK, O_SOCK_PROTOCOL);
  if ((family != AF_INET && family != AF_INET6) || (protocol != TCP && protocol != MPTCP)) return 0;
  u64 key = (u64)sk;
  u32 *open = open_hellos.lookup(&key);
  h->left = open ? *open : 0;
  h->most = HELLO_BYTES;
  h->have = 0;
  h->address = r->arguments[1];
  h->size = r->arguments[2];
  h->vector = 0;
  h->pieces = 1;
  if (flags & D_MESSAGE) {
    if (call->compat) {
      u32 m[4] = {};
      bpf_probe_read_user(m, sizeof(m), (void *)h->address);
      h->vector = m[2]; h->pieces = m[3];
    } else {
      u64 m[4] = {};
      bpf_probe_read_user(m, sizeof(m), (void *)h->address);
      h->vector = m[2]; h->pieces = m[3];
    }
  } else if (flags & D_VECTOR) {
    h->vector = h->address; h->pieces = h->size;
  }
  /* The result of sendmmsg is the number of messages. */
  if (result < h->most && (flags & (D_MESSAGE | D_VECTOR)) != (D_MESSAGE | D_VECTOR)) h->most = result;
#pragma clang loop unroll(disable)
  for (int i = 0; i < MAX_PIECES; i++) {
    if (i >= h->pieces || h->have >= h->most) break;
    if (h->vector) {
      u64 address = 0, size = 0;
      read_piece(call, h->vector + (call->compat ? 8 : 16) * i, &address, &size);
      h->address = address; h->size = size;
    }
    if (!h->size) continue;
    if (!h->left && !h->have) {
      /* All that most calls ever pay. */
      u8 first = 0;
      bpf_probe_read_user(&first, 1, (void *)h->address);
      if (first != 0x16) return 0;
    }
    u64 at = h->have, n = h->most - at;
    if (h->size < n) n = h->size;
    MASK(n, HELLO_BYTES);
    MASK(at, HELLO_BYTES);
    if (bpf_probe_read_user(h->bytes + at, n, (void *)h->address)) break;
    h->have = at + n;
  }
  u64 have = h->have;
  u8 *b = (void *)h->bytes;
  /* A socket that was closed amid of one may have had the same address. */
  if (begins_hello(b, have) && (have > 5 || !h->left)) {
    u32 whole = HELLO_BYTES, record = b[3] << 8 | b[4], message = b[6] << 16 | b[7] << 8 | b[8];
    /* Shorter only if one record has all of it. */
    if (have > 8 && message + 4 <= record && message + 9 < whole) whole = message + 9;
    h->left = whole > have ? whole - have : 0;
    if (h->left && !open && may_begin_hello()) open = open_hellos.lookup_or_try_init(&key, &zero);
  } else {
    if (have > h->left) have = h->left;
    h->left -= have;
    h->have = have;
  }
  if (open) *open = h->left;
  if (!have) return 0;
  call->search = FOUND_IN_STREAM;
  return 1;
}

/* Evaluates a predicate on the very value that the record will carry. */
static __always_inline enum answer answer_of(struct test *t, struct syscall_record *r, void *task, s64 result,
                                             struct filter_scratch *f, struct call *call) {
  s32 fd = f->fd;
  u32 value = 0;
  u8 subject = t->subject;
  if (subject == OF_RESULT) {
    value = result > 0x7fffffff ? 0x7fffffff : result;
  } else if (subject == OF_REGISTER) {
    u64 at = t->reg;
    MASK(at, 7);
    value = *(u64 *)((void *)r->arguments + 8 * at);
  } else if (subject == OF_UID) {
    value = WORD(POINTER(task, O_TASK_CRED), O_CRED_EUID);
  } else if (subject == OF_NEW_SETUID) {
    void *file = result >= 0 ? file_of(task, result) : 0;
    value = file && is_new_setuid(file);
  } else if (subject == OF_CREATED) {
    void *file = fd >= 0 && f->filter == FILTER_FD ? file_of(task, fd) : 0;
    value = file && is_created(file);
  } else if (subject == OF_ANSWER) {
    value = call->descriptor.flags & D_ANSWERS && CALL(FIND_ANSWER);
  } else if (subject == OF_HELLO) {
    value = call->descriptor.flags & D_HELLOS && CALL(FIND_HELLO);
  } else if (f->family) {
    if (subject != OF_FAMILY && subject != OF_PROTOCOL) return EITHER;
    value = subject == OF_FAMILY ? f->family : TCP;
  } else {
    void *file = fd >= 0 ? file_of(task, fd) : 0;
    if (!file) return EITHER;
    if (subject_of_socket(subject, file, &value) == EITHER) return EITHER;
  }
  /* Branchless, because each branch would double what the verifier has to follow; unused values repeat the first. */
  value &= t->mask;
  u64 found = 0;
#pragma unroll
  for (int i = 0; i < MAX_VALUES; i++) found |= ((u64)(value ^ t->values[i]) - 1) >> 63;
  return found;
}

/* Is a clause left after evaluating the predicates of an event type? */
static __always_inline bool any_way_tested(struct filter *filter, u32 row, struct filter_scratch *f,
                                           struct syscall_record *r, void *task, struct call *call) {
  u64 left = 0;
  struct mask *ways = &f->ways;
  for (int n = 0; n < MAX_TESTS; n++) {
    if (n >= filter->tests) break;
    f->answer = answer_of(&filter->test[n], r, task, call->result, f, call);
    u32 at = f->answer;
    if (at == EITHER) continue;
    at = (row * MAX_TESTS + n) * 2 + (at & 1);
    struct mask *mask = test_masks.lookup(&at);
    if (!mask) return true;
    for (int i = 0; i < MASK_WORDS; i++) ways->words[i] &= mask->words[i];
  }
  for (int i = 0; i < MASK_WORDS; i++) left |= ways->words[i];
  return left != 0;
}

/* Appends a path to the directory, or root, that it starts from. */
static __always_inline void build_name(struct filter_scratch *f, struct path_buffer *buffer) {
  u64 n = f->length + 1, at = f->from == PATH_MAX_BYTES - 1 || f->raw[0] == '/' ? 0 : 1;
  buffer->bytes[PATH_MAX_BYTES] = '/';
  MASK(n, 511);
  bpf_probe_read_kernel(buffer->bytes + PATH_MAX_BYTES + at, n, f->raw);
  f->end = PATH_MAX_BYTES + at + f->length;
}

/* The length of a file's name if the file is an entry of the directory, else 0. */
static __always_inline u32 entry_length(void *directory, void *path) {
  struct path_facts start, at;
  struct dentry_facts q;
  read_path(&start, directory);
  read_path(&at, path);
  read_dentry(&q, at.dentry);
  return at.mnt == start.mnt && q.parent == start.dentry ? q.length : 0;
}

/* Was the file, whose path is in the buffer, requested by just this path, or by its name in the directory? Then it has no
 * other name. Reading as many bytes as the path has costs less than finding where the requested one ends. */
static __always_inline bool is_requested_so(struct filter_scratch *f, struct path_buffer *buffer, void *start, void *path) {
  u64 length = PATH_MAX_BYTES - f->from, size = length + 1;
  if (size > SAME_BYTES) return false;
  MASK(size, 127);
  if (bpf_probe_read_user(f->raw, size, (void *)f->path)) return false;
  f->length = f->raw[0] == '/' ? length : start ? entry_length(start, path) : 0;
  length = f->length;
  if (length < 2 || length > SAME_BYTES) return false;
  u64 at = PATH_MAX_BYTES - length;
  MASK(length, 127);
  MASK(at, PATH_MAX_BYTES - 1);
  return !f->raw[length] && is_same_path(f, buffer->bytes + at);
}

/* Could a path matter by one of these clauses? The names evaluated are those that the event would carry: the requested one,
 * joined with its directory if relative, and for an open the kernel's. A name that isn't clean is not evaluated; but the
 * target of a symbolic link is a text, which the event carries unchanged. */
static __always_inline bool could_path_matter(struct call *call, struct filter_scratch *f, void *task) {
  u32 zero = 0, generation = call->generation;
  struct path_buffer *buffer = path_scratch.lookup(&zero);
  if (!buffer) return true;
  s32 directory = f->directory;
  void *start = AT(POINTER(task, O_TASK_FS), O_FS_PWD);
  if (directory != -100) {
    void *opened = directory >= 0 ? file_of(task, directory) : 0;
    start = opened ? AT(opened, O_FILE_PATH) : 0;
  }
  bool is_descriptor = f->filter == FILTER_FD;
  if (is_descriptor || (call->result >= 0 && f->filter != FILTER_PATH && f->filter != FILTER_TEXT)) {
    void *file = file_of(task, is_descriptor ? f->fd : call->result);
    if (!file || (is_descriptor && is_pseudo(file))) return true;
    f->from = walk(AT(file, O_FILE_PATH), buffer);
    if (f->from < PATH_MAX_BYTES) {
      f->end = PATH_MAX_BYTES;
      buffer->bytes[PATH_MAX_BYTES] = 0;
      bool has_one_name = is_descriptor || is_requested_so(f, buffer, start, AT(file, O_FILE_PATH));
      if (is_built_of_interest(f, buffer, generation)) {
        call->from = f->from;
        call->walked = (u64)file;
        return true;
      }
      if (has_one_name) return false;
    }
  }
  if (is_descriptor) return true;
  struct copied_name *known = copy_of(call, f->path, f->is_second);
  long got = known ? bpf_probe_read_kernel_str(f->raw, 512, known->text) : bpf_probe_read_user_str(f->raw, 512, (void *)f->path);
  if (got <= 2 || got >= 511) return true;
  f->length = got - 1;
  if (f->filter == FILTER_TEXT) return is_raw_of_interest(f, generation);
  /* Bytes that a longer path left behind must not count as part of this one. */
  u64 behind = f->length + 1;
  MASK(behind, 511);
  *(u64 *)(f->raw + behind) = 0;
  if (f->raw[(f->length - 1) & 511] == '/' || (f->raw[0] == '.' && f->raw[1] == '/') || is_unclean(f)) return true;
  if (f->raw[0] == '/') {
    if (is_raw_of_interest(f, generation)) return true;
    start = other_root(task);
    if (!start) return false;
  }
  if (!start) return true;
  f->from = walk(start, buffer);
  if (f->from >= PATH_MAX_BYTES) return true;
  build_name(f, buffer);
  return is_built_of_interest(f, buffer, generation);
}

/* Could this call matter to any rule, as far as can be decided without its path? Calls that can't be evaluated could. */
static __always_inline enum verdict verdict_of(struct call *call, u32 generation, struct syscall_record *r, void *task) {
  struct descriptor *d = &call->descriptor;
  s64 result = call->result;
  u32 zero = 0, at = generation * MAX_EVENTS + (d->event & (MAX_EVENTS - 1));
  struct filter *filter = filters.lookup(&at);
  struct filter_scratch *f = filter_scratch.lookup(&zero);
  if (!filter || !f) return PASS;
  u32 class = 0, flags = r->arguments[1];
  f->path = r->arguments[0];
  f->directory = -100;
  if (d->filter == FILTER_OPENAT || d->filter == FILTER_OPENAT2) {
    f->directory = r->arguments[0];
    f->path = r->arguments[1];
    flags = r->arguments[2];
  }
  f->filter = d->filter;
  if (d->filter == FILTER_EITHER) f->filter = argument(r, d->path1) ? FILTER_PATH : FILTER_FD;
  f->second = NONE;
  f->is_second = 0;
  if (f->filter == FILTER_PATH || f->filter == FILTER_TEXT) {
    f->path = argument(r, d->path1);
    if (d->dir1 < 6) f->directory = argument(r, d->dir1);
    f->second = d->path2;
  }
  if (d->filter == FILTER_CREAT) {
    class = CLASS_WRITE | CLASS_CREATE;
  } else if (d->filter == FILTER_OPEN || d->filter == FILTER_OPENAT) {
    u32 access = flags & 3;
    if (access == 0 || access == 2) class |= CLASS_READ;
    if (access == 1 || access == 2) class |= CLASS_WRITE;
    if ((flags & 0100) || (flags & NUMBER(N_TMPFILE)) == NUMBER(N_TMPFILE)) class |= CLASS_CREATE;
    if (flags & 01000) class |= CLASS_TRUNCATE;
  }
  if (result < 0 && result > -4096) class |= CLASS_FAILED;
  f->class = class;
  class = f->class & (CLASSES - 1);
  u8 verdict = filter->verdicts[class];
  f->verdict = verdict;
  if ((verdict & VERDICT) != JUDGE) return verdict;

  u32 row = generation * MAX_ROWS + (filter->row & (MAX_ROWS - 1));
  at = row * CLASSES + class;
  struct mask *ways = class_masks.lookup(&at), *anywhere = anywhere_masks.lookup(&generation);
  if (!ways || !anywhere) return PASS;
  for (int i = 0; i < MASK_WORDS; i++) f->ways.words[i] = ways->words[i];
  s32 fd = -1;
  if (d->flags & D_FD_IS_RESULT) fd = result >= 0 ? result : -1;
  else if (d->fd < 6) fd = argument(r, d->fd);
  f->fd = fd;
  if (filter->tests) {
    f->family = call->is_replaced ? call->ends.family : 0;
    if (!any_way_tested(filter, row, f, r, task, call)) return DROP;
    if (!filter->has_places || overlap(&f->ways, anywhere)) return PASS;
  }
  return JUDGE;
}

static __always_inline void leave_out(u32 event) {
  u64 *n = filtered.lookup(&event);
  if (NUMBER(N_TURN) == ONLY) {
    if (n) *n += 1;
    count(C_FILTERED);
  } else {
    if (n) __sync_fetch_and_add(n, 1);
    count_shared(C_FILTERED);
  }
}

/* The call changed facts in the process table. */
int tell_state(u64 *ctx) {
  if (!is_ignored(bpf_get_current_pid_tgid() >> 32)) send_state(CURRENT_TASK());
  steps.call(ctx, STEP_JUDGE);
  return 0;
}

int judge_call(u64 *ctx) {
  u32 zero = 0, setting = S_INTEREST;
  struct call *call = call_scratch.lookup(&zero);
  struct syscall_record *r = syscall_scratch.lookup(&zero);
  u64 *version = settings.lookup(&setting);
  if (!call || !r || !version) return 0;
  void *task = CURRENT_TASK();
  u16 flags = call->descriptor.flags;
  s64 result = call->result;
  if (!(flags & D_EMIT) || ((flags & D_FAILED_ONLY) && result >= 0)) return 0;
  /* Read once: each call is evaluated by one version. */
  u64 in_force = *version;
  call->generation = in_force & 1;
  enum verdict verdict = in_force ? verdict_of(call, in_force & 1, r, task) : PASS;
  if (verdict == JUDGE) steps.call(ctx, STEP_PATH);
  else if (verdict == PASS) steps.call(ctx, STEP_TELL);
  else leave_out(call->descriptor.event);
  return 0;
}

int judge_path(u64 *ctx) {
  u32 zero = 0;
  struct call *call = call_scratch.lookup(&zero);
  struct filter_scratch *f = filter_scratch.lookup(&zero);
  if (!call || !f) return 0;
  if (could_path_matter(call, f, CURRENT_TASK())) {
    steps.call(ctx, STEP_TELL);
  } else if (f->second < 6) {
    struct syscall_record *r = syscall_scratch.lookup(&zero);
    if (!r) return 0;
    u8 directory = call->descriptor.dir2;
    f->path = argument(r, f->second);
    f->directory = directory < 6 ? argument(r, directory) : -100;
    f->filter = FILTER_PATH;
    f->second = NONE;
    f->is_second = 1;
    steps.call(ctx, STEP_PATH);
  } else {
    leave_out(call->descriptor.event);
  }
  return 0;
}

/* Returns its argument; to the verifier it may be any number. */
static __always_inline u64 forgotten(struct call *call, u64 off) {
  call->off = off;
  return call->off;
}

/* Reports everything that the descriptor requests of the call. */
int tell_call(u64 *ctx) {
  void *task = CURRENT_TASK();
  u32 zero = 0;
  struct call *call = call_scratch.lookup(&zero);
  struct syscall_record *r = syscall_scratch.lookup(&zero);
  struct path_buffer *buffer = path_scratch.lookup(&zero);
  /* Checked last: most calls are dropped before, which is cheaper than finding out that a call is our own. */
  if (!call || !r || !buffer || is_ignored(bpf_get_current_pid_tgid() >> 32)) return 0;
  struct descriptor *d = &call->descriptor;
  fill_head(&r->head, task, K_SYSCALL);
  if (call->compat) r->head.flags |= F_COMPAT;
  r->result = call->result;
  r->event = d->event;
  r->fd = -1;
  r->ino = r->dev = r->magic = r->mode = 0;
  r->vtid = own_number((void *)POINTER(task, O_TASK_THREAD_PID));
  __builtin_memset(r->length, 0, sizeof(r->length));
  u64 off = 0;

  call->fd = -1;
  if ((d->flags & D_FD_IS_RESULT) && call->result >= 0) call->fd = call->result;
  else if (d->fd < 6 && (d->filter != FILTER_EITHER || !argument(r, d->path1))) call->fd = argument(r, d->fd);
  r->fd = call->fd;
  s32 fd = call->fd;
  if (call->is_replaced) {
    r->mode = 0140777;
    bpf_probe_read_kernel(r->data, sizeof(struct socket_info), &call->ends);
    r->length[R_SOCKET] = off = sizeof(struct socket_info);
  } else if (fd >= 0) {
    void *file = file_of(task, fd);
    if (file) {
      void *inode = MEMBER(file, FILE, O_FILE_INODE), *sb = MEMBER(inode, INODE, O_INODE_SB);
      u64 magic = 0;
      if (is_created(file)) r->head.flags |= F_CREATED;
      FIELD(r->mode, inode, INODE, O_INODE_MODE);
      FIELD(r->ino, inode, INODE, O_INODE_INO);
      FIELD(r->dev, sb, SUPER_BLOCK, O_SB_DEV);
      FIELD(magic, sb, SUPER_BLOCK, O_SB_MAGIC);
      r->magic = magic;
      if ((r->mode & 0170000) == 0140000) {
        MASK(off, DATA_LIMIT);
        struct socket_info *ends = (struct socket_info *)(r->data + off);
        fill_socket(ends, MEMBER(MEMBER(file, FILE, O_FILE_PRIVATE), SOCKET, O_SOCKET_SK));
        /* A connect that failed leads nowhere; an earlier one may have. */
        if (d->flags & D_CONNECTS && !call->has_begun && call->result < 0 && call->result != IN_PROGRESS) ends->remote_port = 0;
        r->length[R_SOCKET] = sizeof(struct socket_info);
        off += sizeof(struct socket_info);
      } else {
        overlay_layer(&r->head, inode, magic);
        if (is_new_setuid(file)) r->head.flags |= F_NEW_SETUID;
        if (is_pseudo(file)) {
          /* Their own name identifies them. */
          r->head.flags |= F_PSEUDO;
          MASK(off, DATA_LIMIT);
          void *dentry = MEMBER(file, FILE, O_FILE_DENTRY);
          long got = bpf_probe_read_kernel_str(r->data + off, 256, follow(dentry, O_DENTRY_NAME));
          if (got > 0 && got <= 256) {
            r->length[R_KERNEL_PATH] = got;
            off += got;
          }
        } else {
          APPEND_BUILT(r, off, R_KERNEL_PATH, call->walked == (u64)file ? call->from : walk(AT(file, O_FILE_PATH), buffer));
        }
      }
    }
  }
  off = forgotten(call, off);
  if (d->path1 < 6 && (!(d->flags & D_PRCTL_NAME) || r->arguments[0] == 15))
    off = append_path(call, r, buffer, task, off, R_PATH1, R_DIR1, d->path1, d->dir1);
  off = forgotten(call, off);
  if (d->path2 < 6) off = append_path(call, r, buffer, task, off, R_PATH2, R_DIR2, d->path2, d->dir2);
  off = forgotten(call, off);
  bool is_answer = d->flags & D_ANSWERS && CALL(FIND_ANSWER);
  call->most = is_answer ? ANSWER_BYTES : d->blob1_size;
  call->pieces = 0;
  s64 received = call->result;
  u64 blob1 = argument(r, d->blob1), blob1_length = call->most, blob2 = argument(r, d->blob2), blob2_length = d->blob2_size;
  u64 vector = d->flags & D_VECTOR ? r->arguments[1] : 0;
  if (d->flags & D_MESSAGE) {
    u64 header = is_answer ? header_of(call) : r->arguments[1];
    if (call->compat) {
      u32 m[4] = {};
      bpf_probe_read_user(m, sizeof(m), (void *)header);
      blob2 = m[0]; blob2_length = m[1]; vector = m[2]; call->pieces = m[3];
    } else {
      u64 m[4] = {};
      bpf_probe_read_user(m, sizeof(m), (void *)header);
      blob2 = m[0]; blob2_length = (u32)m[1]; vector = m[2]; call->pieces = m[3];
    }
    if (d->flags & D_VECTOR && received > 0) {
      u32 length = 0;
      bpf_probe_read_user(&length, sizeof(length), (void *)header + (call->compat ? 28 : 56));
      received = length;
    }
    if (blob2_length > d->blob2_size) blob2_length = d->blob2_size;
  } else if (vector) {
    call->pieces = r->arguments[2];
  }
  if (d->flags & (D_MESSAGE | D_VECTOR)) {
    read_piece(call, vector, &blob1, &blob1_length);
    if (blob1_length > call->most) blob1_length = call->most;
  }
  call->left = 0;
  if (d->flags & D_BLOB1_RESULT) {
    if (received < 0) {
      blob1_length = 0;
    } else if (received < blob1_length) {
      blob1_length = received;
    } else if (is_answer && call->pieces > 1) {
      u64 whole = received < ANSWER_BYTES ? received : ANSWER_BYTES;
      call->left = whole - blob1_length;
      call->pieces -= 1;
      call->pieces_at = vector + (call->compat ? 8 : 16);
    }
  }
  if (d->blob1_length < 6 && argument(r, d->blob1_length) < blob1_length) blob1_length = argument(r, d->blob1_length);
  if (d->blob2_length < 6 && argument(r, d->blob2_length) < blob2_length) blob2_length = argument(r, d->blob2_length);
  off = forgotten(call, off);
  if (d->flags & D_HELLOS && CALL(FIND_HELLO)) {
    struct hello *h = hello_scratch.lookup(&zero);
    if (!h || off > DATA_LIMIT) return 0;
    u64 n = h->have;
    MASK(n, HELLO_BYTES);
    MASK(off, DATA_LIMIT);
    bpf_probe_read_kernel(r->data + off, n, h->bytes);
    r->length[R_BLOB1] = n;
    off += n;
  } else if (blob1 && blob1_length) {
    if (d->flags & D_STRING_BLOB1) APPEND_USER_STRING(r, off, R_BLOB1, blob1, 256);
    else APPEND_USER_BYTES(r, off, R_BLOB1, blob1, blob1_length, ANSWER_BYTES);
  }
  off = forgotten(call, off);
  if (call->left) {
    CALL(APPEND_PIECES);
    off = call->off;
  }
  if (blob2 && blob2_length) APPEND_USER_BYTES(r, off, R_BLOB2, blob2, blob2_length, 255);

  off += offsetof(struct syscall_record, data);
  MASK(off, 32767);
  if (off > sizeof(*r)) return 0;
  call->off = off;
  steps.call(ctx, STEP_SEND);
  return 0;
}

/* A hash that equal records share. It excludes the time, with which a record begins; size is a multiple of 8. */
static __always_inline u64 hash_of(struct syscall_record *r, u32 size) {
  u64 hash = 0;
#pragma clang loop unroll(disable)
  for (int i = 1; i < REPEAT_BYTES / 8; i++) {
    if (8 * i >= size) break;
    hash = mix(hash, *(u64 *)((void *)r + 8 * i));
  }
  return hash;
}

static __always_inline bool is_equal(struct syscall_record *r, struct repeated_record *kept, u32 size) {
  u64 difference = 0;
#pragma clang loop unroll(disable)
  for (int i = 1; i < REPEAT_BYTES / 8; i++) {
    if (8 * i >= size) break;
    difference |= *(u64 *)((void *)r + 8 * i) ^ *(u64 *)(kept->bytes + 8 * i);
  }
  return difference == 0;
}

/* Reports how often the record in a slot was repeated without being sent; false if there is no room for the report. */
static __always_inline bool send_repeats(struct repeat *repeat, struct repeated_record *kept, u32 slot) {
  u32 zero = 0;
  struct path_buffer *buffer = path_scratch.lookup(&zero);
  if (!buffer) return false;
  struct repeats_record *r = (void *)buffer->bytes;
  __builtin_memset(r, 0, sizeof(*r));
  /* With the identity at its latest repeat: the process may be different now. */
  r->head.time = repeat->last;
  r->head.kind = K_REPEATS;
  r->count = repeat->count;
  r->last = repeat->last;
  r->slot = slot;
  r->generation = repeat->generation;
  u64 size = repeat->size;
  MASK(size, REPEAT_BYTES - 1);
  bpf_probe_read_kernel(buffer->bytes + sizeof(*r), size, kept->bytes);
  return write_record(RING_EVENTS, r, sizeof(*r) + size) == SENT;
}

/* Sends the record, or counts it if the process repeats it too fast. Records are equal if no rule can distinguish them:
 * all bytes but the time are equal, while no facts of any process change. When a slot is taken over, the old count is sent
 * first, so that nothing is counted without being reported. */
static __always_inline void send_or_count(void) {
  u32 zero = 0, setting = S_SENT_WHOLE;
  struct call *call = call_scratch.lookup(&zero);
  struct syscall_record *r = syscall_scratch.lookup(&zero);
  u64 *sent_whole = settings.lookup(&setting), *version = facts_version.lookup(&zero);
  setting = S_FACTS_VERSION;
  u64 *known_version = settings.lookup(&setting);
  if (!call || !r || !sent_whole || !version || !known_version) return;
  for (int i = 0; i < 6; i++)
    if (!(call->descriptor.registers & 1 << i)) r->arguments[i] = 0;
  if (call->search >= FOUND) r->head.flags |= F_CONTENTS;
  u32 size = call->off;
  u64 whole = size;
  MASK(whole, 32767);
  if (whole > sizeof(*r)) return;
  /* Counts of repeats belong to the first copy. Each part of a stream is needed, even if it equals another. */
  if (NUMBER(N_TURN) == SECOND) goto send;
  if (!*sent_whole || size > REPEAT_BYTES - 8 || call->search == FOUND_IN_STREAM) goto send;
  /* Bytes that an earlier record left behind are not part of this one. */
  u64 end = size;
  MASK(end, REPEAT_BYTES - 1);
  *(u64 *)((void *)r + end) = 0;
  u32 length = (size + 7) & ~7;
  end = length;
  MASK(end, REPEAT_BYTES - 1);
  u32 slot = bpf_get_smp_processor_id() * REPEAT_SLOTS + (hash_of(r, length) >> 32) % REPEAT_SLOTS;
  struct repeat *repeat = repeats.lookup(&slot);
  struct repeated_record *kept = repeated_records.lookup(&slot);
  if (!repeat || !kept) goto send;
  u64 now = r->head.time, facts = *version + *known_version;
  bool is_same = repeat->size == size && is_equal(r, kept, length), is_new = !is_same || repeat->version != facts;
  if (is_new) {
    if (repeat->count && !send_repeats(repeat, kept, slot)) goto send;
    *(volatile u32 *)&repeat->generation += 1;
    *(volatile u64 *)&repeat->count = 0;
    repeat->size = size;
    repeat->version = facts;
    bpf_probe_read_kernel(kept->bytes, end, r);
    *(volatile u32 *)&repeat->generation += 1;
    if (!is_same) repeat->window = 0;
  }
  if (now - repeat->window > REPEAT_WINDOW) {
    repeat->window = now;
    repeat->whole = 0;
  } else if (!is_new && repeat->whole >= *sent_whole) {
    repeat->last = now;
    repeat->count += 1;
    count(C_REPEATS);
    return;
  }
  /* User space must know the process as it is now, in case more calls follow. */
  bool is_last = repeat->whole + 1 >= *sent_whole;
  if (is_last) r->head.flags |= F_LAST_WHOLE;
  if (send_event(r, whole)) repeat->whole += 1;
  /* Lost, so the next one is the first with these facts. */
  else if (is_new) repeat->version = ~facts;
  return;
send:
  send_event(r, whole);
}

/* Sends the record, and then one for each further answer that the call received. */
int send_call(u64 *ctx) {
  send_or_count();
  u32 zero = 0;
  struct call *call = call_scratch.lookup(&zero);
  if (!call || call->search < FOUND || !(call->descriptor.flags & D_VECTOR) || call->descriptor.flags & D_HELLOS) return 0;
  call->message += 1;
  call->search = 0;
  if (CALL(FIND_ANSWER)) steps.call(ctx, STEP_TELL);
  return 0;
}

/* The number of paths that the current call has passed to the kernel; the next call begins with none. */
static __always_inline u32 take_names(void *task) {
  u32 tid = bpf_get_current_pid_tgid(), count = 0;
  struct copied_names *names = copied_names.lookup(&tid);
  if (!names) return 0;
  if (names->task == (u64)task) count = names->count;
  names->count = 0;
  return count;
}

/* The flags of clone3, which others may have changed since, or the creator of a thread: a child shows by itself whether its
 * namespaces are new. */
static __always_inline u64 clone_flags(void *task, u64 pointer, s64 result) {
  u64 flags = 0;
  bpf_probe_read_user(&flags, sizeof(flags), (void *)pointer);
  if (result) return flags;
  bool is_thread = WORD(task, O_TASK_PID) != WORD(task, O_TASK_TGID);
  void *creator = is_thread ? POINTER(task, O_TASK_GROUP_LEADER) : POINTER(task, O_TASK_REAL_PARENT);
  if (POINTER(creator, O_TASK_NSPROXY) == POINTER(task, O_TASK_NSPROXY)) flags &= ~NEW_NAMESPACES;
  void *users = POINTER(POINTER(task, O_TASK_CRED), O_CRED_USER_NS);
  return users == POINTER(POINTER(creator, O_TASK_CRED), O_CRED_USER_NS) ? flags & ~NEW_USER : flags | NEW_USER;
}

/* Does a socket have this end? */
static __always_inline bool leads_to(void *sk, struct socket_info *ends) {
  u16 port = 0;
  u64 remote[2] = {};
  FIELD(port, sk, SOCK, O_SOCK_DPORT);
  if ((u16)(port >> 8 | port << 8) != ends->remote_port) return false;
  if (ends->family == AF_INET) bpf_probe_read_kernel(remote, 4, AT(sk, O_SOCK_DADDR));
  else if (NUMBER(N_IPV6)) bpf_probe_read_kernel(remote, 16, AT(sk, O_SOCK_V6_DADDR));
  u64 *known = (void *)ends->remote;
  return remote[0] == known[0] && remote[1] == known[1];
}

/* What to report of a connect that may have been interrupted: false if nothing. A TCP connection is reported by the call
 * that has sent its first packet, as one in progress if that call was interrupted. What the thread's next call does about
 * the same connection, restarted or not, is no other connection. */
static __always_inline bool settle_connect(struct call *call, void *task, s32 fd, bool is_restarted) {
  u32 tid = bpf_get_current_pid_tgid();
  struct connecting *begun = connecting.lookup(&tid);
  bool is_interrupted = is_restarted || call->result == INTERRUPTED;
  void *sk = socket_of(task, fd);
  if (begun && begun->task == (u64)task) {
    bool is_same = sk && leads_to(sk, &begun->ends);
    if (begun->is_interrupted) {
      if (!is_interrupted) begun->task = 0;
      if (is_same) return false;
    } else {
      bpf_probe_read_kernel(&call->ends, sizeof(call->ends), &begun->ends);
      call->has_begun = 1;
      call->is_replaced = !is_same;
      begun->is_interrupted = is_interrupted;
      if (!is_interrupted) begun->task = 0;
      if (is_interrupted) call->result = IN_PROGRESS;
      return true;
    }
  }
  if (!is_restarted) return true;
  u16 family = 0, protocol = 0;
  u8 state = 0;
  if (sk) {
    FIELD(family, sk, SOCK, O_SOCK_FAMILY);
    FIELD(protocol, sk, SOCK, O_SOCK_PROTOCOL);
    FIELD(state, sk, SOCK, O_SOCK_STATE);
  }
  call->result = IN_PROGRESS;
  /* Other protocols may have sent a packet, and a note may have been pushed out by those of thousands of threads. */
  return family != AF_UNIX && (state != CLOSED || (protocol != TCP && protocol != MPTCP));
}

/* Does a call only matter if it receives something from a name server, or sends a ClientHello, which it can't? Most reads
 * and writes are of files, and are left out here, before anything is copied. */
static __always_inline bool is_other_transfer(struct descriptor *d, void *task, void *regs, bool compat, s64 result) {
  u32 setting = S_INTEREST;
  u64 *version = settings.lookup(&setting), in_force = version ? *version : 0;
  if (!in_force) return false;
  u32 at = (in_force & 1) * MAX_EVENTS + (d->event & (MAX_EVENTS - 1));
  struct filter *filter = filters.lookup(&at);
  if (!filter || !filter->needs_contents) return false;
  u16 family = 0, port = 0, protocol = 0;
  void *sk = result > 0 ? socket_of(task, compat ? WORD(regs, O_COMPAT_ARGUMENT_1) : LONG(regs, O_ARGUMENT_1)) : 0;
  if (!sk) return true;
  FIELD(family, sk, SOCK, O_SOCK_FAMILY);
  FIELD(port, sk, SOCK, O_SOCK_DPORT);
  FIELD(protocol, sk, SOCK, O_SOCK_PROTOCOL);
  if (family != AF_INET && family != AF_INET6) return true;
  return d->flags & D_HELLOS ? protocol != TCP && protocol != MPTCP : port && port != DNS_PORT;
}

int on_sys_exit(u64 *ctx) {
  /* All that most calls ever pay: no helper is called, because each costs more than this whole step. */
  void *regs = (void *)ctx[0];
  u32 key = WORD(regs, O_CALL);
  u8 *is_watched = watched.lookup(&key);
  if (!is_watched || !*is_watched || is_done(AT_SYS_EXIT)) return 0;
  void *task = CURRENT_TASK();
  u32 names = *is_watched == WATCHED_BY_NAME ? take_names(task) : 0;
  bool compat = is_compat(task);
  if (compat) key += 512;
  struct descriptor *d = descriptors.lookup(&key);
  if (!d || !d->flags) return 0;
  s64 result = ctx[1];
  if (compat) result = (s32)result;
  /* -512 to -516: the kernel will restart the call; nothing has happened yet, unless syscalls.txt says so. */
  bool is_restarted = result <= -512 && result >= -516;
  if (is_restarted && !(d->flags & (D_INTERRUPTED | D_CONNECTS | D_SOCKETCALL))) return 0;
  if (d->flags & (D_ANSWERS | D_HELLOS) && is_other_transfer(d, task, regs, compat, result)) {
    leave_out(d->event);
    return 0;
  }
  u32 zero = 0;
  struct syscall_record *r = syscall_scratch.lookup(&zero);
  struct call *call = call_scratch.lookup(&zero);
  if (!r || !call) return 0;
  fill_arguments(r, regs, compat);
  if (d->flags & D_SOCKETCALL) {
    u32 number = r->arguments[0], words[6] = {};
    bpf_probe_read_user(words, sizeof(words), (void *)r->arguments[1]);
    d = socketcalls.lookup(&number);
    if (!d || !d->flags) return 0;
    for (int i = 0; i < 6; i++) r->arguments[i] = words[i];
  }
  if (d->flags & D_POINTED) {
    u32 words[6] = {};
    bpf_probe_read_user(words, sizeof(words), (void *)r->arguments[0]);
    for (int i = 0; i < 6; i++) r->arguments[i] = words[i];
  }
  if (d->flags & D_CLONE_ARGUMENTS) r->arguments[2] = clone_flags(task, r->arguments[0], result);
  /* From here on, nothing else uses these maps on this CPU. */
  call->names = names;
  call->result = is_restarted ? INTERRUPTED : result;
  call->compat = compat;
  call->walked = 0;
  call->has_begun = call->is_replaced = 0;
  call->search = call->message = 0;
  call->descriptor = *d;
  if (d->flags & D_CONNECTS) {
    if (!settle_connect(call, task, r->arguments[0], is_restarted)) return 0;
  } else if (is_restarted && !(d->flags & D_INTERRUPTED)) {
    return 0;
  }
  if ((d->flags & D_STATE) && result >= 0) steps.call(ctx, STEP_STATE);
  else steps.call(ctx, STEP_JUDGE);
  return 0;
}

/* The address of a socket's remote end, as connect takes it. */
static __always_inline u64 append_remote(struct syscall_record *r, u64 off, struct socket_info *ends) {
  struct {
    u16 family, port;
    u8 before[4], address[16];
    u32 scope;
  } peer = {.family = ends->family, .port = ends->remote_port >> 8 | ends->remote_port << 8};
  u64 size = ends->family == AF_INET ? 16 : sizeof(peer);
  if (ends->family == AF_INET) __builtin_memcpy(peer.before, ends->remote, 4);
  else __builtin_memcpy(peer.address, ends->remote, 16);
  MASK(off, DATA_LIMIT);
  bpf_probe_read_kernel(r->data + off, size, &peer);
  r->length[R_BLOB2] = size;
  return off + size;
}

/* TCP begins a connection. By connect it is only noted, for the end of that call. Any other call that connects, such as
 * sendto with MSG_FASTOPEN, is reported here as a connect in progress; io_uring's operations are by io_uring.bpf.c. */
int on_connecting(struct bpf_raw_tracepoint_args *ctx) {
  if (ctx->args[2] != SYN_SENT) return 0;
  void *sk = (void *)ctx->args[0], *task = CURRENT_TASK();
  u16 protocol = 0;
  u32 flags = WORD(task, O_TASK_FLAGS);
  FIELD(protocol, sk, SOCK, O_SOCK_PROTOCOL);
  /* What threads of the kernel connect is no process's doing. */
  if (protocol != TCP || flags & PF_KTHREAD_FLAG || is_ignored(bpf_get_current_pid_tgid() >> 32)) return 0;
  u32 zero = 0, tid = bpf_get_current_pid_tgid(), number = NUMBER(N_CONNECT);
  void *regs = CURRENT_REGISTERS();
  bool compat = is_compat(task);
  u32 made = WORD(regs, O_CALL) + (compat ? 512 : 0);
  struct syscall_record *r = syscall_scratch.lookup(&zero);
  struct descriptor *by = descriptors.lookup(&made), *connect = descriptors.lookup(&number);
  if (!r || !connect || !(connect->flags & D_EMIT)) return 0;
  fill_arguments(r, regs, compat);
  if (by && (by->flags & D_CONNECTS || (by->flags & D_SOCKETCALL && r->arguments[0] == SOCKETCALL_CONNECT))) {
    struct connecting *none = no_connecting.lookup(&zero);
    struct connecting *begun = none ? connecting.lookup_or_try_init(&tid, none) : 0;
    if (!begun) return 0;
    fill_socket(&begun->ends, sk);
    begun->is_interrupted = 0;
    begun->task = (u64)task;
    return 0;
  }
  if (NUMBER(N_URING) && (made % 512 == NR_IO_URING_ENTER || flags & PF_IO_WORKER_FLAG)) return 0;
  if (by && by->flags & D_SOCKETCALL) {
    u32 word = 0;
    bpf_probe_read_user(&word, sizeof(word), (void *)r->arguments[1]);
    r->arguments[0] = word;
  }
  fill_head(&r->head, task, K_SYSCALL);
  if (compat) r->head.flags |= F_COMPAT;
  r->event = connect->event;
  r->result = IN_PROGRESS;
  r->fd = socket_of(task, r->arguments[0]) ? r->arguments[0] : -1;
  __builtin_memset(r->arguments, 0, sizeof(r->arguments));
  r->arguments[0] = r->fd;
  r->ino = r->dev = r->magic = 0;
  r->mode = 0140777;
  r->vtid = own_number((void *)POINTER(task, O_TASK_THREAD_PID));
  __builtin_memset(r->length, 0, sizeof(r->length));
  u64 off = sizeof(struct socket_info);
  fill_socket((struct socket_info *)r->data, sk);
  r->length[R_SOCKET] = off;
  off = append_remote(r, off, (struct socket_info *)r->data);
  off += offsetof(struct syscall_record, data);
  MASK(off, 32767);
  if (off <= sizeof(*r)) send_event(r, off);
  return 0;
}

/* Is this the cache of path copies? Older kernels identify a cache by its name. */
static __always_inline bool is_name_cache(void *cache) {
  u64 name[2] = {};
  if (bpf_probe_read_kernel_str(name, 12, follow(cache, O_KMEM_CACHE_NAME)) != 12) bpf_probe_read_kernel_str(name, 12, cache);
  return name[0] == 0x61635f73656d616eULL && name[1] == 0x656863; /* names_cache */
}

/* Are the paths of the current call relevant? */
static __always_inline bool has_paths(void) {
  u32 number = WORD(CURRENT_REGISTERS(), O_CALL);
  u8 *is_watched = watched.lookup(&number);
  return is_watched && *is_watched == WATCHED_BY_NAME;
}

static __always_inline int copy_name(void *text, u64 pointer) {
  u32 zero = 0;
  void *task = CURRENT_TASK();
  u32 tid = bpf_get_current_pid_tgid();
  struct copied_names *none = no_names.lookup(&zero);
  struct copied_names *names = none ? copied_names.lookup_or_try_init(&tid, none) : 0;
  if (!names) return 0;
  if (names->task != (u64)task) {
    names->task = (u64)task;
    names->count = 0;
  }
  u64 n = names->count;
  if (n > 1) return 0;
  struct copied_name *name = &names->name[n];
  long got = bpf_probe_read_kernel_str(name->text, NAME_BYTES, text);
  name->pointer = pointer;
  name->length = got > 0 ? got : 0;
  names->count = n + 1;
  return 0;
}

/* The kernel frees its copy of a path, which has the path's address. */
static __always_inline int copy_addressed(void *filename) {
  if (!has_paths()) return 0;
  void *text = MEMBER(filename, FILENAME, O_FILENAME_NAME);
  u64 pointer = (u64)MEMBER(filename, FILENAME, O_FILENAME_UPTR);
  /* A long path lies in a separate object, and one that the kernel itself looks up has no address in user memory. */
  if (text != AT(filename, O_FILENAME_INAME) || !pointer) return 0;
  return copy_name(text, pointer);
}

/* The kernel frees an object. */
int on_freed(struct bpf_raw_tracepoint_args *ctx) {
  u32 zero = 0;
  u64 cache = ctx->args[2], *known = name_cache.lookup(&zero);
  if (!known) return 0;
  if (cache != *known) {
    if (!*known && is_name_cache((void *)cache)) *known = cache;
    return 0;
  }
  return copy_addressed((void *)ctx->args[1]);
}

/* Somebody no longer needs a copy of a path; the last one frees it. */
int on_putname(u64 *ctx) {
  void *filename = (void *)ctx[0];
  if (WORD(filename, O_FILENAME_REFCNT) != 1) return 0;
  if (!NUMBER(N_GETNAME)) return copy_addressed(filename);
  if (!has_paths()) return 0;
  u64 key = (u64)filename, *from = copied_from.lookup(&key);
  if (!from) return 0;
  u64 pointer = *from;
  copied_from.delete(&key);
  return copy_name(MEMBER(filename, FILENAME, O_FILENAME_NAME), pointer);
}

/* The kernel has copied a path, or returns an error. */
int on_getname(u64 *ctx) {
  u64 pointer = ctx[0], copy = LONG(ctx, O_GETNAME_RESULT);
  if (copy >= (u64)-4095 || !has_paths()) return 0;
  copied_from.update(&copy, &pointer);
  return 0;
}

/* Append the variables that rules name, or that change what code a program runs. Nothing is sent of others, which may be
 * secrets. */
u64 append_variables(void *none) {
  void *mm = POINTER(CURRENT_TASK(), O_TASK_MM);
  u32 zero = 0;
  struct process_record *r = process_scratch.lookup(&zero);
  if (!r || !mm) return 0;
  u64 off = r->end, at = LONG(mm, O_MM_ENV_START), end = LONG(mm, O_MM_ENV_END);
  u32 relevant = r->head.flags & F_SCRIPT ? FOR_PROGRAMS | FOR_SCRIPTS : FOR_PROGRAMS;
  /* In memory, and without branches, the verifier doesn't learn what would make it follow the loop for every way into it. */
  volatile u16 *taken = &r->length[X_ENV];
  u64 is_rest = 0;
  *taken = 0;
  for (int i = 0; i < MAX_VARIABLES && at < end; i++) {
    u64 to = off + *taken;
    if (to > DATA_LIMIT) break;
    MASK(to, DATA_LIMIT);
    long got = bpf_probe_read_user_str(r->data + to, PATH_MAX_BYTES, (void *)at);
    if (got <= 0 || got > PATH_MAX_BYTES) break;
    struct variable_key key = {.bits = 8 * VARIABLE_BYTES};
    bpf_probe_read_kernel(key.bytes, VARIABLE_BYTES, r->data + to);
    u8 *known = variables.lookup(&key);
    u32 uses = known ? *known & (relevant | FOR_RULES) & (u32)(is_rest - 1) : 0;
    /* The rest of a text that is too long follows it. */
    is_rest = (u64)got / PATH_MAX_BYTES;
    at += got - is_rest;
    if (!uses) continue;
    if (*taken + got >= PATH_MAX_BYTES) {
      r->head.flags |= uses & relevant ? F_ENV_CUT | F_CODE_UNKNOWN : F_ENV_CUT;
      continue;
    }
    *taken += got;
  }
  if (at < end) r->head.flags |= F_ENV_CUT | F_CODE_UNKNOWN;
  return 0;
}

int on_exec(struct bpf_raw_tracepoint_args *ctx) {
  if (is_done(AT_EXEC)) return 0;
  void *task = CURRENT_TASK();
  if (is_ignored(bpf_get_current_pid_tgid() >> 32)) return 0;
  u32 zero = 0;
  struct process_record *r = process_scratch.lookup(&zero);
  struct path_buffer *buffer = path_scratch.lookup(&zero);
  if (!r || !buffer) return 0;
  void *mm = POINTER(task, O_TASK_MM);
  if (!mm) return 0;
  change_facts();
  fill_head(&r->head, task, K_EXEC);
  if (is_compat(task)) r->head.flags |= F_COMPAT;
  fill_state(&r->state, task);
  __builtin_memset(r->length, 0, sizeof(r->length));
  void *regs = CURRENT_REGISTERS();
  r->nr = WORD(regs, O_CALL);
  void *file = follow(mm, O_MM_EXE_FILE), *inode = follow(file, O_FILE_INODE), *sb = follow(inode, O_INODE_SB);
  u64 magic = 0;
  READ(r->exe_ino, inode, O_INODE_INO);
  READ(r->exe_mode, inode, O_INODE_MODE);
  READ(r->exe_uid, inode, O_INODE_UID);
  READ(r->exe_gid, inode, O_INODE_GID);
  READ(r->exe_dev, sb, O_SB_DEV);
  READ(magic, sb, O_SB_MAGIC);
  READ(r->ctime_s, inode, O_INODE_CTIME_SEC);
  READ(r->ctime_ns, inode, O_INODE_CTIME_NSEC);
  READ(r->mtime_s, inode, O_INODE_MTIME_SEC);
  READ(r->mtime_ns, inode, O_INODE_MTIME_NSEC);
  overlay_layer(&r->head, inode, magic);
  u64 off = 0;
  void *dentry = follow(file, O_FILE_DENTRY);
  if (follow(dentry, O_DENTRY_PARENT) == dentry) {
    r->head.flags |= F_PSEUDO;
    long got = bpf_probe_read_kernel_str(r->data, 256, follow(dentry, O_DENTRY_NAME));
    if (got > 0 && got <= 256) {
      r->length[X_EXEPATH] = got;
      off += got;
    }
  } else {
    APPEND_WALK(r, off, X_EXEPATH, AT(file, O_FILE_PATH));
  }
  APPEND_WALK(r, off, X_CWD, AT(POINTER(task, O_TASK_FS), O_FS_PWD));
  u64 start = LONG(mm, O_MM_ARG_START), size = LONG(mm, O_MM_ARG_END) - start;
  if (size > PATH_MAX_BYTES - 1) r->head.flags |= F_ARGS_CUT;
  APPEND_USER_BYTES(r, off, X_ARGS, start, size, PATH_MAX_BYTES - 1);
  /* Only an interpreter's name is stored apart from that of the file that was executed. */
  if (follow((void *)ctx->args[2], O_BINPRM_INTERP) != follow((void *)ctx->args[2], O_BINPRM_FILENAME)) r->head.flags |= F_SCRIPT;
  void *cred = POINTER(task, O_TASK_CRED);
  if (WORD(cred, O_CRED_UID) != WORD(cred, O_CRED_EUID) || WORD(cred, O_CRED_GID) != WORD(cred, O_CRED_EGID)) r->head.flags |= F_SECURE;
  r->end = off;
  CALL(APPEND_VARIABLES);
  off += r->length[X_ENV];
  if (off <= DATA_LIMIT) {
    MASK(off, DATA_LIMIT);
    long got = bpf_probe_read_kernel_str(r->data + off, 1024, follow((void *)ctx->args[2], O_BINPRM_FILENAME));
    if (got > 0 && got <= 1024) {
      r->length[X_FILENAME] = got;
      off += got;
    }
  }
  APPEND_CGROUP(r, off, X_CGROUP, task);
  off += offsetof(struct process_record, data);
  MASK(off, 32767);
  if (off > sizeof(*r)) return 0;
  send_lifecycle(r, off);
  return 0;
}

int on_fork(struct bpf_raw_tracepoint_args *ctx) {
  if (is_done(AT_FORK)) return 0;
  void *task = CURRENT_TASK();
  void *child = (void *)ctx->args[1];
  struct fork_record r = {};
  u32 tid = 0;
  READ(r.pid, child, O_TASK_TGID);
  READ(tid, child, O_TASK_PID);
  if (tid != r.pid) return 0;
  fill_head(&r.head, task, K_FORK);
  READ(r.start_time, child, O_TASK_START_BOOTTIME);
  READ(r.exec_id, child, O_TASK_SELF_EXEC_ID);
  READ(r.real_parent, follow(child, O_TASK_REAL_PARENT), O_TASK_TGID);
  r.vpid = own_number(follow(child, O_TASK_THREAD_PID));
  send_lifecycle(&r, sizeof(r));
  return 0;
}

int on_exit(struct bpf_raw_tracepoint_args *ctx) {
  if (is_done(AT_EXIT)) return 0;
  void *task = CURRENT_TASK();
  struct exit_record r = {};
  void *signal = POINTER(task, O_TASK_SIGNAL);
  u32 live = 0;
  READ(live, signal, O_SIGNAL_LIVE);
  if (live) return 0;
  if (is_ignored(bpf_get_current_pid_tgid() >> 32)) return 0;
  change_facts();
  fill_head(&r.head, task, K_EXIT);
  r.status = WORD(task, O_TASK_EXIT_CODE);
  send_lifecycle(&r, sizeof(r));
  return 0;
}
