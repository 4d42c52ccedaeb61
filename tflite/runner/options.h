/* The command line. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <sched.h>
#include <stdbool.h>

typedef struct {
    const char *graph;
    const char *lib;
    const char *kernel_mode;
    const char *cpu_mask;   /* NULL: any processor */
    const char *input_dir;  /* NULL: random inputs */
    const char *output_dir; /* NULL: outputs are dropped */
    long num_threads;
    long warmup_runs;
    long num_runs; /* 0: no timing */
    long profile;  /* runs under the profiler, after the timing; 0: none */
    long deadline_secs;
    double warmup_min_secs;
    double min_secs;
    double max_secs;
    cpu_set_t processors; /* of cpu_mask */
} Options;

/* Reads the command line, or ends the process with what is wrong with it. */
Options parse_options(int count, char **arguments);

#endif
