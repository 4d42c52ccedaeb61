/* What goes into a model, and what comes out of it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "report.h"
#include "session.h"

/* Knuth's generator; the upper bits are good enough for inputs that only must not be special. */
static uint64_t draw(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 32;
}

/* Floating point in +-[0.5, 1): neither denormal nor infinite, which some processors are slow on. Wide integers are
 * mostly indices, so they stay 0 or 1. */
static uint64_t draw_bits(uint64_t *state, int element) {
    uint64_t bits = draw(state);
    switch (element) {
        case ELEMENT_FLOAT32: return 0x3f000000u | (bits & 0x807fffffu);
        case ELEMENT_FLOAT64: return 0x3fe0000000000000u | bits << 16 | bits >> 31 << 63;
        case ELEMENT_FLOAT16: return 0x3800u | (bits & 0x83ffu);
        case ELEMENT_BFLOAT16: return 0x3f00u | (bits & 0x807fu);
        case ELEMENT_INT32: case ELEMENT_INT64: case ELEMENT_BOOL: return bits >> 31;
        default: return bits;
    }
}

static size_t element_bytes(int element) {
    switch (element) {
        case ELEMENT_INT64: case ELEMENT_FLOAT64: return 8;
        case ELEMENT_FLOAT32: case ELEMENT_INT32: return 4;
        case ELEMENT_FLOAT16: case ELEMENT_BFLOAT16: case ELEMENT_INT16: return 2;
        case ELEMENT_INT8: case ELEMENT_UINT8: case ELEMENT_BOOL: return 1;
        default: return 0;
    }
}

static void draw_values(unsigned char *content, const Tensor *tensor, size_t position) {
    size_t size = element_bytes(tensor->type.element);
    uint64_t state = 42 + 7919 * position;
    if (size == 0) die(EXIT_SETUP, "input", tensor->type.element, "no random values for elements of this type");
    for (size_t i = 0; i + size <= tensor->bytes; i += size) {
        uint64_t bits = draw_bits(&state, tensor->type.element);
        memcpy(content + i, &bits, size); /* ARM and x86 put the low bytes first */
    }
}

static FILE *open_file(const char *folder, const char *kind, size_t position, const char *mode) {
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/%s_%zu.bin", folder, kind, position);
    if (length >= (int)sizeof path) die(EXIT_USAGE, kind, 0, "the folder's path is too long");
    FILE *file = fopen(path, mode);
    if (file == NULL) die_of_file(EXIT_SETUP, kind, path);
    return file;
}

static void read_values(unsigned char *content, const Tensor *tensor, size_t position, const char *folder) {
    FILE *file = open_file(folder, "input", position, "rb");
    size_t bytes = fread(content, 1, tensor->bytes, file);
    bool whole = bytes == tensor->bytes && fgetc(file) == EOF;
    fclose(file);
    if (whole) return;
    char message[128];
    snprintf(message, sizeof message, "expected %zu bytes in input_%zu.bin", tensor->bytes, position);
    die(EXIT_SETUP, "input", 0, message);
}

void fill_inputs(Session *session, const char *folder) {
    for (size_t i = 0; i < session->inputs.count; i++) {
        const Tensor *tensor = &session->inputs.tensors[i];
        void *content;
        MUST(EXIT_SETUP, "input", LockTensorBuffer(session->inputs.buffers[i], &content, LOCK_WRITE));
        if (folder != NULL)
            read_values(content, tensor, i, folder);
        else
            draw_values(content, tensor, i);
        MUST(EXIT_SETUP, "input", UnlockTensorBuffer(session->inputs.buffers[i]));
    }
}

void save_outputs(Session *session, const char *folder) {
    for (size_t i = 0; i < session->outputs.count; i++) {
        const Tensor *tensor = &session->outputs.tensors[i];
        void *content;
        MUST(EXIT_RUN, "output", LockTensorBuffer(session->outputs.buffers[i], &content, LOCK_READ));
        FILE *file = open_file(folder, "output", i, "wb");
        bool written = fwrite(content, 1, tensor->bytes, file) == tensor->bytes;
        if (fclose(file) != 0 || !written) die_of_file(EXIT_RUN, "output", folder);
        MUST(EXIT_RUN, "output", UnlockTensorBuffer(session->outputs.buffers[i]));
    }
}
