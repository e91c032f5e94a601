/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
 *
 * The operations that io_uring performs without a system call. Compiled after lanner.bpf.c, whose structs and steps it
 * uses; loaded only if the kernel has everything that it reads.
 *
 * A request is reported twice: on submission, with what it asks for, and on completion, with the result. User space
 * joins both; a request may take hours, and the kernel side stores nothing for it. The kernel copies a request's
 * arguments before it accepts the request, so paths and addresses are the kernel's own copies here.
 * Submission runs in the submitter's task or in the ring's polling thread, which is a thread of the same process with
 * the same memory, files and directory; the user is the one whose credentials the request will run with.
 */

enum operation {
  U_SENDMSG = 9, U_RECVMSG = 10, U_ACCEPT = 13, U_CONNECT = 16, U_FALLOCATE = 17, U_OPENAT = 18, U_READ = 22, U_SEND = 26, U_RECV = 27,
  U_OPENAT2 = 28, U_RENAMEAT = 35, U_UNLINKAT = 36, U_MKDIRAT = 37, U_SYMLINKAT = 38, U_LINKAT = 39, U_FSETXATTR = 41, U_SETXATTR = 42, U_SOCKET = 45,
  U_SEND_ZC = 47, U_SENDMSG_ZC = 48, U_FIXED_FD_INSTALL = 54, U_FTRUNCATE = 55, U_BIND = 56, U_LISTEN = 57, U_LIMIT = 64,
};
enum request_flag { Q_UNTOLD = 1, Q_MULTISHOT = 2, Q_RESULT_IS_FILE = 4, Q_CONNECTS = 8 };

#define AT_CWD -100
#define O_LARGEFILE_FLAG 0100000
#define ANY_SLOT 0xffffffff
#define FAST_OPEN 0x20000000 /* MSG_FASTOPEN */

/* Joins the two records of a request. The request's address is 0 if the kernel doesn't provide it with a result. */
struct request {
  u64 address, ring, user_data;
  u32 flags, pad;
};

struct ring_key {
  u64 ring, user_data;
};

/* By operation; from U_LIMIT on, its other event type, which has arguments for an address or flags. */
BPF_ARRAY(uring_calls, struct descriptor, 2 * U_LIMIT);
/* Requests that complete many times: their completions come without the request's address. */
BPF_TABLE("lru_hash", struct ring_key, u8, uring_multishot, 4096);

static __always_inline u16 uring_flags(u32 operation) {
  struct descriptor *d = uring_calls.lookup(&operation);
  return d ? d->flags : 0;
}

/* Returns the flags of an operation's descriptors if either of its event types is watched, else 0. */
static __always_inline u16 watched_flags(u32 operation) {
  u16 flags = uring_flags(operation) | uring_flags(operation + U_LIMIT);
  return flags & D_EMIT ? flags : 0;
}

static __always_inline bool is_send(u8 operation) {
  return operation == U_SEND || operation == U_SEND_ZC || operation == U_SENDMSG || operation == U_SENDMSG_ZC;
}

static __always_inline bool is_receive(u8 operation) {
  return operation == U_RECV || operation == U_RECVMSG || operation == U_READ;
}

static __always_inline u32 word_at(void *address) {
  u32 value = 0;
  bpf_probe_read_kernel(&value, sizeof(value), address);
  return value;
}

static __always_inline u64 long_at(void *address) {
  u64 value = 0;
  bpf_probe_read_kernel(&value, sizeof(value), address);
  return value;
}
#define word_of(base, o) word_at(AT(base, o))
#define long_of(base, o) long_at(AT(base, o))

