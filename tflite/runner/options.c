#define _GNU_SOURCE /* cpu_set_t */
#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

typedef enum { TEXT, WHOLE, SECONDS } Kind;

typedef struct {
    const char *name;
    Kind kind;
    void *target;
    long least, most; /* of a number */
    bool given;
} Option;

static _Noreturn void refuse(const char *argument, const char *reason) {
    char message[512];
    snprintf(message, sizeof message, "%s: %s", argument, reason);
    die(EXIT_USAGE, "options", 0, message);
}

static bool made_of(const char *text, const char *characters) {
    return *text != 0 && text[strspn(text, characters)] == 0;
}

/* Only plain decimals: strtol and strtod would also take blanks, signs, "nan" and hexadecimal. */
static void set_number(const Option *option, const char *argument, const char *value) {
    char range[64], *end = NULL;
    bool plain = made_of(value, option->kind == WHOLE ? "0123456789" : "0123456789.") && strlen(value) < 16;
    double number = plain ? strtod(value, &end) : 0;
    snprintf(range, sizeof range, "expected a number from %ld to %ld", option->least, option->most);
    if (!plain || *end != 0 || end == value || number < option->least || number > option->most) refuse(argument, range);
    if (option->kind == WHOLE)
        *(long *)option->target = (long)number;
    else
        *(double *)option->target = number;
}

static void set(Option *option, const char *argument, const char *value) {
    if (option->given) refuse(argument, "given twice");
    option->given = true;
    if (*value == 0) refuse(argument, "expected a value");
    if (option->kind == TEXT)
        *(const char **)option->target = value;
    else
        set_number(option, argument, value);
}

static void read_argument(Option *options, size_t count, const char *argument) {
    const char *equals = strchr(argument, '=');
    if (strncmp(argument, "--", 2) != 0 || equals == NULL) refuse(argument, "expected --name=value");
    size_t length = (size_t)(equals - argument) - 2;
    for (size_t i = 0; i < count; i++) {
        if (strlen(options[i].name) == length && strncmp(options[i].name, argument + 2, length) == 0) {
            set(&options[i], argument, equals + 1);
            return;
        }
    }
    refuse(argument, "no such option");
}

/* Hexadecimal digits, as taskset takes them; the last one stands for the processors 3 to 0. */
static void read_mask(Options *options) {
    const char *mask = options->cpu_mask;
    size_t digits = strlen(mask);
    CPU_ZERO(&options->processors);
    if (!made_of(mask, "0123456789abcdefABCDEF") || digits > CPU_SETSIZE / 4)
        refuse(mask, "expected hexadecimal digits as --cpu_mask");
    for (size_t i = 0; i < digits; i++) {
        char digit[2] = {mask[digits - 1 - i], 0};
        long bits = strtol(digit, NULL, 16);
        for (size_t bit = 0; bit < 4; bit++)
            if (bits >> bit & 1) CPU_SET(4 * i + bit, &options->processors);
    }
    if (CPU_COUNT(&options->processors) == 0) refuse(mask, "--cpu_mask names no processor");
}

static void check(const Options *options) {
    static const char *const modes[] = {"delegate", "builtin", "reference"};
    if (options->graph == NULL) refuse("--graph", "expected the path of a .tflite file");
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(options->kernel_mode, modes[i]) == 0) return;
    refuse(options->kernel_mode, "expected delegate, builtin or reference as --kernel_mode");
}

Options parse_options(int count, char **arguments) {
    Options result = {
        .lib = "libLiteRt.so", .kernel_mode = "delegate", .num_threads = 1, .warmup_runs = 5, .num_runs = 50,
        .warmup_min_secs = 0.5, .min_secs = 1, .max_secs = 60,
    };
    Option table[] = {
        {"graph", TEXT, &result.graph, 0, 0, false},
        {"lib", TEXT, &result.lib, 0, 0, false},
        {"kernel_mode", TEXT, &result.kernel_mode, 0, 0, false},
        {"cpu_mask", TEXT, &result.cpu_mask, 0, 0, false},
        {"input_dir", TEXT, &result.input_dir, 0, 0, false},
        {"output_dir", TEXT, &result.output_dir, 0, 0, false},
        {"num_threads", WHOLE, &result.num_threads, 1, 1024, false},
        {"warmup_runs", WHOLE, &result.warmup_runs, 0, 1000000, false},
        {"num_runs", WHOLE, &result.num_runs, 0, 1000000, false},
        {"profile", WHOLE, &result.profile, 0, 10000, false},
        {"deadline_secs", WHOLE, &result.deadline_secs, 0, 1000000, false},
        {"warmup_min_secs", SECONDS, &result.warmup_min_secs, 0, 1000000, false},
        {"min_secs", SECONDS, &result.min_secs, 0, 1000000, false},
        {"max_secs", SECONDS, &result.max_secs, 0, 1000000, false},
    };
    for (int i = 1; i < count; i++) read_argument(table, sizeof table / sizeof *table, arguments[i]);
    if (result.cpu_mask != NULL) read_mask(&result);
    check(&result);
    return result;
}
