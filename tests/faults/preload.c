/* Loaded before libc (LD_PRELOAD): records what a process writes and syncs under one folder, makes system calls fail by
 * rules, and shifts the wall clock. library.py builds it, and says in one place what a control file holds.
 *
 *   FAULTS_CONTROL  the control file: a page of counters, then the rules as text. All processes map it.
 *   FAULTS_ROOT     the folder that is recorded and in which calls fail; a real path
 *   FAULTS_LOG      a folder for recordings, one file for each process; nothing is recorded where it is not set
 *
 * Descriptors are not tracked: /proc/self/fd names the file of each call, so fork, dup and rename need no care.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define REAL(name) ((__typeof__(&name))real(#name))

enum { CONTROL_SIZE = 65536, RULES_AT = 4096, MOST_RULES = 64 };
enum { SEQUENCE, CLOCK_OFFSET_NS, GENERATION, FLAGS, INJECTED, MATCHES = 64, HITS = 128 }; /* words of the first page */
enum { SPARSE = 1, NO_SYNC = 2 };                                                          /* flags */
enum { CREATE = 1, WRITE, TRUNCATE, ALLOCATE, RENAME, LINK, UNLINK, MAKE_FOLDER, REMOVE_FOLDER, SYNC }; /* events */

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

/* -- what is shared by all processes -- */

static _Atomic uint64_t *words; /* the control file; NULL while nothing is to be done */
static const char *rules_text;
static char root[PATH_MAX];
static size_t root_size;
static char log_folder[PATH_MAX];

static uint64_t next_moment(void) { return atomic_fetch_add(&words[SEQUENCE], 1); }

/* -- rules: which calls fail, and how -- */

struct rule {
    char call[24];
    char pattern[256];
    int error, is_short, is_late, delay_us;
    uint64_t every, after, times, seed;
    double probability;
};

struct verdict {
    int error, is_short, is_late;
};

static struct rule rules[MOST_RULES];
static int rule_count;
static uint64_t rules_generation;
static pthread_mutex_t rules_lock = PTHREAD_MUTEX_INITIALIZER;

static void parse_word(struct rule *rule, const char *word) {
    const char *value = strchr(word, '=');
    if (!value) return;
    value++;
    if (!strncmp(word, "call=", 5)) snprintf(rule->call, sizeof rule->call, "%s", value);
    if (!strncmp(word, "path=", 5)) snprintf(rule->pattern, sizeof rule->pattern, "%s", value);
    if (!strncmp(word, "errno=", 6)) rule->error = atoi(value);
    if (!strncmp(word, "short=", 6)) rule->is_short = atoi(value);
    if (!strncmp(word, "late=", 5)) rule->is_late = atoi(value);
    if (!strncmp(word, "delay_us=", 9)) rule->delay_us = atoi(value);
    if (!strncmp(word, "every=", 6)) rule->every = strtoull(value, NULL, 10);
    if (!strncmp(word, "after=", 6)) rule->after = strtoull(value, NULL, 10);
    if (!strncmp(word, "times=", 6)) rule->times = strtoull(value, NULL, 10);
    if (!strncmp(word, "seed=", 5)) rule->seed = strtoull(value, NULL, 10);
    if (!strncmp(word, "probability=", 12)) rule->probability = atof(value);
}

static void read_rules(uint64_t generation) {
    static char text[CONTROL_SIZE - RULES_AT];
    memcpy(text, rules_text, sizeof text);
    text[sizeof text - 1] = 0;
    rule_count = 0;
    char *lines = NULL, *words_of_line = NULL;
    for (char *line = strtok_r(text, "\n", &lines); line && rule_count < MOST_RULES; line = strtok_r(NULL, "\n", &lines)) {
        struct rule *rule = &rules[rule_count++];
        *rule = (struct rule){.every = 1, .times = UINT64_MAX, .probability = 1};
        strcpy(rule->pattern, "*");
        for (char *word = strtok_r(line, " ", &words_of_line); word; word = strtok_r(NULL, " ", &words_of_line))
            parse_word(rule, word);
    }
    rules_generation = generation;
}