/* A path or another text that the kernel has copied, and the directory of a path that is relative. */
static __always_inline u64 append_copied_path(struct syscall_record *r, struct path_buffer *buffer, void *task, u64 off,
                                              int path_region, int directory_region, void *text, s32 fd,
                                              bool has_directory) {
  if (off > DATA_LIMIT) {
    r->head.flags |= F_DATA_CUT;
    return off;
  }
  MASK(off, DATA_LIMIT);
  long got = bpf_probe_read_kernel_str(r->data + off, PATH_MAX_BYTES, text);
  if (got <= 0) return off;
  u64 n = got, at = off;
  if (n > PATH_MAX_BYTES) return off;
  r->length[path_region] = n;
  off += n;
  MASK(at, DATA_LIMIT);
  if (!has_directory || r->data[at] == '/') return off;
  void *start = AT(POINTER(task, O_TASK_FS), O_FS_PWD);
  if (fd != AT_CWD) {
    void *file = fd >= 0 ? file_of(task, fd) : 0;
    start = file ? AT(file, O_FILE_PATH) : 0;
  }
  if (start) APPEND_WALK(r, off, directory_region, start);
  return off;
}

static __always_inline u64 append_copied(struct syscall_record *r, u64 off, int region, void *from, u64 size) {
  if (off > DATA_LIMIT) {
    r->head.flags |= F_DATA_CUT;
    return off;
  }
  if (size > 255) size = 255;
  MASK(size, 255);
  MASK(off, DATA_LIMIT);
  if (bpf_probe_read_kernel(r->data + off, size, from)) return off;
  r->length[region] = size;
  return off + size;
}

/* Where connect and bind keep their address: at the start, or in some kernels after a message header, which begins with
 * a pointer; no pointer ends like the number of an address family that we read. */
static __always_inline void *copied_address(void *asynchronous) {
  u16 family = 0;
  READ(family, asynchronous, 0);
  return family & 7 ? asynchronous : AT(asynchronous, O_ASYNC_ADDRESS);
}

/* An address that the kernel copies only later, as before Linux 6.10: it may change until then. */
static __always_inline u64 append_later_address(struct syscall_record *r, u64 off, u64 address, u32 size) {
  if (address && size) APPEND_USER_BYTES(r, off, R_BLOB2, address, size, 127);
  return off;
}

/* Begins a record and returns where its data continues. */
static __always_inline u64 begin_request(struct syscall_record *r, void *task, u16 kind, struct request *q) {
  fill_head(&r->head, task, kind);
  r->result = 0;
  r->fd = -1;
  r->ino = r->dev = r->magic = r->mode = 0;
  r->vtid = own_number(follow(task, O_TASK_THREAD_PID));
  __builtin_memset(r->arguments, 0, sizeof(r->arguments));
  __builtin_memset(r->length, 0, sizeof(r->length));
  __builtin_memcpy(r->data, q, sizeof(*q));
  return sizeof(*q);
}

static __always_inline void send_request(struct syscall_record *r, u64 off) {
  off += offsetof(struct syscall_record, data);
  /* Older verifiers know that what is learned of a number also holds for its copy on the stack only if both were equal
   * registers before. */
  u64 same;
  asm volatile("%0 &= 32767; %1 = %0" : "+r"(off), "=r"(same));
  if (same > sizeof(*r)) return;
  send_event(r, off);
}

/* The file that a call operates on. */
static __always_inline u64 append_file(struct syscall_record *r, struct path_buffer *buffer, u64 off, void *file) {
  void *inode = follow(file, O_FILE_INODE), *sb = follow(inode, O_INODE_SB);
  u64 magic = 0;
  if (word_of(file, O_FILE_MODE) & 0x100000) r->head.flags |= F_CREATED; /* FMODE_CREATED */
  READ(r->mode, inode, O_INODE_MODE);
  READ(r->ino, inode, O_INODE_INO);
  READ(r->dev, sb, O_SB_DEV);
  READ(magic, sb, O_SB_MAGIC);
  r->magic = magic;
  MASK(off, DATA_LIMIT);
  if ((r->mode & 0170000) == 0140000) {
    fill_socket((struct socket_info *)(r->data + off), follow(follow(file, O_FILE_PRIVATE), O_SOCKET_SK));
    r->length[R_SOCKET] = sizeof(struct socket_info);
    return off + sizeof(struct socket_info);
  }
  void *dentry = follow(file, O_FILE_DENTRY);
  overlay_layer(&r->head, inode, magic);
  if (is_new_setuid(file)) r->head.flags |= F_NEW_SETUID;
  if (is_pseudo(file)) {
    r->head.flags |= F_PSEUDO;
    long got = bpf_probe_read_kernel_str(r->data + off, 256, follow(dentry, O_DENTRY_NAME));
    if (got > 0 && got <= 256) {
      r->length[R_KERNEL_PATH] = got;
      off += got;
    }
    return off;
  }
  APPEND_WALK(r, off, R_KERNEL_PATH, AT(file, O_FILE_PATH));
  return off;
}

