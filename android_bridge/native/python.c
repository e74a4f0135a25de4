#include "python.h"

#include "system.h"

static const char *load(Python *python, void *library) {
    const struct {
        const char *name;
        void **function;
    } wanted[] = {
        {"Py_IsInitialized", (void **)&python->IsInitialized}, {"Py_InitializeEx", (void **)&python->InitializeEx},
        {"PyEval_SaveThread", (void **)&python->SaveThread}, {"PyGILState_Ensure", (void **)&python->Ensure},
        {"PyGILState_Release", (void **)&python->Release}, {"PyImport_ImportModule", (void **)&python->ImportModule},
        {"PyObject_GetAttrString", (void **)&python->GetAttrString},
        {"PyObject_CallObject", (void **)&python->CallObject}, {"PyTuple_New", (void **)&python->TupleNew},
        {"PyTuple_SetItem", (void **)&python->TupleSetItem}, {"PyBytes_FromStringAndSize", (void **)&python->BytesNew},
        {"PyBytes_AsStringAndSize", (void **)&python->BytesData}, {"PyFloat_FromDouble", (void **)&python->FloatNew},
        {"PyObject_Str", (void **)&python->Str}, {"PyUnicode_AsUTF8String", (void **)&python->EncodeUtf8},
        {"PyErr_Fetch", (void **)&python->ErrFetch}, {"Py_DecRef", (void **)&python->DecRef},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        *wanted[i].function = dlsym(library, wanted[i].name);
        if (!*wanted[i].function) return "no CPython 3 in the library, or in the process (Py_IsInitialized)";
    }
    return NULL;
}

const char *python_start(Python *python, const char *library, const char *home, const char *path) {
    /* Global, because Python's extension modules look for its functions among the process's own. */
    void *loaded = library ? dlopen(library, RTLD_NOW | RTLD_GLOBAL) : RTLD_DEFAULT;
    if (library && !loaded) return dlerror();
    const char *missing = load(python, loaded);
    if (missing) return missing;
    if (python->IsInitialized()) return NULL; /* the host app's own Python: it keeps its paths */
    /* CPython ends the process where it does not find its standard library: the plainest reason is told before. */
    if (home && access(home, F_OK)) return "the folder for PYTHONHOME does not exist";
    if (home) setenv("PYTHONHOME", home, 1);
    if (path) setenv("PYTHONPATH", path, 1);
    python->InitializeEx(0); /* no signal handlers: signals are the host's */
    python->SaveThread();    /* the starting thread held the GIL; from now on every call takes it for itself */
    return NULL;
}
