/* IdleTune from C: JSON-RPC 2.0 text in, text out, over a CPython that this library starts in the process.
 *
 * What can be called is in docs/rpc.md. Only UTF-8 bytes and plain integers cross this border. Every function
 * may be called from any thread at any time, also with null or with a handle that was destroyed: it then
 * returns a status and does nothing. A buffer that is handed out ends in a zero byte that its length does not
 * count, and is given back with idletune_free.
 *
 * Python is started by the first idletune_create and stays: CPython's extension modules cannot be unloaded.
 */
#ifndef IDLETUNE_H
#define IDLETUNE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define IDLETUNE_API __attribute__((visibility("default")))

enum {
    IDLETUNE_OK = 0,
    IDLETUNE_NO_HANDLE = 1,  /* never created, or destroyed */
    IDLETUNE_WRONG_USE = 2,  /* a null where there must be none; too many handles */
    IDLETUNE_TOO_LARGE = 3,  /* more than IDLETUNE_LARGEST_REQUEST bytes */
    IDLETUNE_NO_PYTHON = 4,  /* Python or the package did not start; see idletune_last_error */
    IDLETUNE_FAILED = 5      /* an exception where none should be; see idletune_last_error */
};

#define IDLETUNE_LARGEST_REQUEST (16 * 1024 * 1024)
#define IDLETUNE_MOST_HANDLES 16

/* Starts Python if this process has none yet, and makes a dispatcher (idletune.rpc.Dispatcher).
 *
 * library: libpython's path or name, null for the one that is in the process already.
 * home, path: PYTHONHOME and PYTHONPATH for the start, null to leave them as they are; ':' between folders.
 *   CPython itself ends the process when its standard library is in neither.
 * From then on the process leaves no core dump (RLIMIT_CORE, PR_SET_DUMPABLE), for it holds the user's words.
 * handle: where the new handle goes, never 0. */
IDLETUNE_API int32_t idletune_create(const char *library, const char *home, const char *path, int64_t *handle);

/* One JSON-RPC request or batch. *response is null and *response_length 0 where nothing is to be answered (a
 * notification). Blocks for as long as the method takes; other threads may call meanwhile. */
IDLETUNE_API int32_t idletune_call(
    int64_t handle, const char *request, size_t length, char **response, size_t *response_length);

/* The next event as a JSON-RPC notification; null when none came within `milliseconds` (at most a minute). */
IDLETUNE_API int32_t idletune_poll(int64_t handle, int32_t milliseconds, char **event, size_t *event_length);

/* Asks what runs (chats, the slice of learning) to stop soon; a slice keeps a checkpoint. */
IDLETUNE_API int32_t idletune_cancel(int64_t handle);

/* Stops what runs, closes the runtime, waits until no other thread is inside a call of this handle. */
IDLETUNE_API int32_t idletune_destroy(int64_t handle);

/* Copies the message of the process's last failure into `buffer` (at most `size` bytes, zero-terminated) and
 * returns its whole length; 0 when nothing has failed yet. */
IDLETUNE_API size_t idletune_last_error(char *buffer, size_t size);

IDLETUNE_API void idletune_free(void *buffer);

#ifdef __cplusplus
}
#endif
#endif