/* The open file in a ring's own table, which has no descriptor. Before Linux 6.13, the table has files instead of nodes. */
static __always_inline void *direct_file(void *ring, u32 slot) {
  if (slot >= word_of(ring, O_RING_NODES_NUMBER)) return 0;
  void *node = follow(ring, O_RING_NODES) + (u64)slot * 8;
  if (NUMBER(N_RING_HAS_NODES)) node = follow(node, 0);
  return node ? (void *)(long_of(node, O_NODE_FILE) & ~7ULL) : 0;
}

/* Operations whose file is known at submission. */
static __always_inline bool has_file(u8 operation) {
  return operation == U_CONNECT || is_send(operation) || operation == U_BIND || operation == U_LISTEN ||
         operation == U_FTRUNCATE || operation == U_FALLOCATE || operation == U_FSETXATTR;
}

/* Does a request send and thereby connect, which is watched? */
static __always_inline bool connects_too(void *req, u8 operation) {
  return is_send(operation) && uring_flags(U_CONNECT) & D_EMIT && word_of(req, O_SEND_FLAGS) & FAST_OPEN;
}

int on_uring_submit(struct bpf_raw_tracepoint_args *ctx) {
  void *req = (void *)ctx->args[0];
  u8 operation = 0;
  READ(operation, req, O_REQ_OPCODE);
  bool connects = connects_too(req, operation);
  if (is_receive(operation)) return 0;
  if (!(watched_flags(operation) || connects) || is_ignored(bpf_get_current_pid_tgid() >> 32)) return 0;
  u32 zero = 0;
  struct syscall_record *r = syscall_scratch.lookup(&zero);
  struct path_buffer *buffer = path_scratch.lookup(&zero);
  struct call *call = call_scratch.lookup(&zero);
  if (!r || !buffer || !call) return 0;
  void *task = CURRENT_TASK();
  u64 flags = long_of(req, O_REQ_FLAGS);
  struct request q = {.address = (u64)req, .ring = (u64)follow(req, O_REQ_CTX), .user_data = long_of(req, O_REQ_USER_DATA)};
  if (flags & (1ULL << NUMBER(N_REQ_CQE_SKIP))) q.flags |= Q_UNTOLD;
  u64 off = begin_request(r, task, K_REQUEST, &q);
  if (flags & (1ULL << NUMBER(N_REQ_CREDS))) READ(r->head.uid, follow(req, O_REQ_CREDS), O_CRED_EUID);

  u32 descriptor = word_of(req, O_REQ_FD);
  bool is_direct = flags & (1ULL << NUMBER(N_REQ_FIXED_FILE));
  if (has_file(operation)) {
    void *file = is_direct ? direct_file((void *)q.ring, descriptor) : file_of(task, descriptor);
    if (file) off = append_file(r, buffer, off, file);
  }

  void *first = 0, *second = 0, *asynchronous = follow(req, O_REQ_ASYNC_DATA);
  s32 from = AT_CWD, to = AT_CWD;
  bool is_other = false, first_is_file = true;
  u64 *a = r->arguments, how[3] = {};
  if (operation == U_OPENAT || operation == U_OPENAT2) {
    first = follow(req, O_OPEN_FILENAME);
    from = word_of(req, O_OPEN_DFD);
    a[0] = (u32)from;
    bpf_probe_read_kernel(how, sizeof(how), AT(req, O_OPEN_HOW));
    /* The kernel adds this flag itself. */
    how[0] &= ~(u64)O_LARGEFILE_FLAG;
    if (operation == U_OPENAT) {
      a[2] = how[0];
      a[3] = how[1];
    }
  } else if (operation == U_UNLINKAT) {
    first = follow(req, O_UNLINK_FILENAME);
    from = word_of(req, O_UNLINK_DFD);
    a[0] = (u32)from;
    a[2] = word_of(req, O_UNLINK_FLAGS);
  } else if (operation == U_MKDIRAT) {
    u16 mode = 0;
    READ(mode, req, O_MKDIR_MODE);
    first = follow(req, O_MKDIR_FILENAME);
    from = word_of(req, O_MKDIR_DFD);
    a[0] = (u32)from;
    a[2] = mode;
  } else if (operation == U_RENAMEAT) {
    first = follow(req, O_RENAME_OLDPATH);
    second = follow(req, O_RENAME_NEWPATH);
    from = word_of(req, O_RENAME_OLD_DFD);
    to = word_of(req, O_RENAME_NEW_DFD);
    a[0] = (u32)from;
    a[2] = (u32)to;
    a[4] = word_of(req, O_RENAME_FLAGS);
    is_other = a[4] != 0;
  } else if (operation == U_LINKAT) {
    first = follow(req, O_LINK_OLDPATH);
    second = follow(req, O_LINK_NEWPATH);
    from = word_of(req, O_LINK_OLD_DFD);
    to = word_of(req, O_LINK_NEW_DFD);
    a[0] = (u32)from;
    a[2] = (u32)to;
    a[4] = word_of(req, O_LINK_FLAGS);
  } else if (operation == U_SYMLINKAT) {
    first = follow(req, O_LINK_OLDPATH);
    first_is_file = false;
    second = follow(req, O_LINK_NEWPATH);
    to = word_of(req, O_LINK_NEW_DFD);
    a[1] = (u32)to;
  } else if (operation == U_SOCKET) {
    a[0] = word_of(req, O_SOCKET_OP_DOMAIN);
    a[1] = word_of(req, O_SOCKET_OP_TYPE);
    a[2] = word_of(req, O_SOCKET_OP_PROTOCOL);
  } else if (operation != U_SETXATTR) {
    a[0] = descriptor;
    if (operation != U_ACCEPT) r->fd = descriptor;
  }
  void *text = first ? follow(first, O_FILENAME_NAME) : 0;
  if (operation == U_SETXATTR || operation == U_FSETXATTR) {
    text = follow(req, O_XATTR_NAME);
    first_is_file = false;
    a[4] = word_of(req, O_XATTR_FLAGS);
    if (operation == U_SETXATTR) second = follow(req, O_XATTR_FILENAME);
  }
  off = forgotten(call, off);
  if (text) off = append_copied_path(r, buffer, task, off, R_PATH1, R_DIR1, text, from, first_is_file);
  off = forgotten(call, off);
  if (second)
    off = append_copied_path(r, buffer, task, off, R_PATH2, R_DIR2, follow(second, O_FILENAME_NAME), to, true);

  off = forgotten(call, off);
  if (operation == U_OPENAT2) {
    off = append_copied(r, off, R_BLOB1, how, sizeof(how));
  } else if (operation == U_ACCEPT) {
    a[3] = word_of(req, O_ACCEPT_FLAGS);
    is_other = a[3] != 0;
    if (flags & (1ULL << NUMBER(N_REQ_MULTISHOT))) {
      struct ring_key key = {q.ring, q.user_data};
      u8 one = 1;
      uring_multishot.update(&key, &one);
      ((struct request *)r->data)->flags |= Q_MULTISHOT;
    }
  } else if (operation == U_CONNECT && !asynchronous) {
    off = append_later_address(r, off, long_of(req, O_CONNECT_ADDRESS), word_of(req, O_CONNECT_LENGTH));
  } else if (operation == U_CONNECT) {
    off = append_copied(r, off, R_BLOB2, copied_address(asynchronous), word_of(req, O_CONNECT_LENGTH));
  } else if (operation == U_BIND) {
    off = append_copied(r, off, R_BLOB2, copied_address(asynchronous), word_of(req, O_BIND_LENGTH));
  } else if (operation == U_LISTEN) {
    a[1] = word_of(req, O_LISTEN_BACKLOG);
  } else if (operation == U_FTRUNCATE) {
    a[1] = long_of(req, O_FTRUNCATE_LENGTH);
  } else if (operation == U_FALLOCATE) {
    a[1] = word_of(req, O_FALLOCATE_MODE);
  } else if (is_send(operation)) {
    u64 data = long_of(req, O_SEND_BUFFER), size = word_of(req, O_SEND_LENGTH);
    bool is_message = operation == U_SENDMSG || operation == U_SENDMSG_ZC;
    u64 name[2] = {};
    if (!asynchronous && is_message) {
      bpf_probe_read_user(name, sizeof(name), (void *)data);
    } else if (!asynchronous && NUMBER(N_SEND_HAS_ADDRESS)) {
      name[0] = long_of(req, O_SEND_ADDRESS);
      name[1] = word_of(req, O_SEND_ADDRESS_LENGTH) & 0xffff;
    }
    if (is_message) {
      u64 vector = 0, piece[2] = {};
      bpf_probe_read_user(&vector, 8, (void *)data + 16);
      bpf_probe_read_user(piece, sizeof(piece), (void *)vector);
      data = piece[0];
      size = piece[1];
    } else {
      a[2] = size;
    }
    if (size > 80) size = 80;
    if (data && size) APPEND_USER_BYTES(r, off, R_BLOB1, data, size, 127);
    if (asynchronous && follow(asynchronous, O_ASYNC_NAME)) {
      is_other = !is_message;
      off = append_copied(r, off, R_BLOB2, AT(asynchronous, O_ASYNC_ADDRESS), word_of(asynchronous, O_ASYNC_NAME_LENGTH));
    } else if (name[0]) {
      is_other = !is_message;
      off = append_later_address(r, off, name[0], name[1]);
    }
  }
  u32 chosen = is_other ? (u32)operation + U_LIMIT : operation;
  struct descriptor *d = uring_calls.lookup(&chosen);
  if (!d) return 0;
  if (connects && d->flags & D_EMIT) ((struct request *)r->data)->flags |= Q_CONNECTS;
  if (connects && !(d->flags & D_EMIT)) {
    chosen = U_CONNECT;
    d = uring_calls.lookup(&chosen);
    if (!d) return 0;
  }
  if (!(d->flags & D_EMIT)) return 0;
  r->event = d->event;
  send_request(r, off);
  return 0;
}

