/* The beginning of a program for Android, linked without an NDK: hands the stack to bionic, which calls main. */
int main(int count, char **arguments, char **environment);

struct Structors {
    void (**before)(void), (**first)(void), (**last)(void);
};

void __libc_init(void *stack, void (*unused)(void), int (*main)(int, char **, char **), const struct Structors *structors);

__attribute__((used, noreturn)) static void begin(void *stack) {
    const struct Structors none = {0, 0, 0};
    __libc_init(stack, 0, main, &none);
    __builtin_trap();
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call begin\n");
#else
__asm__(".globl _start\n_start: mov x0, sp\n bl begin\n");
#endif