static double random_of(uint64_t seed, uint64_t count) { /* splitmix64, from 0 to 1 */
    uint64_t z = seed * 0x9e3779b97f4a7c15u + count * 0xd1b54a32d192ed03u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

/* The verdict on a call; sleeps as long as the rule says. A generation that is odd is being written. */
static int is_to_fail(const char *call, const char *path, struct verdict *verdict) {
    uint64_t generation = atomic_load(&words[GENERATION]);
    int delay_us = -1;
    if (generation == 0 || generation % 2 || strncmp(path, root, root_size)) return 0;
    const char *inside = path + root_size;
    pthread_mutex_lock(&rules_lock);
    if (generation != rules_generation) read_rules(generation);
    for (int i = 0; i < rule_count && delay_us < 0; i++) {
        struct rule *rule = &rules[i];
        if (strcmp(rule->call, call) || fnmatch(rule->pattern, inside, 0)) continue;
        uint64_t count = atomic_fetch_add(&words[MATCHES + i], 1) + 1;
        if (count <= rule->after || (count - rule->after) % rule->every) continue;
        if (rule->probability < 1 && random_of(rule->seed, count) >= rule->probability) continue;
        if (atomic_load(&words[HITS + i]) >= rule->times) continue;
        atomic_fetch_add(&words[HITS + i], 1);
        atomic_fetch_add(&words[INJECTED], 1);
        *verdict = (struct verdict){rule->error, rule->is_short, rule->is_late};
        delay_us = rule->delay_us;
    }
    pthread_mutex_unlock(&rules_lock);
    if (delay_us > 0) usleep((useconds_t)delay_us);
    return delay_us >= 0;
}

/* -- the recording -- */

struct event {
    uint64_t begun, ended, inode, data_size;
    int64_t offset, size;
    uint32_t kind, error, process, path_size, other_size, mode;
};

static int log_fd = -1;
static pid_t log_owner;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static void open_log(void) {
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%llu-%d.log", log_folder, (unsigned long long)next_moment(), getpid());
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 900); /* out of the way of descriptors that a program counts on */
    syscall(SYS_close, fd);
    log_owner = getpid();
}

static void put_all(struct iovec *parts, int count) {
    while (count) {
        ssize_t done = syscall(SYS_writev, log_fd, parts, count);
        if (done < 0) {
            static const char sentence[] = "faults: a recording cannot be written\n";
            syscall(SYS_write, 2, sentence, sizeof sentence - 1);
            abort(); /* a recording with a hole would prove nothing */
        }
        while (count && (size_t)done >= parts->iov_len) done -= (ssize_t)parts->iov_len, parts++, count--;
        if (count) parts->iov_base = (char *)parts->iov_base + done, parts->iov_len -= (size_t)done;
    }
}

static void record(struct event event, const char *path, const char *other, const struct iovec *data, int data_count) {
    if (!log_folder[0]) return;
    int saved = errno;
    struct iovec parts[64];
    int count = 0;
    event.process = (uint32_t)getpid();
    event.path_size = (uint32_t)strlen(path);
    event.other_size = (uint32_t)strlen(other);
    parts[count++] = (struct iovec){&event, sizeof event};
    parts[count++] = (struct iovec){(void *)path, event.path_size};
    parts[count++] = (struct iovec){(void *)other, event.other_size};
    uint64_t left = event.data_size;
    for (int i = 0; i < data_count && left && count < 64; i++) {
        size_t size = data[i].iov_len < left ? data[i].iov_len : left;
        parts[count++] = (struct iovec){data[i].iov_base, size};
        left -= size;
    }
    pthread_mutex_lock(&log_lock);
    if (log_fd < 0 || log_owner != getpid()) open_log();
    event.ended = next_moment(); /* under the lock: a process's recording is in the order of its ends */
    put_all(parts, count);
    pthread_mutex_unlock(&log_lock);
    errno = saved;
}

/* -- which file a call is about -- */

static int is_inside(const char *path) {
    return words && root_size && !strncmp(path, root, root_size) && (path[root_size] == '/' || !path[root_size]);
}

static int path_of(int fd, char *path) { /* true where it is in the folder */
    if (!words || !root_size || fd < 0) return 0;
    int saved = errno;
    char link[48];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    errno = saved;
    if (size <= 0) return 0;
    path[size] = 0;
    return is_inside(path);
}

