/* What the runner says: JSON, an object a line, the last one {"event":"done"}. Every line is flushed when it is
 * complete, so that whoever reads has all that was said before a cable was pulled. */
#ifndef REPORT_H
#define REPORT_H

#include <stdbool.h>
#include <stddef.h>

enum { EXIT_USAGE = 2, EXIT_SETUP = 3, EXIT_RUN = 4 };

void begin_event(const char *event);
void end_event(void);

/* Members of the object, or of the array, that is open. Those of an array have no key: NULL. */
void say_text(const char *key, const char *value);
void say_whole(const char *key, long long value);
void say_number(const char *key, double value, int decimals); /* null if it is not finite */
void say_bool(const char *key, bool value);
void say_null(const char *key);
void open_array(const char *key);
void close_array(void);
void open_object(const char *key);
void close_object(void);

/* Says the error {"event":"error"} and ends the process at once: nothing of it is worth tidying up. */
_Noreturn void die(int code, const char *stage, int status, const char *message);

/* The same, of a file that errno tells about. */
_Noreturn void die_of_file(int code, const char *stage, const char *path);

/* The same, of a call like "Function(arguments)" to LiteRT. */
_Noreturn void die_of_call(int code, const char *stage, int status, const char *call);

/* Dies unless a call to LiteRT succeeds. */
#define MUST(code, stage, call) \
    do { \
        Status status_ = (call); \
        if (status_ != 0) die_of_call(code, stage, status_, #call); \
    } while (0)

#endif
