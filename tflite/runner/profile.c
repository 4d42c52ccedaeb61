/* Where the time of an inference goes. */
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "timing.h"

/* All operators of one kind. */
typedef struct {
    char *name; /* a copy: LiteRT's ends when its profiler is reset */
    int type;
    long calls;
    double microseconds;
} Kind;

typedef struct {
    Kind *kinds;
    size_t count;
} Profile;

static void *need(void *memory) {
    if (memory == NULL) die(EXIT_RUN, "profile", 0, "out of memory");
    return memory;
}

static Kind *kind_of(Profile *profile, const ProfilerEvent *event) {
    const char *name = event->tag == NULL ? "" : event->tag;
    for (size_t i = 0; i < profile->count; i++) {
        Kind *kind = &profile->kinds[i];
        if (kind->type == event->type && strcmp(kind->name, name) == 0) return kind;
    }
    profile->kinds = need(realloc(profile->kinds, (profile->count + 1) * sizeof *profile->kinds));
    Kind *kind = &profile->kinds[profile->count++];
    *kind = (Kind){.name = need(malloc(strlen(name) + 1)), .type = event->type};
    strcpy(kind->name, name);
    return kind;
}

static void add_events(Profile *profile, Handle profiler) {
    int count = 0;
    MUST(EXIT_RUN, "profile", GetNumProfilerEvents(profiler, &count));
    if (count == 0) return;
    ProfilerEvent *events = need(calloc((size_t)count, sizeof *events));
    MUST(EXIT_RUN, "profile", GetProfilerEvents(profiler, count, events));
    for (int i = 0; i < count; i++) {
        if (events[i].type != EVENT_NODE && events[i].type != EVENT_INSIDE_DELEGATE) continue;
        Kind *kind = kind_of(profile, &events[i]);
        kind->calls++;
        kind->microseconds += (double)events[i].elapsed_us;
    }
    free(events);
}

static void say_profile(const Profile *profile, long runs) {
    begin_event("profile");
    say_whole("runs", runs);
    open_array("operators");
    for (size_t i = 0; i < profile->count; i++) {
        const Kind *kind = &profile->kinds[i];
        open_object(NULL);
        say_text("name", kind->name);
        say_text("place", kind->type == EVENT_NODE ? "builtin" : "xnnpack");
        say_number("calls", (double)kind->calls / (double)runs, 3);
        say_number("us", kind->microseconds / (double)runs, 3);
        close_object();
    }
    close_array();
    end_event();
}

void profile_runs(Session *session, const Options *options) {
    Profile profile = {NULL, 0};
    Handle profiler = NULL;
    double start = now();
    long runs = 0;
    MUST(EXIT_RUN, "profile", CompiledModelGetProfiler(session->compiled, &profiler));
    while (runs < options->profile && (runs == 0 || now() - start < options->max_secs)) {
        /* Emptied after each run: the profiler's memory is limited, and it would forget the first events. */
        MUST(EXIT_RUN, "profile", StartProfiler(profiler));
        run_session(session, "profile");
        MUST(EXIT_RUN, "profile", StopProfiler(profiler));
        add_events(&profile, profiler);
        MUST(EXIT_RUN, "profile", ResetProfiler(profiler));
        runs++;
    }
    say_profile(&profile, runs);
}