static int resolve(int folder, const char *path, char *whole) {
    if (!words || !root_size || !path) return 0;
    if (path[0] == '/') {
        snprintf(whole, PATH_MAX, "%s", path);
        return is_inside(whole);
    }
    char base[PATH_MAX];
    if (folder == AT_FDCWD) {
        if (syscall(SYS_getcwd, base, sizeof base) < 0) return 0;
    } else if (!path_of(folder, base))
        return 0;
    if ((size_t)snprintf(whole, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return 0;
    return is_inside(whole);
}

static uint64_t inode_of(int fd) {
    struct stat status;
    int saved = errno;
    uint64_t inode = syscall(SYS_newfstatat, fd, "", &status, AT_EMPTY_PATH) ? 0 : status.st_ino;
    errno = saved;
    return inode;
}

static uint64_t inode_at(const char *path) { /* 0 where there is nothing */
    struct stat status;
    int saved = errno;
    uint64_t inode = syscall(SYS_newfstatat, AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) ? 0 : status.st_ino;
    errno = saved;
    return inode;
}

#define FAIL(code) return errno = (code), -1

/* -- opening -- */

static int open_file(int folder, const char *path, int flags, mode_t mode) {
    char whole[PATH_MAX];
    struct verdict verdict;
    if (!resolve(folder, path, whole)) return (int)syscall(SYS_openat, folder, path, flags, mode);
    if (is_to_fail("open", whole, &verdict)) FAIL(verdict.error);
    int may_make = (flags & O_CREAT) && !inode_at(whole);
    struct event event = {.begun = next_moment()};
    int fd = (int)syscall(SYS_openat, folder, path, flags, mode);
    if (fd < 0) return fd;
    event.inode = inode_of(fd);
    event.mode = (uint32_t)mode;
    event.kind = may_make ? CREATE : TRUNCATE;
    if (may_make || (flags & O_TRUNC)) record(event, whole, "", NULL, 0);
    return fd;
}

static mode_t mode_in(int flags, va_list rest) {
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(rest, mode_t) : 0;
}

#define OPENING(name)                                                \
    EXPORT int name(const char *path, int flags, ...) {              \
        va_list rest;                                                \
        va_start(rest, flags);                                       \
        mode_t mode = mode_in(flags, rest);                          \
        va_end(rest);                                                \
        return open_file(AT_FDCWD, path, flags, mode);               \
    }
#define OPENING_AT(name)                                             \
    EXPORT int name(int folder, const char *path, int flags, ...) {  \
        va_list rest;                                                \
        va_start(rest, flags);                                       \
        mode_t mode = mode_in(flags, rest);                          \
        va_end(rest);                                                \
        return open_file(folder, path, flags, mode);                 \
    }
OPENING(open)
OPENING(open64)
OPENING_AT(openat)
OPENING_AT(openat64)
EXPORT int creat(const char *path, mode_t mode) { return open_file(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
EXPORT int creat64(const char *path, mode_t mode) { return creat(path, mode); }
EXPORT int __open_2(const char *path, int flags) { return open_file(AT_FDCWD, path, flags, 0); }
EXPORT int __open64_2(const char *path, int flags) { return open_file(AT_FDCWD, path, flags, 0); }

EXPORT DIR *opendir(const char *path) {
    char whole[PATH_MAX];
    struct verdict verdict;
    if (resolve(AT_FDCWD, path, whole) && is_to_fail("opendir", whole, &verdict)) return errno = verdict.error, NULL;
    return REAL(opendir)(path);
}

/* -- writing -- */

static ssize_t shortened(const struct iovec *from, int count, struct iovec *to, int *kept) {
    size_t whole = 0, half;
    for (int i = 0; i < count; i++) whole += from[i].iov_len;
    half = whole / 2;
    if (half >= 512) half -= half % 512; /* direct I/O takes whole sectors */
    size_t left = half;
    for (*kept = 0; *kept < count && left; (*kept)++) {
        to[*kept] = from[*kept];
        if (to[*kept].iov_len > left) to[*kept].iov_len = left;
        left -= to[*kept].iov_len;
    }
    return (ssize_t)half;
}

/* offset -1: at the file's own position, as write and writev do. */
static ssize_t write_parts(const char *call, int fd, const struct iovec *parts, int count, off_t offset, int flags) {
    char path[PATH_MAX];
    struct verdict verdict = {0};
    struct iovec fewer[64];
    long low = (long)offset, high = 0; /* on 64-bit machines the offset stands in the first word alone */
    if (!path_of(fd, path)) {
        if (offset < 0) return syscall(SYS_writev, fd, parts, count);
        return syscall(SYS_pwritev2, fd, parts, count, low, high, flags);
    }
    int failing = is_to_fail(call, path, &verdict);
    if (failing && verdict.error && !verdict.is_late) FAIL(verdict.error);
    if (failing && verdict.is_short && count <= 64 && shortened(parts, count, fewer, &count) > 0) parts = fewer;
    struct event event = {.begun = next_moment(), .kind = WRITE, .inode = inode_of(fd)};
    ssize_t done = offset < 0 ? syscall(SYS_writev, fd, parts, count)
                              : syscall(SYS_pwritev2, fd, parts, count, low, high, flags);
    if (done > 0) {
        event.offset = offset < 0 ? lseek(fd, 0, SEEK_CUR) - done : offset;
        event.size = done;
        event.data_size = (uint64_t)done;
        record(event, path, "", parts, count);
    }
    if (failing && verdict.error) FAIL(verdict.error);
    return done;
}

EXPORT ssize_t write(int fd, const void *data, size_t size) {
    struct iovec part = {(void *)data, size};
    char path[PATH_MAX];
    if (!path_of(fd, path)) return syscall(SYS_write, fd, data, size);
    return write_parts("write", fd, &part, 1, -1, 0);
}
EXPORT ssize_t writev(int fd, const struct iovec *parts, int count) { return write_parts("write", fd, parts, count, -1, 0); }
EXPORT ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    struct iovec part = {(void *)data, size};
    return write_parts("pwrite", fd, &part, 1, offset, 0);
}
EXPORT ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return pwrite(fd, data, size, offset); }
EXPORT ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return write_parts("pwrite", fd, parts, count, offset, 0);
}
EXPORT ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return write_parts("pwrite", fd, parts, count, offset, 0);
}
EXPORT ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags) {
    return write_parts("pwrite", fd, parts, count, offset, flags);
}
EXPORT ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags) {
    return write_parts("pwrite", fd, parts, count, offset, flags);
}

