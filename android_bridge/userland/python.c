/* python3 for Android's userland: hands its arguments to libpython. */
int Py_BytesMain(int count, char **arguments);

int main(int count, char **arguments) {
    return Py_BytesMain(count, arguments);
}
