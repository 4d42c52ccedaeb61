#include "litert.h"

#include <dlfcn.h>

#include "report.h"

#define LITERT_DEFINE(result, name, parameters) result (*name) parameters;
LITERT_FUNCTIONS(LITERT_DEFINE)

void load_litert(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) die(EXIT_SETUP, "library", 0, dlerror());
    /* ISO C has no cast from an object's pointer to a function's; POSIX promises that this one works. */
#define LITERT_FIND(result, name, parameters) \
    *(void **)&name = dlsym(library, "LiteRt" #name); \
    if (name == NULL) die(EXIT_SETUP, "library", 0, "no function LiteRt" #name);
    LITERT_FUNCTIONS(LITERT_FIND)
}