EXPORT int ftruncate(int fd, off_t size) {
    char path[PATH_MAX];
    struct verdict verdict;
    if (!path_of(fd, path)) return (int)syscall(SYS_ftruncate, fd, size);
    if (is_to_fail("ftruncate", path, &verdict)) FAIL(verdict.error);
    struct event event = {.begun = next_moment(), .kind = TRUNCATE, .inode = inode_of(fd), .size = size};
    int done = (int)syscall(SYS_ftruncate, fd, size);
    if (!done) record(event, path, "", NULL, 0);
    return done;
}
EXPORT int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

static int sparse(int fd, off_t end) { /* as if allocated: nothing but the size */
    struct stat status;
    if (fstat(fd, &status)) return -1;
    return status.st_size >= end ? 0 : (int)syscall(SYS_ftruncate, fd, end);
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t size) {
    char path[PATH_MAX];
    struct verdict verdict;
    if (!path_of(fd, path)) return (int)syscall(SYS_fallocate, fd, mode, offset, size);
    if (is_to_fail("fallocate", path, &verdict)) FAIL(verdict.error);
    struct event event = {.begun = next_moment(), .kind = ALLOCATE, .inode = inode_of(fd)};
    event.offset = offset;
    event.size = size;
    event.mode = (uint32_t)mode;
    int is_sparse = mode == 0 && (atomic_load(&words[FLAGS]) & SPARSE);
    int done = is_sparse ? sparse(fd, offset + size) : (int)syscall(SYS_fallocate, fd, mode, offset, size);
    if (!done) record(event, path, "", NULL, 0);
    return done;
}
EXPORT int fallocate64(int fd, int mode, off64_t offset, off64_t size) { return fallocate(fd, mode, offset, size); }
EXPORT int posix_fallocate(int fd, off_t offset, off_t size) { return fallocate(fd, 0, offset, size) ? errno : 0; }
EXPORT int posix_fallocate64(int fd, off64_t offset, off64_t size) { return posix_fallocate(fd, offset, size); }

