/* The few functions of the C library that are used, declared here where its headers are not (freestanding
 * builds for Android without an NDK). */
#ifndef IDLETUNE_SYSTEM_H
#define IDLETUNE_SYSTEM_H

#include <stddef.h>
#include <stdint.h>

#if defined(__ANDROID__) && defined(IDLETUNE_FREESTANDING)
void *dlopen(const char *path, int flags);
void *dlsym(void *library, const char *name);
const char *dlerror(void);
void *malloc(size_t size);
void free(void *block);
void *memcpy(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
size_t strlen(const char *text);
int setenv(const char *name, const char *value, int overwrite);
int usleep(unsigned microseconds);
int access(const char *path, int how);
#define F_OK 0
#if defined(__LP64__)
#define RTLD_NOW 2
#define RTLD_GLOBAL 0x100
#endif
#define RTLD_DEFAULT ((void *)0)
#else
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#endif
#endif
