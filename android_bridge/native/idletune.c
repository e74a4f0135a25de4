#include "idletune.h"

#include "python.h"
#include "system.h"

#define SLOT_BITS 8
#define LONGEST_ERROR 512
#define LONGEST_POLL 60000

/* A handle is a slot's number and how often the slot was used before, so that an old one is never taken for new. */
typedef struct {
    int64_t generation;
    PyObject *dispatcher; /* null: free */
    int users;            /* calls that are inside now */
    int closing;
} Slot;

static Slot slots[IDLETUNE_MOST_HANDLES];
static Python python;
static int started;
static char last_error[LONGEST_ERROR];
static size_t error_length;
static char table_guard, start_guard;

/* Held for a few instructions (the table) or while Python starts; never while Python code runs. */
static void enter(char *guard) {
    while (__atomic_test_and_set(guard, __ATOMIC_ACQUIRE)) usleep(50);
}

static void leave(char *guard) {
    __atomic_clear(guard, __ATOMIC_RELEASE);
}

static int32_t fail(int32_t status, const char *message) {
    size_t length = message ? strlen(message) : 0;
    if (length >= LONGEST_ERROR) {
        length = LONGEST_ERROR - 1;
        while (length && ((unsigned char)message[length] & 0xC0) == 0x80) length--; /* whole characters */
    }
    enter(&table_guard);
    if (length) memcpy(last_error, message, length);
    last_error[length] = 0;
    error_length = length;
    leave(&table_guard);
    return status;
}

/* The exception that is set becomes the last error. With the GIL. */
static int32_t fail_python(int32_t status) {
    PyObject *type = NULL, *value = NULL, *traceback = NULL, *text, *bytes = NULL;
    char *message = NULL;
    ptrdiff_t length;
    python.ErrFetch(&type, &value, &traceback);
    text = value ? python.Str(value) : NULL;
    if (text) bytes = python.EncodeUtf8(text);
    if (bytes) python.BytesData(bytes, &message, &length);
    fail(status, message ? message : "Python raised an exception without a text");
    PyObject *objects[] = {type, value, traceback, text, bytes};
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++) {
        if (objects[i]) python.DecRef(objects[i]);
    }
    return status;
}

/* Calls a method with one argument (which it takes over) or none. With the GIL; null with an exception set. */
static PyObject *call_method(PyObject *object, const char *name, PyObject *argument, int takes_one) {
    PyObject *method = NULL, *arguments = NULL, *result = NULL;
    if (takes_one && !argument) return NULL;
    method = python.GetAttrString(object, name);
    if (method) arguments = python.TupleNew(takes_one);
    if (arguments && takes_one) {
        python.TupleSetItem(arguments, 0, argument);
        argument = NULL;
    }
    if (arguments) result = python.CallObject(method, arguments);
    if (argument) python.DecRef(argument);
    if (arguments) python.DecRef(arguments);
    if (method) python.DecRef(method);
    return result;
}

/* Imports a module and calls a function of it without arguments. With the GIL; null with an exception set. */
static PyObject *call_function(const char *module_name, const char *name) {
    PyObject *module = python.ImportModule(module_name);
    PyObject *result = module ? call_method(module, name, NULL, 0) : NULL;
    if (module) python.DecRef(module);
    return result;
}

/* Bytes that Python returned, as a buffer of our own; null for none. With the GIL. */
static int32_t handed_out(PyObject *bytes, char **out, size_t *out_length) {
    char *data;
    ptrdiff_t size;
    int32_t status = IDLETUNE_OK;
    if (!bytes || python.BytesData(bytes, &data, &size)) {
        status = fail_python(IDLETUNE_FAILED);
    } else if (size) {
        *out = malloc((size_t)size + 1);
        if (*out) {
            memcpy(*out, data, (size_t)size);
            (*out)[size] = 0;
            *out_length = (size_t)size;
        } else {
            status = fail(IDLETUNE_FAILED, "no memory left for the answer");
        }
    }
    if (bytes) python.DecRef(bytes);
    return status;
}

/* The slot of a handle, kept from being freed until `let_go`; null when there is no such handle any more. */
static Slot *hold(int64_t handle) {
    int64_t number = (handle & ((1 << SLOT_BITS) - 1)) - 1;
    Slot *found = NULL;
    enter(&table_guard);
    if (handle > 0 && number >= 0 && number < IDLETUNE_MOST_HANDLES) {
        Slot *slot = &slots[number];
        if (slot->dispatcher && !slot->closing && slot->generation == handle >> SLOT_BITS) {
            slot->users++;
            found = slot;
        }
    }
    leave(&table_guard);
    return found;
}

static void let_go(Slot *slot) {
    enter(&table_guard);
    slot->users--;
    leave(&table_guard);
}

static int32_t no_handle(void) {
    return fail(IDLETUNE_NO_HANDLE, "no such handle: it was never created, or was destroyed");
}

