#pragma once
#include <stddef.h>
size_t strlen(const char *text);
void *memset(void *to, int value, size_t size);
void *memcpy(void *to, const void *from, size_t size);
