/* A file that is ready to run: compiled, with buffers for what goes in and what comes out. */
#ifndef SESSION_H
#define SESSION_H

#include "litert.h"
#include "options.h"

enum { MOST_TENSORS = 256 };

typedef struct {
    const char *name; /* the model's; ends with it */
    TensorType type;
    size_t bytes;
} Tensor;

typedef struct {
    size_t count;
    Tensor tensors[MOST_TENSORS];
    Handle buffers[MOST_TENSORS];
} Tensors;

typedef struct {
    Handle environment, model, subgraph, compiled;
    Tensors inputs, outputs;
    size_t nodes;
    bool fully_accelerated;
    double load_ms, compile_ms;
} Session;

double now(void); /* in seconds, of a clock that nobody sets */

/* Each ends the process if LiteRT refuses. A profiled session is a little slower, even while its profiler rests. */
void open_session(Session *session, Handle environment, const Options *options, bool profiled);
void close_session(Session *session);
void describe_session(const Session *session, const Options *options);
double run_session(Session *session, const char *stage); /* the seconds that it took */

/* Inputs are input_0.bin, ... of a folder, in the graph's order, or random if there is no folder. */
void fill_inputs(Session *session, const char *folder);
void save_outputs(Session *session, const char *folder);

#endif
