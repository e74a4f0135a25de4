/* Ends the process at the n-th change of a file below a folder: LD_PRELOAD this, then call kill_shim_arm.
 *
 * Counted are the calls by which Python and SQLite change or flush files. Shared mappings are not: the only one is
 * SQLite's -shm index, which is built anew from the log. SIGKILL, not _exit: nothing runs afterwards.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum when { BEFORE = 0, AFTER = 1, HALF = 2 };

static char folder[PATH_MAX];
static size_t folder_length;
static long count, wanted;
static enum when when;
static int record = -1; /* the calls are written here, one a line, while no kill is wanted */

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

/* Count the changes below `path` from now on; end the process at the n-th (0: never, record to `fd` if not -1). */
void kill_shim_arm(const char *path, long n, int moment, int fd)
{
    folder_length = strlen(path);
    memcpy(folder, path, folder_length + 1);
    count = 0, wanted = n, when = moment, record = fd;
}

long kill_shim_count(void) { return count; }

static int is_below(const char *path)
{
    return path && strncmp(path, folder, folder_length) == 0
        && (path[folder_length] == '/' || path[folder_length] == 0);
}

static int is_below_fd(int fd)
{
    char link[32], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return is_below(path);
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static void tell(const char *call, const char *path)
{
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%s %s\n", call, path + folder_length);
    if (REAL(write)(record, line, length) < 0)
        die();
}

/* Whether the process is to die at this call; 0 for a call that is none of ours. */
static int is_due(int ours, const char *call, const char *path, int fd)
{
    if (!folder_length || !ours)
        return 0;
    long now = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
    if (record >= 0) {
        char link[32], found[PATH_MAX] = "";
        if (!path) {
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            if (readlink(link, found, sizeof found - 1) < 0)
                found[0] = 0;
        }
        tell(call, path ? path : found);
    }
    return wanted && now == wanted;
}

#define ON_FD(type, name, parameters, arguments)                                                                       \
    type name parameters                                                                                               \
    {                                                                                                                  \
        int due = is_due(folder_length && is_below_fd(fd), #name, NULL, fd);                                           \
        if (due && when == BEFORE)                                                                                     \
            die();                                                                                                     \
        type result = REAL(name) arguments;                                                                            \
        if (due)                                                                                                       \
            die();                                                                                                     \
        return result;                                                                                                 \
    }

/* Of a write that is cut short, half has arrived. */
#define WRITING(name, parameters, arguments, halved)                                                                   \
    ssize_t name parameters                                                                                            \
    {                                                                                                                  \
        int due = is_due(folder_length && is_below_fd(fd), #name, NULL, fd);                                           \
        if (due && when == BEFORE)                                                                                     \
            die();                                                                                                     \
        if (due && when == HALF && bytes > 1) {                                                                        \
            (void)!(REAL(name) halved);                                                                                \
            die();                                                                                                     \
        }                                                                                                              \
        ssize_t result = REAL(name) arguments;                                                                         \
        if (due)                                                                                                       \
            die();                                                                                                     \
        return result;                                                                                                 \
    }

#define ON_PATH(name, parameters, arguments, path)                                                                     \
    int name parameters                                                                                                \
    {                                                                                                                  \
        int due = is_due(folder_length && is_below(path), #name, path, -1);                                            \
        if (due && when == BEFORE)                                                                                     \
            die();                                                                                                     \
        int result = REAL(name) arguments;                                                                             \
        if (due)                                                                                                       \
            die();                                                                                                     \
        return result;                                                                                                 \
    }

WRITING(write, (int fd, const void *data, size_t bytes), (fd, data, bytes), (fd, data, bytes / 2))
WRITING(pwrite, (int fd, const void *data, size_t bytes, off_t at), (fd, data, bytes, at), (fd, data, bytes / 2, at))
WRITING(pwrite64, (int fd, const void *data, size_t bytes, off64_t at), (fd, data, bytes, at),
    (fd, data, bytes / 2, at))
ssize_t sendfile(int, int, off_t *, size_t);
ssize_t sendfile64(int, int, off64_t *, size_t);
WRITING(sendfile, (int fd, int from, off_t *at, size_t bytes), (fd, from, at, bytes), (fd, from, at, bytes / 2))
WRITING(sendfile64, (int fd, int from, off64_t *at, size_t bytes), (fd, from, at, bytes), (fd, from, at, bytes / 2))
ON_FD(ssize_t, writev, (int fd, const struct iovec *parts, int n), (fd, parts, n))
ON_FD(ssize_t, pwritev, (int fd, const struct iovec *parts, int n, off_t at), (fd, parts, n, at))
ON_FD(int, fsync, (int fd), (fd))
ON_FD(int, fdatasync, (int fd), (fd))
ON_FD(int, ftruncate, (int fd, off_t bytes), (fd, bytes))
ON_FD(int, ftruncate64, (int fd, off64_t bytes), (fd, bytes))
ON_PATH(rename, (const char *from, const char *to), (from, to), to)
ON_PATH(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to), to)
ON_PATH(unlink, (const char *path), (path), path)
ON_PATH(rmdir, (const char *path), (path), path)
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode), path)
ON_PATH(chmod, (const char *path, mode_t mode), (path, mode), path)
ON_PATH(link, (const char *from, const char *to), (from, to), to)

/* Relative to an open folder, as shutil.rmtree does. */
int unlinkat(int at, const char *path, int flags)
{
    int due = is_due(folder_length && (is_below(path) || (at >= 0 && is_below_fd(at))), "unlinkat", path, at);
    if (due && when == BEFORE)
        die();
    int result = REAL(unlinkat)(at, path, flags);
    if (due)
        die();
    return result;
}
