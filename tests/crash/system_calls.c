/* Stops a process at its n-th system call that changes files below a folder, or records them all.
 *
 * A seccomp filter sends these calls to the SIGSYS handler below, wherever they come from (Python,
 * Rust, C++, the C library itself). The handler counts those below the folder, makes the call in
 * the place of the process, and writes it to a log. At the chosen number it kills the process
 * instead. For a record, every file is copied as it is after each call that changes its content.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define PATH 4096

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
__asm__(".globl own_call\n own_call:\n mov %rdi,%rax\n mov %rsi,%rdi\n mov %rdx,%rsi\n"
        " mov %rcx,%rdx\n mov %r8,%r10\n mov %r9,%r8\n mov 8(%rsp),%r9\n syscall\n"
        ".globl own_call_end\n own_call_end:\n ret\n");
#define ARGUMENT(c, i) ((long)(c)->uc_mcontext.gregs[(const int[]){REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9}[i]])
#define RETURN(c) (c)->uc_mcontext.gregs[REG_RAX]
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
__asm__(".globl own_call\n own_call:\n mov x8,x0\n mov x0,x1\n mov x1,x2\n mov x2,x3\n"
        " mov x3,x4\n mov x4,x5\n mov x5,x6\n svc #0\n"
        ".globl own_call_end\n own_call_end:\n ret\n");
#define ARGUMENT(c, i) ((long)(c)->uc_mcontext.regs[i])
#define RETURN(c) (c)->uc_mcontext.regs[0]
#else
#error "only x86-64 and arm64"
#endif

long own_call(long number, long a, long b, long c, long d, long e, long f);
extern char own_call_end[];

static char root[PATH], copies[PATH];
static size_t root_length;
static long stop_at, done;
static int log_file = -1;
static volatile char busy;

static const int changing[] = {
#ifdef SYS_open
    SYS_open, SYS_creat, SYS_rename, SYS_unlink, SYS_rmdir, SYS_link, SYS_mkdir, SYS_symlink,
#endif
    SYS_openat, SYS_write, SYS_pwrite64, SYS_writev, SYS_pwritev, SYS_pwritev2,
#ifdef SYS_renameat
    SYS_renameat,
#endif
    SYS_renameat2, SYS_unlinkat, SYS_linkat, SYS_mkdirat, SYS_symlinkat, SYS_ftruncate,
    SYS_truncate, SYS_fallocate, SYS_fsync, SYS_fdatasync, SYS_copy_file_range, SYS_sendfile,
};
#define CHANGING (sizeof changing / sizeof *changing)

static int of_descriptor(long descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%ld", descriptor);
    long n = own_call(SYS_readlinkat, AT_FDCWD, (long)link, (long)path, PATH - 1, 0, 0);
    path[n > 0 ? n : 0] = 0;
    return n > 0;
}

static void of_name(long folder, const char *name, char *path) {
    path[0] = 0;
    if (!name) return;
    if (name[0] != '/') {
        if ((int)folder == AT_FDCWD) {
            long n = own_call(SYS_readlinkat, AT_FDCWD, (long)"/proc/self/cwd", (long)path, PATH - 1, 0, 0);
            path[n > 0 ? n : 0] = 0;
        } else of_descriptor(folder, path);
        strncat(path, "/", PATH - strlen(path) - 1);
    }
    strncat(path, name, PATH - strlen(path) - 1);
}

static int below(const char *path) {
    return !strncmp(path, root, root_length) && (!path[root_length] || path[root_length] == '/');
}

static void copy_content(const char *path) {
    char target[PATH + 32], block[4096];
    snprintf(target, sizeof target, "%s/%ld", copies, done);
    long in = own_call(SYS_openat, AT_FDCWD, (long)path, O_RDONLY, 0, 0, 0), n;
    long out = own_call(SYS_openat, AT_FDCWD, (long)target, O_WRONLY | O_CREAT | O_TRUNC, 0600, 0, 0);
    while ((n = own_call(SYS_read, in, (long)block, sizeof block, 0, 0, 0)) > 0)
        own_call(SYS_write, out, (long)block, n, 0, 0, 0);
    own_call(SYS_close, in, 0, 0, 0, 0, 0);
    own_call(SYS_close, out, 0, 0, 0, 0, 0);
}

/* Names of the calls in the log: create, write, rename, link, unlink, rmdir, mkdir, sync. */
static const char *kind_of(int number, int created, long flags) {
    switch (number) {
#ifdef SYS_open
    case SYS_rename: return "rename";
    case SYS_unlink: return "unlink";
    case SYS_rmdir: return "rmdir";
    case SYS_link: case SYS_symlink: return "link";
    case SYS_mkdir: return "mkdir";
    case SYS_open: case SYS_creat:
#endif
    case SYS_openat: return created ? "create" : "write";
#ifdef SYS_renameat
    case SYS_renameat:
#endif
    case SYS_renameat2: return "rename";
    case SYS_unlinkat: return flags & AT_REMOVEDIR ? "rmdir" : "unlink";
    case SYS_linkat: case SYS_symlinkat: return "link";
    case SYS_mkdirat: return "mkdir";
    case SYS_fsync: case SYS_fdatasync: return "sync";
    default: return "write";
    }
}

