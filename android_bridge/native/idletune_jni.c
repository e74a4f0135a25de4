/* io.idletune.Native: the C ABI for Java. Text crosses as UTF-8 in byte arrays, so JNI's modified UTF-8 never
 * appears; a failure is an IllegalStateException with an ASCII message. */
#include <jni.h>

#include "idletune.h"
#include "system.h"

#define LONGEST_MESSAGE 512

static void throw_last(JNIEnv *env, int32_t status) {
    char message[LONGEST_MESSAGE];
    idletune_last_error(message, sizeof message);
    for (char *at = message; *at; at++) {
        if ((unsigned char)*at >= 0x80) *at = '?'; /* NewStringUTF wants its own encoding; ASCII is in both */
    }
    jclass kind = (*env)->FindClass(
        env, status == IDLETUNE_TOO_LARGE ? "java/lang/IllegalArgumentException" : "java/lang/IllegalStateException");
    if (kind) (*env)->ThrowNew(env, kind, message);
}

/* A zero-terminated copy of a byte array, null for null; *length without the zero. */
static char *copied(JNIEnv *env, jbyteArray bytes, size_t *length) {
    if (!bytes) return NULL;
    jsize size = (*env)->GetArrayLength(env, bytes);
    char *copy = malloc((size_t)size + 1);
    if (!copy) return NULL;
    (*env)->GetByteArrayRegion(env, bytes, 0, size, (jbyte *)copy);
    copy[size] = 0;
    if (length) *length = (size_t)size;
    return copy;
}

/* The buffer as a byte array, and given back; null for none. */
static jbyteArray handed_over(JNIEnv *env, int32_t status, char *buffer, size_t length) {
    jbyteArray bytes = NULL;
    if (status) {
        throw_last(env, status);
    } else if (buffer && (bytes = (*env)->NewByteArray(env, (jsize)length))) {
        (*env)->SetByteArrayRegion(env, bytes, 0, (jsize)length, (const jbyte *)buffer);
    }
    idletune_free(buffer);
    return bytes;
}

JNIEXPORT jlong JNICALL Java_io_idletune_Native_create(
    JNIEnv *env, jclass self, jbyteArray library, jbyteArray home, jbyteArray path) {
    (void)self;
    int64_t handle = 0;
    char *texts[] = {copied(env, library, NULL), copied(env, home, NULL), copied(env, path, NULL)};
    int32_t status = idletune_create(texts[0], texts[1], texts[2], &handle);
    for (int i = 0; i < 3; i++) free(texts[i]);
    if (status) throw_last(env, status);
    return handle;
}

JNIEXPORT jbyteArray JNICALL Java_io_idletune_Native_call(JNIEnv *env, jclass self, jlong handle, jbyteArray request) {
    (void)self;
    char *response = NULL;
    size_t length = 0, response_length = 0;
    char *text = copied(env, request, &length);
    int32_t status = idletune_call(handle, text, length, &response, &response_length);
    free(text);
    return handed_over(env, status, response, response_length);
}

JNIEXPORT jbyteArray JNICALL Java_io_idletune_Native_poll(JNIEnv *env, jclass self, jlong handle, jint milliseconds) {
    (void)self;
    char *event = NULL;
    size_t length = 0;
    int32_t status = idletune_poll(handle, milliseconds, &event, &length);
    return handed_over(env, status, event, length);
}

JNIEXPORT void JNICALL Java_io_idletune_Native_cancel(JNIEnv *env, jclass self, jlong handle) {
    (void)self;
    int32_t status = idletune_cancel(handle);
    if (status) throw_last(env, status);
}

JNIEXPORT void JNICALL Java_io_idletune_Native_destroy(JNIEnv *env, jclass self, jlong handle) {
    (void)self;
    int32_t status = idletune_destroy(handle);
    if (status) throw_last(env, status);
}
