#pragma once
typedef struct FILE FILE;
extern FILE *stderr;
int printf(const char *format, ...);
int fprintf(FILE *file, const char *format, ...);
int puts(const char *text);
int fflush(FILE *file);
