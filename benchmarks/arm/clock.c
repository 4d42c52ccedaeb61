/* A clock that tells instructions instead of time, one a microsecond; loaded before the C library's.
 *
 * What a program then measures, with its own means and in its own places, is how many instructions it executed: the same
 * every time. `instructions.c` counts them and shares $INSTRUCTIONS_PAGE with this. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PER_SECOND = 1000000, NANOSECONDS_EACH = 1000 };

static const volatile uint64_t *page;

static void open_page(void) {
    const char *path = getenv("INSTRUCTIONS_PAGE");
    int file = path == NULL ? -1 : open(path, O_RDONLY);
    void *memory = file < 0 ? MAP_FAILED : mmap(NULL, 2 * sizeof *page, PROT_READ, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) abort();
    close(file);
    page = memory;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    (void)clock;
    if (page == NULL) open_page();
    __asm__ volatile("hint #127" ::: "memory");
    uint64_t count = page[1];
    time->tv_sec = (time_t)(count / PER_SECOND);
    time->tv_nsec = (long)(count % PER_SECOND) * NANOSECONDS_EACH;
    return 0;
}