static int64_t take_slot(PyObject *dispatcher) {
    int64_t handle = 0;
    enter(&table_guard);
    for (int64_t number = 0; number < IDLETUNE_MOST_HANDLES && !handle; number++) {
        Slot *slot = &slots[number];
        if (!slot->dispatcher) {
            slot->dispatcher = dispatcher;
            slot->closing = slot->users = 0;
            slot->generation++;
            handle = slot->generation << SLOT_BITS | (number + 1);
        }
    }
    leave(&table_guard);
    return handle;
}

static int32_t start_python(const char *library, const char *home, const char *path) {
    int32_t status = IDLETUNE_OK;
    enter(&start_guard);
    if (!started) {
        const char *problem = python_start(&python, library, home, path);
        if (problem) {
            status = fail(IDLETUNE_NO_PYTHON, problem);
        } else {
            started = 1;
        }
    }
    leave(&start_guard);
    return status;
}

int32_t idletune_create(const char *library, const char *home, const char *path, int64_t *handle) {
    if (!handle) return fail(IDLETUNE_WRONG_USE, "nowhere to put the handle");
    *handle = 0;
    int32_t status = start_python(library, home, path);
    if (status) return status;
    int gil = python.Ensure();
    PyObject *disabled = call_function("idletune.core_dumps", "disable_core_dumps");
    PyObject *dispatcher = disabled ? call_function("idletune.rpc", "Dispatcher") : NULL;
    if (disabled) python.DecRef(disabled);
    if (!dispatcher) {
        status = fail_python(IDLETUNE_NO_PYTHON);
    } else if (!(*handle = take_slot(dispatcher))) {
        PyObject *closed = call_method(dispatcher, "close", NULL, 0);
        if (closed) python.DecRef(closed);
        python.DecRef(dispatcher);
        status = fail(IDLETUNE_WRONG_USE, "16 handles are in use; destroy one first");
    }
    python.Release(gil);
    return status;
}

int32_t idletune_call(int64_t handle, const char *request, size_t length, char **response, size_t *response_length) {
    if (!request || !response || !response_length) return fail(IDLETUNE_WRONG_USE, "a null argument");
    *response = NULL;
    *response_length = 0;
    if (length > IDLETUNE_LARGEST_REQUEST) return fail(IDLETUNE_TOO_LARGE, "a request of more than 16 MiB");
    Slot *slot = hold(handle);
    if (!slot) return no_handle();
    int gil = python.Ensure(); /* Python lets go of it while it waits or computes outside itself */
    PyObject *bytes = python.BytesNew(request, (ptrdiff_t)length);
    int32_t status = handed_out(call_method(slot->dispatcher, "handle", bytes, 1), response, response_length);
    python.Release(gil);
    let_go(slot);
    return status;
}

int32_t idletune_poll(int64_t handle, int32_t milliseconds, char **event, size_t *event_length) {
    if (!event || !event_length) return fail(IDLETUNE_WRONG_USE, "a null argument");
    *event = NULL;
    *event_length = 0;
    if (milliseconds < 0) milliseconds = 0;
    if (milliseconds > LONGEST_POLL) milliseconds = LONGEST_POLL;
    Slot *slot = hold(handle);
    if (!slot) return no_handle();
    int gil = python.Ensure(); /* given up by Python while it waits for an event */
    PyObject *seconds = python.FloatNew(milliseconds / 1000.0);
    int32_t status = handed_out(call_method(slot->dispatcher, "next_event", seconds, 1), event, event_length);
    python.Release(gil);
    let_go(slot);
    return status;
}

/* Runs a method without arguments or result. */
static int32_t tell(Slot *slot, const char *name) {
    int gil = python.Ensure();
    PyObject *result = call_method(slot->dispatcher, name, NULL, 0);
    int32_t status = result ? IDLETUNE_OK : fail_python(IDLETUNE_FAILED);
    if (result) python.DecRef(result);
    python.Release(gil);
    return status;
}

int32_t idletune_cancel(int64_t handle) {
    Slot *slot = hold(handle);
    if (!slot) return no_handle();
    int32_t status = tell(slot, "cancel");
    let_go(slot);
    return status;
}

int32_t idletune_destroy(int64_t handle) {
    Slot *slot = hold(handle);
    if (!slot) return no_handle();
    enter(&table_guard);
    int first = !slot->closing;
    slot->closing = 1; /* from here on nobody else gets in */
    leave(&table_guard);
    if (!first) {
        let_go(slot);
        return no_handle();
    }
    int32_t status = tell(slot, "close"); /* which wakes those that wait inside */
    for (int alone = 0; !alone; alone ? 0 : usleep(1000)) {
        enter(&table_guard);
        alone = slot->users == 1;
        leave(&table_guard);
    }
    PyObject *dispatcher = slot->dispatcher;
    int gil = python.Ensure();
    python.DecRef(dispatcher);
    python.Release(gil);
    enter(&table_guard);
    slot->users = 0;
    slot->dispatcher = NULL;
    leave(&table_guard);
    return status;
}

size_t idletune_last_error(char *buffer, size_t size) {
    enter(&table_guard);
    size_t length = error_length;
    if (buffer && size) {
        size_t copied = length < size ? length : size - 1;
        memcpy(buffer, last_error, copied);
        buffer[copied] = 0;
    }
    leave(&table_guard);
    return length;
}

void idletune_free(void *buffer) {
    free(buffer);
}