/* -- syncs -- */

static int sync_file(const char *call, int number, int fd) {
    char path[PATH_MAX];
    struct verdict verdict = {0};
    if (!path_of(fd, path)) return (int)syscall(number, fd);
    struct event event = {.begun = next_moment(), .kind = SYNC, .inode = inode_of(fd)};
    int failing = is_to_fail(call, path, &verdict), done = 0;
    if (failing && verdict.error)
        done = -1, errno = verdict.error;
    else if (!(atomic_load(&words[FLAGS]) & NO_SYNC))
        done = (int)syscall(number, fd);
    event.error = done ? (uint32_t)errno : 0;
    record(event, path, "", NULL, 0);
    return done;
}
EXPORT int fsync(int fd) { return sync_file("fsync", SYS_fsync, fd); }
EXPORT int fdatasync(int fd) { return sync_file("fdatasync", SYS_fdatasync, fd); }

/* -- names -- */

static int name_call(const char *call, uint32_t kind, int folder, const char *path, int other_folder, const char *other,
                     long number, long last) {
    char whole[PATH_MAX], other_whole[PATH_MAX] = "";
    struct verdict verdict = {0};
    int inside = resolve(folder, path, whole) | (other && resolve(other_folder, other, other_whole));
    int failing = inside && is_to_fail(call, whole, &verdict);
    if (failing && !verdict.is_late) FAIL(verdict.error);
    struct event event = {.begun = inside ? next_moment() : 0, .kind = kind, .mode = (uint32_t)last};
    if (inside) event.inode = inode_at(whole);
    int done = other ? (int)syscall(number, folder, path, other_folder, other, last)
                     : (int)syscall(number, folder, path, last);
    if (inside && !done) {
        if (kind == MAKE_FOLDER) event.inode = inode_at(whole);
        record(event, whole, other_whole, NULL, 0);
    }
    if (failing) FAIL(verdict.error);
    return done;
}

EXPORT int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned int flags) {
    return name_call("rename", RENAME, from_folder, from, to_folder, to, SYS_renameat2, flags);
}
EXPORT int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    return renameat2(from_folder, from, to_folder, to, 0);
}
EXPORT int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }
EXPORT int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    return name_call("link", LINK, from_folder, from, to_folder, to, SYS_linkat, flags);
}
EXPORT int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
EXPORT int unlinkat(int folder, const char *path, int flags) {
    int is_folder = flags & AT_REMOVEDIR;
    return name_call("unlink", is_folder ? REMOVE_FOLDER : UNLINK, folder, path, 0, NULL, SYS_unlinkat, flags);
}
EXPORT int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
EXPORT int remove(const char *path) {
    int done = unlink(path);
    return done && errno == EISDIR ? unlinkat(AT_FDCWD, path, AT_REMOVEDIR) : done;
}
EXPORT int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
EXPORT int mkdirat(int folder, const char *path, mode_t mode) {
    return name_call("mkdir", MAKE_FOLDER, folder, path, 0, NULL, SYS_mkdirat, mode);
}
EXPORT int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* -- reading, mapping, seeking, locking: they fail by rules, and are not recorded -- */

static ssize_t read_parts(const char *call, int fd, const struct iovec *parts, int count, off_t offset, int flags) {
    char path[PATH_MAX];
    struct verdict verdict;
    struct iovec fewer[64];
    long low = (long)offset, high = 0;
    if (path_of(fd, path) && is_to_fail(call, path, &verdict)) {
        if (verdict.error) FAIL(verdict.error);
        if (verdict.is_short && count <= 64 && shortened(parts, count, fewer, &count) > 0) parts = fewer;
    }
    return offset < 0 ? syscall(SYS_readv, fd, parts, count) : syscall(SYS_preadv2, fd, parts, count, low, high, flags);
}

