/* caller LIBPYTHON PYTHONHOME PYTHONPATH REQUEST...: makes a dispatcher, sends the requests, prints what it answers. */
#include <stdio.h>
#include <string.h>

#include "../native/idletune.h"

static int told(const char *what, int status) {
    char message[512];
    idletune_last_error(message, sizeof message);
    printf("%s: status %d: %s\n", what, status, message);
    fflush(0);
    return 1;
}

int main(int count, char **arguments) {
    int64_t handle;
    int status = count < 5 ? IDLETUNE_WRONG_USE : idletune_create(arguments[1], arguments[2], arguments[3], &handle);
    if (status) return told("create", status);
    for (int i = 4; i < count; i++) {
        char *response;
        size_t length;
        status = idletune_call(handle, arguments[i], strlen(arguments[i]), &response, &length);
        if (status) return told("call", status);
        puts(response ? response : "(nothing to answer)");
        idletune_free(response);
    }
    status = idletune_destroy(handle);
    return status ? told("destroy", status) : fflush(0);
}
