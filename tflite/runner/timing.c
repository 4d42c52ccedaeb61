#include "timing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report.h"

/* Latencies are said in chunks, so that those of a run that is cut short are not lost. */
enum { MOST_IN_CHUNK = 4096 };
static const double CHUNK_SECONDS = 0.5;

typedef struct {
    double milliseconds[MOST_IN_CHUNK];
    size_t count;
    double started;
} Chunk;

WarmUp warm_up(Session *session, const Options *options) {
    WarmUp done = {.first_seconds = NAN};
    double start = now();
    while ((done.runs < options->warmup_runs || done.seconds < options->warmup_min_secs) &&
           (done.runs == 0 || done.seconds < options->max_secs)) {
        double seconds = run_session(session, "warmup");
        if (done.runs++ == 0) done.first_seconds = seconds;
        done.seconds = now() - start;
    }
    return done;
}

void describe_warm_up(WarmUp warm_up) {
    begin_event("warmup");
    say_whole("runs", warm_up.runs);
    say_number("secs", warm_up.seconds, 4);
    say_number("first_ms", warm_up.first_seconds * 1e3, 5);
    end_event();
}

static void say_chunk(Chunk *chunk) {
    if (chunk->count > 0) {
        begin_event("latencies");
        open_array("ms");
        for (size_t i = 0; i < chunk->count; i++) say_number(NULL, chunk->milliseconds[i], 5);
        close_array();
        end_event();
    }
    chunk->count = 0;
    chunk->started = now();
}

/* The most memory that the process had. getrusage would count that of the program which started this one. */
static long peak_memory_kb(void) {
    char line[256];
    long kilobytes = -1;
    FILE *status = fopen("/proc/self/status", "r");
    if (status == NULL) return -1;
    while (fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "VmHWM: %ld kB", &kilobytes) == 1) break;
    fclose(status);
    return kilobytes;
}

void time_runs(Session *session, const Options *options) {
    Chunk chunk = {.count = 0, .started = now()};
    double start = now(), elapsed = 0;
    long runs = 0;
    while ((runs < options->num_runs || elapsed < options->min_secs) && (runs == 0 || elapsed < options->max_secs)) {
        chunk.milliseconds[chunk.count++] = run_session(session, "run") * 1e3;
        runs++;
        elapsed = now() - start;
        if (chunk.count == MOST_IN_CHUNK || now() - chunk.started >= CHUNK_SECONDS) say_chunk(&chunk);
    }
    say_chunk(&chunk);
    begin_event("result");
    say_whole("runs", runs);
    say_number("secs", elapsed, 4);
    long memory = peak_memory_kb();
    if (memory < 0)
        say_null("peak_memory_kb");
    else
        say_whole("peak_memory_kb", memory);
    end_event();
}