/* Reports the result of a request. */
static __always_inline void send_result(struct request *q, void *req, s32 result, int slot_at) {
  u32 zero = 0;
  struct syscall_record *r = syscall_scratch.lookup(&zero);
  struct path_buffer *buffer = path_scratch.lookup(&zero);
  if (!r || !buffer) return;
  void *task = CURRENT_TASK(), *file = 0;
  u64 off = begin_request(r, task, K_RESULT, q);
  r->result = result;
  r->event = 0;
  /* A kernel thread ends the requests of a process that has exited. */
  if (!(WORD(task, O_TASK_FLAGS) & PF_KTHREAD_FLAG)) {
    if (!(q->flags & Q_RESULT_IS_FILE)) {
      file = follow(req, 0);
    } else if (result >= 0) {
      u32 slot = slot_at ? word_at(req + slot_at) : 0;
      if (!slot) file = file_of(task, result);
      else file = direct_file((void *)q->ring, slot == ANY_SLOT ? result : slot - 1);
    }
  }
  if (file) off = append_file(r, buffer, off, file);
  send_request(r, off);
}

/* Reports a request that has received something from a name server, as find_answer() does calls; other receives are not
 * reported. It is one record, like that of a request whose result nobody is told: what it has received is in memory now. */
static __always_inline void send_answer(struct request *q, void *req, u8 operation, s32 result) {
  u32 zero = 0;
  struct syscall_record *r = syscall_scratch.lookup(&zero);
  struct path_buffer *buffer = path_scratch.lookup(&zero);
  struct call *call = call_scratch.lookup(&zero);
  u32 chosen = operation;
  struct descriptor *d = uring_calls.lookup(&chosen);
  void *task = CURRENT_TASK(), *file = follow(req, 0);
  if (!r || !buffer || !call || !d || result <= 0 || !file || WORD(task, O_TASK_FLAGS) & PF_KTHREAD_FLAG) return;
  u16 mode = 0, family = 0, port = 0, sender[2] = {};
  READ(mode, follow(file, O_FILE_INODE), O_INODE_MODE);
  if ((mode & 0170000) != 0140000) return;
  void *sk = follow(follow(file, O_FILE_PRIVATE), O_SOCKET_SK);
  READ(family, sk, O_SOCK_FAMILY);
  READ(port, sk, O_SOCK_DPORT);
  if (family != AF_INET && family != AF_INET6) return;
  u64 address = operation == U_READ ? long_of(req, O_READ_ADDRESS) : long_of(req, O_SEND_BUFFER), message[4] = {}, size = result;
  if (operation == U_RECVMSG) {
    u64 piece[2] = {};
    bpf_probe_read_user(message, sizeof(message), (void *)address);
    bpf_probe_read_user(piece, sizeof(piece), (void *)message[2]);
    bpf_probe_read_user(sender, sizeof(sender), (void *)message[0]);
    address = piece[0];
    if (piece[1] < size) size = piece[1];
    if (!port) port = sender[1];
  }
  if (port != DNS_PORT) return;
  q->flags = Q_UNTOLD;
  u64 off = begin_request(r, task, K_REQUEST, q);
  r->head.flags |= F_CONTENTS;
  r->event = d->event;
  r->result = result;
  r->fd = r->arguments[0] = word_of(req, O_REQ_FD);
  off = append_file(r, buffer, off, file);
  off = forgotten(call, off);
  APPEND_USER_BYTES(r, off, R_BLOB1, address, size, ANSWER_BYTES);
  if (message[0]) APPEND_USER_BYTES(r, off, R_BLOB2, message[0], 28, 255);
  send_request(r, off);
}

