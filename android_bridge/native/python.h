/* CPython's stable ABI (PEP 384), found at run time: no headers and no libpython at build time.
 *
 * Every function but python_start needs the GIL, which the caller takes with PyGILState_Ensure. */
#ifndef IDLETUNE_PYTHON_H
#define IDLETUNE_PYTHON_H

#include <stddef.h>

typedef struct _object PyObject;

typedef struct {
    int (*IsInitialized)(void);
    void (*InitializeEx)(int signals);
    void *(*SaveThread)(void);
    int (*Ensure)(void);
    void (*Release)(int state);
    PyObject *(*ImportModule)(const char *name);
    PyObject *(*GetAttrString)(PyObject *object, const char *name);
    PyObject *(*CallObject)(PyObject *callable, PyObject *tuple);
    PyObject *(*TupleNew)(ptrdiff_t size);
    int (*TupleSetItem)(PyObject *tuple, ptrdiff_t at, PyObject *stolen);
    PyObject *(*BytesNew)(const char *data, ptrdiff_t size);
    int (*BytesData)(PyObject *bytes, char **data, ptrdiff_t *size);
    PyObject *(*FloatNew)(double value);
    PyObject *(*Str)(PyObject *object);
    PyObject *(*EncodeUtf8)(PyObject *text);
    void (*ErrFetch)(PyObject **type, PyObject **value, PyObject **traceback);
    void (*DecRef)(PyObject *object);
} Python;

/* Fills in `python` from the library and starts the interpreter if it does not run; null, or what is wrong. */
const char *python_start(Python *python, const char *library, const char *home, const char *path);

#endif