EXPORT ssize_t read(int fd, void *data, size_t size) {
    struct iovec part = {data, size};
    return read_parts("read", fd, &part, 1, -1, 0);
}
EXPORT ssize_t pread(int fd, void *data, size_t size, off_t offset) {
    struct iovec part = {data, size};
    return read_parts("pread", fd, &part, 1, offset, 0);
}
EXPORT ssize_t pread64(int fd, void *data, size_t size, off64_t offset) { return pread(fd, data, size, offset); }
EXPORT ssize_t preadv(int fd, const struct iovec *parts, int count, off_t offset) {
    return read_parts("preadv", fd, parts, count, offset, 0);
}
EXPORT ssize_t preadv64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return read_parts("preadv", fd, parts, count, offset, 0);
}
EXPORT ssize_t preadv2(int fd, const struct iovec *parts, int count, off_t offset, int flags) {
    return read_parts("preadv", fd, parts, count, offset, flags);
}
EXPORT ssize_t preadv64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags) {
    return read_parts("preadv", fd, parts, count, offset, flags);
}

EXPORT void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
    char path[PATH_MAX];
    struct verdict verdict;
    if (!(flags & MAP_ANONYMOUS) && path_of(fd, path) && is_to_fail("mmap", path, &verdict))
        return errno = verdict.error, MAP_FAILED;
    return (void *)syscall(SYS_mmap, address, size, protection, flags, fd, offset);
}
EXPORT void *mmap64(void *address, size_t size, int protection, int flags, int fd, off64_t offset) {
    return mmap(address, size, protection, flags, fd, offset);
}
EXPORT int flock(int fd, int operation) {
    char path[PATH_MAX];
    struct verdict verdict;
    if (path_of(fd, path) && is_to_fail("flock", path, &verdict)) FAIL(verdict.error);
    return (int)syscall(SYS_flock, fd, operation);
}

/* -- the wall clock -- */

static int64_t clock_offset_ns(void) { return words ? (int64_t)atomic_load(&words[CLOCK_OFFSET_NS]) : 0; }

EXPORT int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*original)(clockid_t, struct timespec *);
    if (!original) original = REAL(clock_gettime);
    int done = original(clock, now);
    int64_t offset = clock_offset_ns();
    if (done || !offset || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE && clock != CLOCK_TAI)) return done;
    int64_t ns = now->tv_nsec + offset % 1000000000;
    int64_t carry = ns < 0 ? -1 : ns >= 1000000000 ? 1 : 0;
    now->tv_sec += offset / 1000000000 + carry;
    now->tv_nsec = ns - carry * 1000000000;
    return 0;
}
EXPORT int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
    *now = (struct timeval){precise.tv_sec, precise.tv_nsec / 1000};
    return 0;
}
EXPORT time_t time(time_t *seconds) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (seconds) *seconds = precise.tv_sec;
    return precise.tv_sec;
}

/* -- beginning -- */

static void forget_locks(void) {
    pthread_mutex_init(&rules_lock, NULL);
    pthread_mutex_init(&log_lock, NULL);
}

/* Work by this control file from now on; also for a process that was forked. Returns 0, or an errno. */
EXPORT int faults_attach(const char *control, const char *folder, const char *recordings) {
    int fd = (int)syscall(SYS_openat, AT_FDCWD, control, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) return errno;
    void *mapped = (void *)syscall(SYS_mmap, NULL, CONTROL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (mapped == MAP_FAILED) return errno;
    snprintf(root, sizeof root, "%s", folder);
    root_size = strlen(root);
    snprintf(log_folder, sizeof log_folder, "%s", recordings);
    if (log_fd >= 0) syscall(SYS_close, log_fd), log_fd = -1;
    rules_generation = 0, rule_count = 0;
    rules_text = (const char *)mapped + RULES_AT;
    words = mapped;
    return 0;
}

__attribute__((constructor)) static void begin(void) {
    const char *control = getenv("FAULTS_CONTROL"), *folder = getenv("FAULTS_ROOT"), *log = getenv("FAULTS_LOG");
    pthread_atfork(NULL, NULL, forget_locks);
    if (!control) return;
    int failed = faults_attach(control, folder ? folder : "", log ? log : "");
    if (failed) {
        fprintf(stderr, "faults: %s: %s\n", control, strerror(failed));
        _exit(70);
    }
}
