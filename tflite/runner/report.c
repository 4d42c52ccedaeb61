#include "report.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool inside = false;      /* of an event's line */
static bool has_members = false; /* the open object or array: the next member follows a comma */

/* How many bytes the UTF-8 character here has; 0 if what is here is none. */
static size_t utf8_length(const unsigned char *text) {
    unsigned char first = text[0];
    size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < length; i++) /* ends at the terminator too */
        if ((text[i] & 0xc0) != 0x80) return 0;
    bool overlong = (first == 0xe0 && text[1] < 0xa0) || (first == 0xf0 && text[1] < 0x90);
    bool surrogate = first == 0xed && text[1] > 0x9f;
    bool beyond_unicode = first == 0xf4 && text[1] > 0x8f;
    return overlong || surrogate || beyond_unicode ? 0 : length;
}

/* Names of tensors are a file's: any bytes. What is not UTF-8 is written as if it were Latin-1. */
static void put_string(const char *value) {
    const unsigned char *text = (const unsigned char *)value;
    putchar('"');
    while (*text != 0) {
        size_t length = utf8_length(text);
        if (length == 0 || *text < 0x20 || *text == 0x7f) {
            printf("\\u%04x", *text++);
            continue;
        }
        if (*text == '"' || *text == '\\') putchar('\\');
        fwrite(text, 1, length, stdout);
        text += length;
    }
    putchar('"');
}

static void begin_member(const char *key) {
    if (has_members) putchar(',');
    has_members = true;
    if (key == NULL) return;
    put_string(key);
    putchar(':');
}

void begin_event(const char *event) {
    putchar('{');
    inside = true;
    has_members = false;
    say_text("event", event);
}

void end_event(void) {
    fputs("}\n", stdout);
    inside = false;
    /* Nobody can be told, but nobody shall take it for success either. */
    if (fflush(stdout) != 0) _Exit(EXIT_RUN);
}

void say_text(const char *key, const char *value) {
    begin_member(key);
    put_string(value == NULL ? "" : value);
}

void say_whole(const char *key, long long value) {
    begin_member(key);
    printf("%lld", value);
}

void say_number(const char *key, double value, int decimals) {
    if (!isfinite(value)) {
        say_null(key);
        return;
    }
    begin_member(key);
    printf("%.*f", decimals, value);
}

void say_bool(const char *key, bool value) {
    begin_member(key);
    fputs(value ? "true" : "false", stdout);
}

void say_null(const char *key) {
    begin_member(key);
    fputs("null", stdout);
}

static void open_with(const char *key, char bracket) {
    begin_member(key);
    putchar(bracket);
    has_members = false;
}

static void close_with(char bracket) {
    putchar(bracket);
    has_members = true;
}

void open_array(const char *key) { open_with(key, '['); }
void close_array(void) { close_with(']'); }
void open_object(const char *key) { open_with(key, '{'); }
void close_object(void) { close_with('}'); }

_Noreturn void die_of_file(int code, const char *stage, const char *path) {
    char message[4400];
    int reason = errno;
    snprintf(message, sizeof message, "%s: %s", path, strerror(reason));
    die(code, stage, reason, message);
}

_Noreturn void die_of_call(int code, const char *stage, int status, const char *call) {
    char message[128];
    snprintf(message, sizeof message, "LiteRT refused: %.*s", (int)strcspn(call, "("), call);
    die(code, stage, status, message);
}

_Noreturn void die(int code, const char *stage, int status, const char *message) {
    if (inside) putchar('\n'); /* what was being said stays a line of its own, that nobody can read */
    begin_event("error");
    say_text("stage", stage);
    say_whole("status", status);
    say_text("message", message);
    end_event();
    _Exit(code);
}