int on_uring_complete(struct bpf_raw_tracepoint_args *ctx) {
  void *ring = (void *)ctx->args[0], *req = (void *)ctx->args[1], *cqe = (void *)ctx->args[2];
  /* Older kernels provide what is in this entry instead of it. */
  bool has_cqe = NUMBER(N_COMPLETE_HAS_CQE);
  /* Of requests that complete many times, only accepts are reported. */
  u8 operation = U_ACCEPT;
  if (req) READ(operation, req, O_REQ_OPCODE);
  u16 flags = watched_flags(operation);
  if (!(flags || (req && connects_too(req, operation))) || is_ignored(bpf_get_current_pid_tgid() >> 32)) return 0;
  struct request q = {.address = (u64)req, .ring = (u64)ring, .user_data = has_cqe ? long_of(cqe, 0) : (u64)cqe};
  struct ring_key key = {q.ring, q.user_data};
  s32 result = has_cqe ? word_of(cqe, 8) : (s32)ctx->args[3];
  int slot_at = 0;
  if (req && is_receive(operation)) {
    send_answer(&q, req, operation, result);
    return 0;
  }
  if (flags & D_FD_IS_RESULT) q.flags = Q_RESULT_IS_FILE;
  if (!req) {
    if (!uring_multishot.lookup(&key)) return 0;
    send_result(&q, 0, result, 0);
    return 0;
  }
  if (operation == U_OPENAT || operation == U_OPENAT2) slot_at = NUMBER(O_OPEN_SLOT);
  if (operation == U_SOCKET) slot_at = NUMBER(O_SOCKET_OP_SLOT);
  if (operation == U_ACCEPT) {
    slot_at = NUMBER(O_ACCEPT_SLOT);
    uring_multishot.delete(&key);
  }
  send_result(&q, req, result, slot_at);
  return 0;
}

/* The completion queue is full: the kernel stores the result elsewhere and provides only this about its request. */
int on_uring_overflow(struct bpf_raw_tracepoint_args *ctx) {
  if (is_ignored(bpf_get_current_pid_tgid() >> 32)) return 0;
  struct request q = {.ring = ctx->args[0], .user_data = ctx->args[1], .flags = Q_RESULT_IS_FILE};
  send_result(&q, 0, (s32)ctx->args[2], 0);
  return 0;
}
