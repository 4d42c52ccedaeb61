/* Runs a .tflite file on LiteRT, on a phone without any library of Android's or on this host.
 *
 *     runner --graph=model.tflite --num_threads=4 --num_runs=50 --deadline_secs=300
 *
 * Ends with 0 after {"event":"done"}; 2: the command line is wrong; 3: the file or the runtime is; 4: a run failed;
 * 142 (SIGALRM): the deadline came. Whatever was said until then holds. */
#define _GNU_SOURCE /* sched_setaffinity */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "litert.h"
#include "options.h"
#include "report.h"
#include "session.h"
#include "timing.h"

/* The kernel ends the process when its time is over: also one that hangs, on a phone that nobody talks to any more. */
static void start_deadline(long seconds) {
    sigset_t alarms;
    if (seconds == 0) return;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    signal(SIGALRM, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &alarms, NULL);
    alarm((unsigned)seconds);
}

/* Before LiteRT starts threads: they inherit it. */
static void keep_to(const Options *options) {
    if (options->cpu_mask == NULL) return;
    if (sched_setaffinity(0, sizeof options->processors, &options->processors) != 0)
        die(EXIT_SETUP, "cpu_mask", errno, strerror(errno));
}

static void measure(Handle environment, const Options *options) {
    static Session session;
    open_session(&session, environment, options, false);
    describe_session(&session, options);
    fill_inputs(&session, options->input_dir);
    if (options->num_runs > 0) {
        describe_warm_up(warm_up(&session, options));
        time_runs(&session, options);
    }
    if (options->output_dir != NULL) {
        run_session(&session, "output");
        save_outputs(&session, options->output_dir);
    }
    close_session(&session);
}

/* On a session of its own, so that nothing of the profiler is in the latencies. */
static void profile(Handle environment, const Options *options) {
    static Session session;
    open_session(&session, environment, options, true);
    fill_inputs(&session, options->input_dir);
    warm_up(&session, options);
    profile_runs(&session, options);
    close_session(&session);
}

int main(int count, char **arguments) {
    Options options = parse_options(count, arguments);
    Handle environment;
    start_deadline(options.deadline_secs);
    keep_to(&options);
    load_litert(options.lib);
    MUST(EXIT_SETUP, "environment", CreateEnvironment(0, NULL, &environment));
    measure(environment, &options);
    if (options.profile > 0) profile(environment, &options);
    begin_event("done");
    end_event();
    _Exit(EXIT_SUCCESS); /* libraries that tidy up at the end of a process have crashed before */
}
