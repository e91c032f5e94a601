/* Stands for the kernel and for BCC's maps, so that lanner.bpf.c compiles into a library that a test can call: tables are
 * arrays that the test fills, kernel objects lie in one piece of memory that it writes. */
#include <stddef.h>
#include <string.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;
typedef _Bool bool;
#define true 1
#define false 0
#define __always_inline inline __attribute__((always_inline))

u64 memory_start, memory_end, current_task, current_registers, current_thread, current_cpu, now = 1000;
/* What was put into the ring of events since the test looked, one behind the other, each behind its size. */
char told[1 << 18];
u64 told_size, ring_is_full;

/* Tables: the cells are what the test writes. */
#define BPF_ARRAY(name, type, size) \
  type name##_cells[size]; \
  static type *name##_lookup(const void *key) { return *(u32 *)key < (size) ? &name##_cells[*(u32 *)key] : 0; } \
  static struct { type *(*lookup)(const void *); } name = { name##_lookup }
#define BPF_PERCPU_ARRAY(name, type, size) BPF_ARRAY(name, type, size)
#define BPF_HASH(name, key_type, type, size) \
  static type *name##_lookup(const void *key) { return 0; } \
  static long name##_update(const void *key, const void *value) { return 0; } \
  static long name##_delete(const void *key) { return 0; } \
  static struct { type *(*lookup)(const void *); long (*update)(const void *, const void *), (*delete)(const void *); } \
    name = { name##_lookup, name##_update, name##_delete }

#define BPF_F_TABLE(kind, key_type, type, name, size, flags) BPF_ARRAY(name, type, size)
/* By number, and what is asked for is there; the last bytes of a number decide. */
#define BPF_TABLE(kind, key_type, type, name, size) \
  type name##_cells[size]; \
  static type *name##_lookup(const void *key, const type *fresh) { return &name##_cells[*(u32 *)key % (size)]; } \
  static type *name##_known(const void *key) { return name##_lookup(key, 0); } \
  static struct { type *(*lookup_or_try_init)(const void *, const type *), *(*lookup)(const void *); } name = \
    { name##_lookup, name##_known }

/* Does a key begin with the bits of an entry? Each begins with the number of its bits. */
static bool begins_with(const u8 *key, const u8 *entry)
{
  u32 bits = *(u32 *)entry;
  return bits <= *(u32 *)key && !memcmp(key + 4, entry + 4, bits / 8);
}

#define BPF_LPM_TRIE(name, key_type, type, size) \
  key_type name##_keys[size]; \
  type name##_cells[size]; \
  u32 name##_used; \
  static type *name##_lookup(const void *key) { \
    u32 best = size; \
    for (u32 i = 0; i < name##_used; i++) \
      if (begins_with(key, (u8 *)&name##_keys[i]) && (best == size || *(u32 *)&name##_keys[i] > *(u32 *)&name##_keys[best])) best = i; \
    return best == size ? 0 : &name##_cells[best]; \
  } \
  static struct { type *(*lookup)(const void *); } name = { name##_lookup }

/* What a program goes on to: each is there, and none comes back. */
int tell_state(u64 *), judge_call(u64 *), judge_path(u64 *), tell_call(u64 *), send_call(u64 *);
static int (*const in_steps[])(u64 *) = { tell_state, judge_call, judge_path, tell_call, send_call };
static void go_on(void *context, u32 step) { in_steps[step](context); }
#define BPF_PROG_ARRAY(name, size) static struct { void (*call)(void *, u32); } name = { go_on }

static int tell(void *record, u64 size, u64 flags)
{
  if (ring_is_full) return -11;
  memcpy(told + told_size, &size, sizeof(size));
  memcpy(told + told_size + sizeof(size), record, size);
  told_size += sizeof(size) + size;
  return 0;
}

static int discard(void *record, u64 size, u64 flags)
{
  return 0;
}

#define BPF_RINGBUF_OUTPUT(name, pages) static struct { int (*ringbuf_output)(void *, u64, u64); } name = { RING_##name }
#define RING_events tell
#define RING_lifecycle discard

/* What the kernel offers. An address that isn't in the test's memory is one that can't be read. */
static bool is_user_memory(const void *address)
{
  return (u64)address >= memory_start && (u64)address < memory_end;
}

static long copy(void *to, u32 size, const void *from, bool readable)
{
  if (!readable) memset(to, 0, size);
  else memcpy(to, from, size);
  return readable ? 0 : -14;
}

static long copy_text(char *to, u32 size, const char *from, bool readable)
{
  if (!readable || !size) return -14;
  size_t length = strnlen(from, size - 1);
  memcpy(to, from, length);
  to[length] = 0;
  return length + 1;
}

#define bpf_probe_read_kernel(to, size, from) copy(to, size, from, (u64)(from) >= 65536)
#define bpf_probe_read_kernel_str(to, size, from) copy_text((char *)(to), size, (const char *)(from), (u64)(from) >= 65536)
#define bpf_probe_read_user(to, size, from) copy(to, size, from, is_user_memory(from))
#define bpf_probe_read_user_str(to, size, from) copy_text((char *)(to), size, (const char *)(from), is_user_memory(from))
/* bpf_rdonly_cast: its result is read like memory, and what can't be read is 0. */
static char nothing[8192];
static void *cast_object(void *address, u32 type)
{
  return (u64)address >= 65536 ? address : nothing;
}
#define bpf_get_current_task_btf() current_task
#define bpf_task_pt_regs(task) current_registers
#define bpf_get_current_pid_tgid() current_thread
#define bpf_ktime_get_boot_ns() now
#define bpf_get_smp_processor_id() current_cpu
