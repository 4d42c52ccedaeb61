#define _GNU_SOURCE /* strdup, clock_gettime */
#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "report.h"

double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* LiteRT takes a backend's options as text in TOML under the backend's name, and frees it when it likes. */
static void add_options(Handle options, const char *backend, const char *text) {
    char *copy = strdup(text);
    Handle opaque;
    if (copy == NULL) die(EXIT_SETUP, "options", errno, "out of memory");
    MUST(EXIT_SETUP, "options", CreateOpaqueOptions(backend, copy, free, &opaque));
    MUST(EXIT_SETUP, "options", AddOpaqueOptions(options, opaque));
}

static void compile(Session *session, const Options *options, bool profiled) {
    char xnnpack[128];
    Handle settings;
    MUST(EXIT_SETUP, "options", CreateOptions(&settings));
    MUST(EXIT_SETUP, "options", SetOptionsHardwareAccelerators(settings, ACCELERATOR_CPU));
    snprintf(xnnpack, sizeof xnnpack, "kernel_mode = \"%s\"\nnum_threads = %ld\n", options->kernel_mode,
             options->num_threads);
    add_options(settings, "xnnpack", xnnpack);
    if (profiled) add_options(settings, "runtime_options_string", "enable_profiling = true\n");
    MUST(EXIT_SETUP, "compile",
         CreateCompiledModel(session->environment, session->model, settings, &session->compiled));
    DestroyOptions(settings);
}

typedef Status (*NeedsOf)(Handle, size_t, size_t, Handle *);

static void add_tensor(Session *session, Tensors *tensors, Handle handle, NeedsOf needs_of) {
    size_t index = tensors->count;
    if (index == MOST_TENSORS) die(EXIT_SETUP, "tensors", 0, "too many inputs or outputs");
    Tensor *tensor = &tensors->tensors[index];
    Handle *buffer = &tensors->buffers[index], needs;
    MUST(EXIT_SETUP, "tensors", GetTensorName(handle, &tensor->name));
    MUST(EXIT_SETUP, "tensors", GetRankedTensorType(handle, &tensor->type));
    MUST(EXIT_SETUP, "buffers", needs_of(session->compiled, 0, index, &needs));
    MUST(EXIT_SETUP, "buffers",
         CreateManagedTensorBufferFromRequirements(session->environment, &tensor->type, needs, buffer));
    MUST(EXIT_SETUP, "buffers", GetTensorBufferPackedSize(*buffer, &tensor->bytes));
    tensors->count++;
}

/* The first signature takes and gives buffers in the graph's order, whatever the order of its own names. */
static void open_tensors(Session *session) {
    Handle tensor;
    size_t main_subgraph, inputs, outputs;
    MUST(EXIT_SETUP, "graph", GetMainModelSubgraphIndex(session->model, &main_subgraph));
    MUST(EXIT_SETUP, "graph", GetModelSubgraph(session->model, main_subgraph, &session->subgraph));
    MUST(EXIT_SETUP, "graph", GetNumSubgraphInputs(session->subgraph, &inputs));
    MUST(EXIT_SETUP, "graph", GetNumSubgraphOutputs(session->subgraph, &outputs));
    for (size_t i = 0; i < inputs; i++) {
        MUST(EXIT_SETUP, "tensors", GetSubgraphInput(session->subgraph, i, &tensor));
        add_tensor(session, &session->inputs, tensor, GetCompiledModelInputBufferRequirements);
    }
    for (size_t i = 0; i < outputs; i++) {
        MUST(EXIT_SETUP, "tensors", GetSubgraphOutput(session->subgraph, i, &tensor));
        add_tensor(session, &session->outputs, tensor, GetCompiledModelOutputBufferRequirements);
    }
}

void open_session(Session *session, Handle environment, const Options *options, bool profiled) {
    memset(session, 0, sizeof *session);
    session->environment = environment;
    if (access(options->graph, R_OK) != 0) die_of_file(EXIT_SETUP, "file", options->graph);
    double start = now();
    MUST(EXIT_SETUP, "file", CreateModelFromFile(environment, options->graph, &session->model));
    double loaded = now();
    compile(session, options, profiled);
    session->load_ms = (loaded - start) * 1e3;
    session->compile_ms = (now() - loaded) * 1e3;
    open_tensors(session);
    MUST(EXIT_SETUP, "graph", GetNumSubgraphOps(session->subgraph, &session->nodes));
    MUST(EXIT_SETUP, "graph", CompiledModelIsFullyAccelerated(session->compiled, &session->fully_accelerated));
}

void close_session(Session *session) {
    for (size_t i = 0; i < session->inputs.count; i++) DestroyTensorBuffer(session->inputs.buffers[i]);
    for (size_t i = 0; i < session->outputs.count; i++) DestroyTensorBuffer(session->outputs.buffers[i]);
    DestroyCompiledModel(session->compiled);
    DestroyModel(session->model);
}

static void describe_tensors(const char *key, const Tensors *tensors) {
    open_array(key);
    for (size_t i = 0; i < tensors->count; i++) {
        const Tensor *tensor = &tensors->tensors[i];
        open_object(NULL);
        say_text("name", tensor->name);
        say_whole("type", tensor->type.element);
        say_whole("bytes", (long long)tensor->bytes);
        open_array("shape");
        for (unsigned d = 0; d < tensor->type.layout.rank; d++) say_whole(NULL, tensor->type.layout.dimensions[d]);
        close_array();
        close_object();
    }
    close_array();
}

void describe_session(const Session *session, const Options *options) {
    begin_event("model");
    say_whole("num_threads", options->num_threads);
    say_text("kernel_mode", options->kernel_mode);
    say_whole("pid", getpid());
    say_whole("nodes", (long long)session->nodes);
    say_bool("fully_accelerated", session->fully_accelerated);
    say_number("load_ms", session->load_ms, 4);
    say_number("compile_ms", session->compile_ms, 4);
    describe_tensors("inputs", &session->inputs);
    describe_tensors("outputs", &session->outputs);
    end_event();
}

double run_session(Session *session, const char *stage) {
    double start = now();
    Status status = RunCompiledModel(session->compiled, 0, session->inputs.count, session->inputs.buffers,
                                     session->outputs.count, session->outputs.buffers);
    double seconds = now() - start;
    if (status != 0) die(EXIT_RUN, stage, status, "LiteRtRunCompiledModel");
    return seconds;
}
