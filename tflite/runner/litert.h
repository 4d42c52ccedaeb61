/* The part of LiteRT's C API that the runner uses. LiteRT's wheels carry the library without headers, so it is declared
 * here, as of ai-edge-litert 2.3, and looked up by name when the runner starts: one binary serves every version that
 * kept these functions. */
#ifndef LITERT_H
#define LITERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int Status;    /* 0 is success */
typedef void *Handle;  /* whatever LiteRT keeps to itself: environment, model, buffer */

typedef struct {
    unsigned rank : 7, has_strides : 1;
    int32_t dimensions[8];
    uint32_t strides[8];
} Layout;

typedef struct {
    int element;
    Layout layout;
} TensorType;

typedef struct {
    const char *tag;
    int type;
    uint64_t start_us, elapsed_us;
    int64_t memory[6];
    uint64_t metadata[2];
    int source;
} ProfilerEvent;

/* LiteRT fills in these structures: were they smaller than its own, it would write behind them. */
_Static_assert(sizeof(Layout) == 68 && sizeof(TensorType) == 72, "LiteRtLayout, LiteRtRankedTensorType");
_Static_assert(sizeof(ProfilerEvent) == 104, "ProfiledEventData");

enum { ACCELERATOR_CPU = 1 };
enum { LOCK_READ = 0, LOCK_WRITE = 1 };
/* A node of the graph that a builtin kernel ran, and an operator inside of a delegate; there are others. */
enum { EVENT_NODE = 2, EVENT_INSIDE_DELEGATE = 8 };
enum {
    ELEMENT_FLOAT32 = 1, ELEMENT_INT32 = 2, ELEMENT_UINT8 = 3, ELEMENT_INT64 = 4, ELEMENT_BOOL = 6, ELEMENT_INT16 = 7,
    ELEMENT_INT8 = 9, ELEMENT_FLOAT16 = 10, ELEMENT_FLOAT64 = 11, ELEMENT_BFLOAT16 = 19
};

/* X(what it returns, name without "LiteRt", parameters) */
#define LITERT_FUNCTIONS(X) \
    X(Status, CreateEnvironment, (int options, const void *values, Handle *environment)) \
    X(Status, CreateModelFromFile, (Handle environment, const char *path, Handle *model)) \
    X(Status, GetMainModelSubgraphIndex, (Handle model, size_t *index)) \
    X(Status, GetModelSubgraph, (Handle model, size_t index, Handle *subgraph)) \
    X(Status, GetNumSubgraphInputs, (Handle subgraph, size_t *count)) \
    X(Status, GetNumSubgraphOutputs, (Handle subgraph, size_t *count)) \
    X(Status, GetSubgraphInput, (Handle subgraph, size_t index, Handle *tensor)) \
    X(Status, GetSubgraphOutput, (Handle subgraph, size_t index, Handle *tensor)) \
    X(Status, GetNumSubgraphOps, (Handle subgraph, size_t *count)) \
    X(Status, GetTensorName, (Handle tensor, const char **name)) \
    X(Status, GetRankedTensorType, (Handle tensor, TensorType *type)) \
    X(Status, CreateOptions, (Handle *options)) \
    X(Status, SetOptionsHardwareAccelerators, (Handle options, int accelerators)) \
    X(Status, CreateOpaqueOptions, (const char *id, void *text, void (*destroy)(void *), Handle *opaque)) \
    X(Status, AddOpaqueOptions, (Handle options, Handle opaque)) \
    X(Status, CreateCompiledModel, (Handle environment, Handle model, Handle options, Handle *compiled)) \
    X(Status, CompiledModelIsFullyAccelerated, (Handle compiled, bool *fully)) \
    X(Status, GetCompiledModelInputBufferRequirements, (Handle compiled, size_t signature, size_t index, \
                                                        Handle *needs)) \
    X(Status, GetCompiledModelOutputBufferRequirements, (Handle compiled, size_t signature, size_t index, \
                                                         Handle *needs)) \
    X(Status, CreateManagedTensorBufferFromRequirements, (Handle environment, const TensorType *type, Handle needs, \
                                                          Handle *buffer)) \
    X(Status, GetTensorBufferPackedSize, (Handle buffer, size_t *bytes)) \
    X(Status, LockTensorBuffer, (Handle buffer, void **content, int mode)) \
    X(Status, UnlockTensorBuffer, (Handle buffer)) \
    X(Status, RunCompiledModel, (Handle compiled, size_t signature, size_t inputs, Handle *input_buffers, \
                                 size_t outputs, Handle *output_buffers)) \
    X(Status, CompiledModelGetProfiler, (Handle compiled, Handle *profiler)) \
    X(Status, StartProfiler, (Handle profiler)) \
    X(Status, StopProfiler, (Handle profiler)) \
    X(Status, ResetProfiler, (Handle profiler)) \
    X(Status, GetNumProfilerEvents, (Handle profiler, int *count)) \
    X(Status, GetProfilerEvents, (Handle profiler, int count, ProfilerEvent *events)) \
    X(void, DestroyOptions, (Handle options)) \
    X(void, DestroyTensorBuffer, (Handle buffer)) \
    X(void, DestroyCompiledModel, (Handle compiled)) \
    X(void, DestroyModel, (Handle model))

#define LITERT_DECLARE(result, name, parameters) extern result (*name) parameters;
LITERT_FUNCTIONS(LITERT_DECLARE)

/* Opens libLiteRt.so and finds every function, or ends the process with an error. */
void load_litert(const char *path);

#endif
