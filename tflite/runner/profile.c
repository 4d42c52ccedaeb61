/* Where the time of an inference goes. */
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "timing.h"

/* All operators of one kind. */
typedef struct {
    char *name; /* a copy: LiteRT's ends when its profiler is reset */
    int type;
    long *calls;          /* of each run */
    double *microseconds; /* of each run */
} Kind;

typedef struct {
    double microseconds;
    long number;
} Total; /* of a run */

typedef struct {
    long runs;
    Total *totals;
    Kind *kinds;
    size_t count;
} Profile;

static void *need(void *memory) {
    if (memory == NULL) die(EXIT_RUN, "profile", 0, "out of memory");
    return memory;
}

static Kind *kind_of(Profile *profile, const ProfilerEvent *event, long most_runs) {
    const char *name = event->tag == NULL ? "" : event->tag;
    for (size_t i = 0; i < profile->count; i++) {
        Kind *kind = &profile->kinds[i];
        if (kind->type == event->type && strcmp(kind->name, name) == 0) return kind;
    }
    profile->kinds = need(realloc(profile->kinds, (profile->count + 1) * sizeof *profile->kinds));
    Kind *kind = &profile->kinds[profile->count++];
    kind->name = strcpy(need(malloc(strlen(name) + 1)), name);
    kind->type = event->type;
    kind->calls = need(calloc((size_t)most_runs, sizeof *kind->calls));
    kind->microseconds = need(calloc((size_t)most_runs, sizeof *kind->microseconds));
    return kind;
}

/* Takes the events of the latest run. */
static void add_run(Profile *profile, Handle profiler, long most_runs) {
    int count = 0;
    long run = profile->runs++;
    profile->totals[run].number = run;
    MUST(EXIT_RUN, "profile", GetNumProfilerEvents(profiler, &count));
    if (count == 0) return;
    ProfilerEvent *events = need(calloc((size_t)count, sizeof *events));
    MUST(EXIT_RUN, "profile", GetProfilerEvents(profiler, count, events));
    for (int i = 0; i < count; i++) {
        if (events[i].type != EVENT_NODE && events[i].type != EVENT_INSIDE_DELEGATE) continue;
        Kind *kind = kind_of(profile, &events[i], most_runs);
        kind->calls[run]++;
        kind->microseconds[run] += (double)events[i].elapsed_us;
        profile->totals[run].microseconds += (double)events[i].elapsed_us;
    }
    free(events);
}

static int compare_totals(const void *left, const void *right) {
    double a = ((const Total *)left)->microseconds, b = ((const Total *)right)->microseconds;
    return (a > b) - (a < b);
}

static void say_kind(const Kind *kind, const Total *totals, long runs) {
    double calls = 0, microseconds = 0;
    for (long i = 0; i < runs; i++) {
        calls += (double)kind->calls[totals[i].number];
        microseconds += kind->microseconds[totals[i].number];
    }
    open_object(NULL);
    say_text("name", kind->name);
    say_text("place", kind->type == EVENT_NODE ? "builtin" : "xnnpack");
    say_number("calls", calls / (double)runs, 3);
    say_number("us", microseconds / (double)runs, 3);
    close_object();
}

/* Times are whole microseconds, so it takes a mean over runs; that of the faster half, because one interruption takes
 * longer than many inferences. */
static void say_profile(Profile *profile) {
    long faster = (profile->runs + 1) / 2;
    qsort(profile->totals, (size_t)profile->runs, sizeof *profile->totals, compare_totals);
    begin_event("profile");
    say_whole("runs", profile->runs);
    open_array("operators");
    for (size_t i = 0; i < profile->count; i++) say_kind(&profile->kinds[i], profile->totals, faster);
    close_array();
    end_event();
}

void profile_runs(Session *session, const Options *options) {
    Profile profile = {.totals = need(calloc((size_t)options->profile, sizeof(Total)))};
    Handle profiler = NULL;
    double start = now();
    MUST(EXIT_RUN, "profile", CompiledModelGetProfiler(session->compiled, &profiler));
    while (profile.runs < options->profile && (profile.runs == 0 || now() - start < options->max_secs)) {
        /* Emptied after each run: the profiler's memory is limited, and it would forget the first events. */
        MUST(EXIT_RUN, "profile", StartProfiler(profiler));
        run_session(session, "profile");
        MUST(EXIT_RUN, "profile", StopProfiler(profiler));
        add_run(&profile, profiler, options->profile);
        MUST(EXIT_RUN, "profile", ResetProfiler(profiler));
    }
    say_profile(&profile);
}
