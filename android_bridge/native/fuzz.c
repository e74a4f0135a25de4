/* Calls of every kind from several threads on handles that come and go.
 *
 * fuzz LIBRARY HOME PATH CALLS SEED: libpython, PYTHONHOME ("" to leave it), PYTHONPATH. Prints what was answered;
 * exits with 1 when a promise of idletune.h was broken. Built with -DSANITIZE=ON, it also finds what leaks. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "idletune.h"

enum { THREADS = 8, HANDLES = 4 };

static const char *library, *home, *path;
static int64_t handles[HANDLES]; /* shared: a thread may destroy what another calls */
static long calls_each, statuses[6], answers, broken;

static const char *requests[] = {
    "{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"version\"}",
    "{\"jsonrpc\": \"2.0\", \"id\": \"a\", \"method\": \"status\"}",
    "{\"jsonrpc\": \"2.0\", \"method\": \"stop\"}",
    "[{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"version\"}, 7, {}]",
    "{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"chat\", \"params\": {\"text\": \"\xf0\x9f\x90\x95\"}}",
    "{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"open\", \"params\": {\"model\": \"/none.gguf\", \"home\": \"/proc/none\"}}",
    "{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"\xff\xfe\"}", "[[[[[[[[", "\xc0\x80", "null", "",
};

static unsigned next(unsigned *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void count(int32_t status) {
    __atomic_add_fetch(&statuses[status >= 0 && status < 6 ? status : 5], 1, __ATOMIC_RELAXED);
}

static void expect(int holds, const char *promise) {
    if (!holds && !__atomic_fetch_add(&broken, 1, __ATOMIC_RELAXED)) fprintf(stderr, "broken: %s\n", promise);
}

static void call(int64_t handle, const char *text, size_t length) {
    char *response;
    size_t size;
    int32_t status = idletune_call(handle, text, length, &response, &size);
    count(status);
    if (status == IDLETUNE_OK && response) {
        expect(response[size] == 0 && strlen(response) == size, "an answer ends in a zero that its length does not count");
        expect(response[0] == '{' || response[0] == '[', "an answer is JSON");
        __atomic_add_fetch(&answers, 1, __ATOMIC_RELAXED);
        idletune_free(response);
    } else {
        expect(!response && !size, "no answer, no buffer");
    }
}

static void noise(int64_t handle, unsigned *state) {
    char bytes[64];
    size_t length = next(state) % sizeof bytes;
    for (size_t i = 0; i < length; i++) bytes[i] = (char)next(state);
    call(handle, bytes, length);
}

static void large(int64_t handle) {
    size_t length = 10 * 1000 * 1000;
    char *bytes = malloc(length);
    memset(bytes, 'a', length);
    call(handle, bytes, length);
    free(bytes);
}

static void poll(int64_t handle) {
    char *event;
    size_t size;
    int32_t status = idletune_poll(handle, 0, &event, &size);
    count(status);
    if (status == IDLETUNE_OK) idletune_free(event);
}

static void replace(int number) {
    int64_t handle = 0;
    count(idletune_create(library, home, path, &handle));
    int64_t old = __atomic_exchange_n(&handles[number], handle, __ATOMIC_SEQ_CST);
    count(idletune_destroy(old));
    count(idletune_destroy(old)); /* a second time */
}

static void nulls(int64_t handle) {
    char *out;
    size_t size;
    expect(idletune_call(handle, NULL, 3, &out, &size) == IDLETUNE_WRONG_USE, "a null request is refused");
    expect(idletune_call(handle, "{}", 2, NULL, &size) == IDLETUNE_WRONG_USE, "so is nowhere to answer");
    expect(idletune_poll(handle, 0, NULL, NULL) == IDLETUNE_WRONG_USE, "and nowhere for an event");
    expect(idletune_create(library, home, path, NULL) == IDLETUNE_WRONG_USE, "and nowhere for a handle");
    idletune_free(NULL);
    char message[8];
    expect(idletune_last_error(message, sizeof message) > 0 && strlen(message) < sizeof message, "messages fit");
}

static void *run(void *seed) {
    unsigned state = (unsigned)(size_t)seed;
    for (long i = 0; i < calls_each; i++) {
        int number = (int)(next(&state) % HANDLES);
        int64_t handle = __atomic_load_n(&handles[number], __ATOMIC_SEQ_CST);
        unsigned kind = next(&state) % 1000;
        if (kind < 700) {
            const char *text = requests[next(&state) % (sizeof requests / sizeof *requests)];
            call(handle, text, strlen(text));
        } else if (kind < 850) {
            noise(handle, &state);
        } else if (kind < 950) {
            poll(handle);
        } else if (kind < 970) {
            count(idletune_cancel(handle));
        } else if (kind < 980) {
            nulls(handle);
        } else if (kind < 990) {
            call((int64_t)next(&state) << 20 | next(&state), "{}", 2); /* a handle out of thin air */
        } else if (kind < 999) {
            replace(number);
        } else if (i % 8 == 0) {
            large(handle);
        }
    }
    return NULL;
}

int main(int count_of_arguments, char **arguments) {
    if (count_of_arguments != 6) return 2;
    library = arguments[1];
    home = *arguments[2] ? arguments[2] : NULL;
    path = arguments[3];
    calls_each = atol(arguments[4]) / THREADS;
    for (int i = 0; i < HANDLES; i++) {
        if (idletune_create(library, home, path, &handles[i])) {
            char message[512];
            idletune_last_error(message, sizeof message);
            fprintf(stderr, "not started: %s\n", message);
            return 1;
        }
    }
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, run, (void *)(atol(arguments[5]) * THREADS + i));
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < HANDLES; i++) count(idletune_destroy(handles[i]));
    printf("{\"calls\": %ld, \"answers\": %ld, \"ok\": %ld, \"no_handle\": %ld, \"failed\": %ld, \"broken\": %ld}\n",
           calls_each * THREADS, answers, statuses[IDLETUNE_OK], statuses[IDLETUNE_NO_HANDLE],
           statuses[IDLETUNE_NO_PYTHON] + statuses[IDLETUNE_FAILED], broken);
    return broken || statuses[IDLETUNE_NO_PYTHON] || statuses[IDLETUNE_FAILED] ? 1 : 0;
}
