/* Measuring a session. */
#ifndef TIMING_H
#define TIMING_H

#include "session.h"

void warm_up(Session *session, const Options *options);
void time_runs(Session *session, const Options *options);
void profile_runs(Session *session, const Options *options); /* of a profiled session */

#endif
