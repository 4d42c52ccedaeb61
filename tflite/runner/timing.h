/* Measuring a session. */
#ifndef TIMING_H
#define TIMING_H

#include "session.h"

typedef struct {
    long runs;
    double seconds, first_seconds;
} WarmUp;

WarmUp warm_up(Session *session, const Options *options);
void describe_warm_up(WarmUp warm_up);
void time_runs(Session *session, const Options *options);
void profile_runs(Session *session, const Options *options); /* of a profiled session */

#endif