static void on_call(int signal, siginfo_t *info, void *context) {
    (void)signal;
    ucontext_t *c = context;
    int saved = errno, number = info->si_syscall, opens = 0;
    long a[6], flags = 0;
    char path[PATH], target[PATH] = "";
    for (int i = 0; i < 6; i++) a[i] = ARGUMENT(c, i);
    switch (number) {
#ifdef SYS_open
    case SYS_open: opens = 1; flags = a[1]; of_name(AT_FDCWD, (char *)a[0], path); break;
    case SYS_creat: opens = 1; flags = O_CREAT | O_TRUNC; of_name(AT_FDCWD, (char *)a[0], path); break;
    case SYS_rename: case SYS_link: of_name(AT_FDCWD, (char *)a[0], path); of_name(AT_FDCWD, (char *)a[1], target); break;
    case SYS_symlink: of_name(AT_FDCWD, (char *)a[1], path); break;
    case SYS_unlink: case SYS_rmdir: case SYS_mkdir: of_name(AT_FDCWD, (char *)a[0], path); break;
#endif
    case SYS_openat: opens = 1; flags = a[2]; of_name(a[0], (char *)a[1], path); break;
#ifdef SYS_renameat
    case SYS_renameat:
#endif
    case SYS_renameat2: case SYS_linkat: of_name(a[0], (char *)a[1], path); of_name(a[2], (char *)a[3], target); break;
    case SYS_symlinkat: of_name(a[1], (char *)a[2], path); break;
    case SYS_unlinkat: flags = a[2]; of_name(a[0], (char *)a[1], path); break;
    case SYS_mkdirat: of_name(a[0], (char *)a[1], path); break;
    case SYS_truncate: of_name(AT_FDCWD, (char *)a[0], path); break;
    case SYS_copy_file_range: of_descriptor(a[2], path); break;
    default: of_descriptor(a[0], path); break; /* of a descriptor, which comes first */
    }
    if ((opens && !(flags & (O_CREAT | O_TRUNC))) || !(below(path) || below(target))) {
        RETURN(c) = own_call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
        errno = saved;
        return;
    }
    while (__atomic_test_and_set(&busy, __ATOMIC_ACQUIRE)) own_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    if (++done == stop_at) {
        own_call(SYS_kill, own_call(SYS_getpid, 0, 0, 0, 0, 0, 0), SIGKILL, 0, 0, 0, 0);
        for (;;) own_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    }
    int created = opens && own_call(SYS_faccessat, AT_FDCWD, (long)path, 0, 0, 0, 0) < 0;
    long result = own_call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (log_file >= 0 && result >= 0) {
        char line[2 * PATH + 64];
        const char *kind = kind_of(number, created, flags);
        int n = snprintf(line, sizeof line, "%ld\t%s\t%s\t%s\n", done, kind, path, target);
        own_call(SYS_write, log_file, (long)line, n, 0, 0, 0);
        if (kind[0] == 'w') copy_content(path);
    }
    __atomic_clear(&busy, __ATOMIC_RELEASE);
    RETURN(c) = result;
    errno = saved;
}

/* The number of calls so far. */
long counted(void) { return done; }

/* Begin: kill at the given call (0: never); record into a folder unless it is empty. 0 if it works. */
int arm(const char *folder, long at, const char *record) {
    struct sock_filter filter[2 * CHANGING + 16];
    int n = 0;
    uint64_t allowed = (uint64_t)own_call_end;
    strncpy(root, folder, PATH - 1);
    root_length = strlen(root);
    stop_at = at;
    if (record[0]) {
        char file[PATH];
        strncpy(copies, record, PATH - 1);
        snprintf(file, sizeof file, "%s/log", record);
        log_file = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (log_file < 0) return -1;
    }
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, field)
#define EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define ANSWER(value) BPF_STMT(BPF_RET | BPF_K, value)
    filter[n++] = (struct sock_filter)LOAD(offsetof(struct seccomp_data, arch));
    filter[n++] = (struct sock_filter)EQUAL(ARCH, 1, 0);
    filter[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);
    filter[n++] = (struct sock_filter)LOAD(offsetof(struct seccomp_data, instruction_pointer));
    filter[n++] = (struct sock_filter)EQUAL((uint32_t)allowed, 0, 3);
    filter[n++] = (struct sock_filter)LOAD(offsetof(struct seccomp_data, instruction_pointer) + 4);
    filter[n++] = (struct sock_filter)EQUAL((uint32_t)(allowed >> 32), 0, 1);
    filter[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);
    filter[n++] = (struct sock_filter)LOAD(offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < CHANGING; i++) {
        filter[n++] = (struct sock_filter)EQUAL((uint32_t)changing[i], 0, 1);
        filter[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_TRAP);
    }
    filter[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);
    struct sock_fprog program = {n, filter};
    struct sigaction action = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO | SA_NODEFER};
    if (sigaction(SIGSYS, &action, NULL)) return -1;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
}
